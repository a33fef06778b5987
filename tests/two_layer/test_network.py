import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

from aetheory import TwoLayerAutoencoder, population_risk
from aetheory.two_layer.activations import as_activation, from_function
from aetheory.two_layer.network import (
    normalised,
    optimal_decoder,
    optimal_risk,
    random_encoder,
    sampled_risk,
    tied_autoencoder,
)

DIM, UNITS = 12, 9
RISK_ERROR = rounding(jnp.float64, terms=UNITS**2 * DIM, condition=100)
"""Of a best decoder, which equal and opposite units make as large as the inverse of a singular kernel allows."""


def activation(name):
    return from_function(lambda x: x - 0.3 * x**3) if name == "cubic" else as_activation(name)


def normalise_rows(rows, covariance=None):
    return normalised(rows, None if covariance is None else jnp.asarray(covariance))[0]


def tied_risk(rows, *arguments):
    return population_risk(tied_autoencoder(rows, *arguments), *arguments[1:])


def full_covariance():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(DIM, DIM)) * np.linspace(0.3, 1.5, DIM)
    return root @ root.T / DIM


COVARIANCES = {"isotropic": None, "full": full_covariance()}
VARIANCES = np.linspace(0.2, 2.0, DIM)


def encoders(kind):
    """Random rows, or rows with a repeated unit, an opposite one and an orthogonal pair."""
    rows = np.random.default_rng(5).normal(size=(UNITS, DIM))
    if kind == "structured":
        rows[:3] = np.eye(DIM)[:3]
        rows[3], rows[4] = rows[5], -2 * rows[6]
    return jnp.asarray(rows)


def monte_carlo(autoencoder, covariance, num_samples=100_000):
    sigma = np.eye(DIM) if covariance is None else np.asarray(covariance)
    values, vectors = np.linalg.eigh(sigma)
    samples = np.random.default_rng(11).normal(size=(num_samples, DIM)) @ (vectors * np.sqrt(values)).T
    return sampled_risk(autoencoder, jnp.asarray(samples))


# each activation with what is hardest, and one with everything, for the rest does not know the activation
@pytest.mark.parametrize(
    ("name", "covariance", "kind"),
    [
        *((name, "full", "structured") for name in ("sign", "hard_tanh", "relu", "cubic")),
        *(("tanh", *rest) for rest in (("full", "random"), ("isotropic", "random"), ("isotropic", "structured"))),
    ],
)
def test_the_population_risk_agrees_with_monte_carlo(name, covariance, kind, x64):
    sigma, sigma_name = COVARIANCES[covariance], activation(name)
    encoder = normalise_rows(encoders(kind), sigma)
    decoder = jnp.asarray(np.random.default_rng(7).normal(size=(DIM, UNITS))) / DIM
    autoencoder = TwoLayerAutoencoder(encoder, decoder, sigma_name)
    estimate = monte_carlo(autoencoder, sigma)
    risk = population_risk(autoencoder, sigma)
    assert abs(float(risk - estimate.mean)) < 4 * float(estimate.standard_error)
    best = TwoLayerAutoencoder(encoder, optimal_decoder(encoder, sigma_name, sigma), sigma_name)
    least = optimal_risk(encoder, sigma_name, sigma)
    assert float(population_risk(best, sigma)) == pytest.approx(float(least), abs=RISK_ERROR)
    assert float(least) < float(risk)
    estimate = monte_carlo(best, sigma)
    assert abs(float(least - estimate.mean)) < 4 * float(estimate.standard_error)


def test_the_risk_in_numpy(x64):
    """The formula of the theory, with explicit square roots and inverses."""
    sigma = full_covariance()
    values, vectors = np.linalg.eigh(sigma)
    root = vectors * np.sqrt(values) @ vectors.T
    encoder = encoders("random")
    scaled = np.asarray(encoder) @ root
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    kernel = 2 / np.pi * np.arcsin(np.clip(scaled @ scaled.T, -1, 1))
    np.fill_diagonal(kernel, 1)  # the arcsine turns a rounding ε of 1 into √ε
    gain = 2 / np.pi * np.trace(root @ scaled.T @ np.linalg.inv(kernel) @ scaled @ root)
    expected = (np.trace(sigma) - gain) / DIM
    error = rounding(jnp.float64, terms=UNITS**2, condition=np.linalg.cond(kernel))
    assert float(optimal_risk(encoder, "sign", sigma)) == pytest.approx(expected, rel=error)
    assert float(optimal_risk(3 * encoder, "sign", sigma)) == pytest.approx(expected, rel=error)


def test_variances_are_a_diagonal_covariance(x64):
    rows = encoders("random")
    autoencoder = TwoLayerAutoencoder(rows, rows.T / 3)
    for function in (lambda s: population_risk(autoencoder, s), lambda s: tied_risk(rows, "erf", s)):
        assert_rounded(function(VARIANCES), function(np.diag(VARIANCES)), jnp.float64, DIM * UNITS)
    assert_rounded(
        optimal_decoder(rows, "sign", np.ones(DIM)), optimal_decoder(rows, "sign", None), jnp.float64, DIM * UNITS
    )


def test_no_decoder_beats_the_optimal_one(x64):
    encoder = encoders("random")
    decoder = optimal_decoder(encoder, "sign", VARIANCES)

    def risk(change):
        return population_risk(TwoLayerAutoencoder(encoder, decoder + change), VARIANCES)

    gradient = jax.grad(risk)(jnp.zeros_like(decoder))
    assert float(jnp.max(jnp.abs(gradient))) < rounding(jnp.float64, UNITS**2)


@pytest.mark.parametrize("covariance", [None, VARIANCES], ids=["isotropic", "diagonal"])
def test_the_tied_form_has_the_best_scalar(covariance, x64):
    encoder = encoders("random")
    tied = tied_autoencoder(encoder, "sign", covariance)
    least = float(tied_risk(encoder, "sign", covariance))
    assert_rounded(population_risk(tied, covariance), least, jnp.float64, terms=DIM * UNITS)
    for factor in (0.99, 1.01):
        other = TwoLayerAutoencoder(tied.encoder, factor * tied.decoder)
        assert float(population_risk(other, covariance)) > least
    assert least > float(optimal_risk(encoder, "sign", covariance))


def test_orthonormal_rows_attain_the_limit_with_the_tied_decoder(x64):
    orthonormal = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0][:7]
    limit = 1 - 7 / DIM * 2 / np.pi
    assert float(tied_risk(orthonormal)) == pytest.approx(limit, rel=rounding(jnp.float64, terms=7 * DIM))
    assert float(optimal_risk(orthonormal)) == pytest.approx(limit, rel=rounding(jnp.float64, terms=7 * DIM))
    assert_rounded(
        optimal_decoder(orthonormal), np.sqrt(2 / np.pi) * orthonormal.T, jnp.float64, 7 * DIM, absolute=True
    )


@pytest.mark.parametrize(
    ("name", "repeats", "precision"), [("sign", 2, 32), ("tanh", 60, 64), ("linear", 60, 64)], indirect=["precision"]
)
def test_equal_and_opposite_units_add_nothing(name, repeats, precision):
    """f(K) is singular, and for `repeats` = 60 of rank one."""
    rows = random_encoder(jax.random.key(0), 20, 60 // repeats).astype(precision)
    copies = jnp.concatenate([(-1.0) ** index * rows for index in range(repeats)])
    tolerance = rounding(precision, terms=60**2)
    risk, alone = optimal_risk(copies, name), optimal_risk(rows, name)
    assert float(risk) == pytest.approx(float(alone), abs=tolerance)
    gradient = jax.jit(jax.grad(lambda rows: optimal_risk(rows, name)))(copies)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["sign", "erf", "relu"])
def test_rounding_finds_no_less_risk_than_there_is(name):
    """Pairs of rows at any distance, in float32: rounding may hide the gain of the second row, but never add to it."""
    rng = np.random.default_rng(0)
    for apart in (0.3, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0.0):
        rows = rng.normal(size=(6, 10))
        both = np.concatenate([rows, rows + apart * rng.normal(size=rows.shape)]).astype(np.float32)
        with jax.enable_x64(True):
            exact, of_half = (float(optimal_risk(one.astype(float), name)) for one in (both, both[:6]))
        with jax.enable_x64(False):
            found = float(optimal_risk(both, name))
        digits = rounding(np.float32, terms=12**2)
        assert exact - digits < found < of_half * (1 + 1e-3)  # rounding may lose the kernel of a close pair
        assert apart < 0.1 or found == pytest.approx(exact, rel=2e-3)


def test_rows_count_by_their_direction_alone(precision):
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(precision)
    scales = np.array([[1e-24], [1.0], [1e25]], precision)
    assert float(optimal_risk(rows * scales)) == pytest.approx(float(optimal_risk(rows)), rel=rounding(precision, 5))


def test_a_linear_activation_with_more_units_than_dimensions_is_lossless(precision):
    rows = random_encoder(jax.random.key(1), 20, 50).astype(precision)
    tolerance = rounding(precision, terms=50**2)
    assert float(optimal_risk(rows, "linear")) == pytest.approx(0, abs=tolerance)


def test_precision_is_kept(precision):
    rows = random_encoder(jax.random.key(1), DIM, UNITS)
    autoencoder = tied_autoencoder(rows, "tanh")
    assert rows.dtype == autoencoder.decoder.dtype == population_risk(autoencoder).dtype == precision
    assert optimal_risk(rows, "hard_tanh").dtype == tied_risk(rows, "gelu").dtype == precision
    np.testing.assert_allclose(jnp.linalg.norm(rows, axis=1), 1, rtol=rounding(precision, terms=DIM))


def test_gradients_are_tangent_and_agree_with_differences(x64):
    encoder, step = encoders("random"), 1e-6
    direction = jnp.asarray(np.random.default_rng(1).normal(size=encoder.shape))
    for function in (optimal_risk, tied_risk):
        gradient = jax.grad(lambda rows, function=function: function(rows, "sign", VARIANCES))(encoder)
        assert float(jnp.max(jnp.abs(jnp.sum(gradient * encoder, axis=1)))) < rounding(jnp.float64, DIM * UNITS)
        ahead, behind = (function(encoder + sign * step * direction, "sign", VARIANCES) for sign in (1, -1))
        assert float(jnp.sum(gradient * direction)) == pytest.approx(
            float((ahead - behind) / (2 * step)), rel=1e-6
        )  # of the differences


def test_the_module_and_its_sampled_risk(x64):
    rows = encoders("random")
    autoencoder = TwoLayerAutoencoder(rows, 0.1 * rows.T)
    samples = np.random.default_rng(4).normal(size=(50, DIM))
    expected = np.where(samples @ np.asarray(rows).T >= 0, 1, -1) @ np.asarray(rows) * 0.1
    error = rounding(jnp.float64, UNITS, size=0.1 * np.abs(rows).sum(axis=0).max())
    np.testing.assert_allclose(jax.vmap(autoencoder)(jnp.asarray(samples)), expected, rtol=0, atol=error)
    estimate = sampled_risk(autoencoder, samples)
    errors = ((samples - expected) ** 2).mean(axis=1)
    assert float(estimate.mean) == pytest.approx(errors.mean(), rel=rounding(jnp.float64, 50 * DIM))
    assert_rounded(estimate.standard_error, errors.std() / np.sqrt(50), jnp.float64, 50 * DIM)


def test_risks_run_under_jit_and_vmap(x64):
    batch = jnp.stack([encoders("random"), encoders("structured")])
    risks = jax.jit(jax.vmap(lambda rows: optimal_risk(rows, "sign", VARIANCES)))(batch)
    np.testing.assert_allclose(risks, [optimal_risk(rows, "sign", VARIANCES) for rows in batch], rtol=RISK_ERROR)


BAD_ROWS = np.eye(3).copy()
BAD_ROWS[1] = 0


test_a_bad_argument = refused(
    (lambda: optimal_risk(BAD_ROWS), "`encoder` must have rows b with b Σ bᵀ > 0, but row 1 is zero"),
    (lambda: optimal_risk(np.eye(2), "sign", [1.0, 0.0]), "`encoder` must have rows b with b Σ bᵀ > 0, but row 1"),
    (lambda: optimal_risk([[np.nan]]), "`encoder` must be a finite array of shape"),
    (lambda: optimal_risk(np.eye(2), "sign", [1.0, -0.1]), "`covariance` must be a non-empty vector of variances"),
    (lambda: tied_risk(np.eye(2), "sign", [[1.0, 2.0], [2.0, 1.0]]), "`covariance` must be … eigenvalue is -1."),
    (lambda: tied_risk(np.eye(2), "sign", np.eye(3)), "`covariance` must be of the dimension of the encoder"),
    (lambda: optimal_risk(np.eye(2), jnp.cos), "`activation` must have a linear part, but for 'cos'"),
    (lambda: TwoLayerAutoencoder(np.eye(2), np.ones((3, 2))), "`decoder` must be of the shape"),
    (lambda: TwoLayerAutoencoder(np.eye(2), np.eye(2), "step"), "`activation` must be one of"),
    (lambda: random_encoder(jax.random.key(0), 3, 0), "`latent_dim` must be a positive integer"),
    (lambda: sampled_risk(lambda x: x, np.ones(3)), "`samples` must be a finite array"),
)


def test_a_zero_row_inside_jit():
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape("`encoder` must have rows b with b Σ bᵀ > 0")):
        jax.block_until_ready(jax.jit(optimal_risk)(jnp.asarray(BAD_ROWS)))


def test_an_activation_of_ones_own(x64):
    """A three-level quantiser with declared jumps, against Monte Carlo."""
    quantiser = from_function(lambda x: jnp.round(jnp.clip(x, -1.0, 1.0)), "quantiser", breakpoints=(-0.5, 0.5))
    encoder = normalise_rows(encoders("random"))
    autoencoder = TwoLayerAutoencoder(encoder, optimal_decoder(encoder, quantiser), quantiser)
    estimate = monte_carlo(autoencoder, None)
    assert abs(float(population_risk(autoencoder) - estimate.mean)) < 4 * float(estimate.standard_error)
