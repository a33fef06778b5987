import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refused
from scipy.optimize import minimize
from tolerance import rounding

from aetheory import GroupSparseAutoencoder, gaussian_dictionary, gradient_descent, group_relu, reconstruction_loss
from aetheory.core.dictionary import normalise_columns
from aetheory.group_sparse.network import squared_spectral_norm

KEY = jax.random.key(5)
CODES = np.random.default_rng(0).normal(size=(7, 12))
relu = eqx.filter_jit(group_relu)
slopes_of = eqx.filter_jit(jax.jacobian(group_relu, argnums=(0, 1)))
encode = eqx.filter_jit(GroupSparseAutoencoder.encode)


def oracle(codes, threshold, size, nonnegative=False):
    """The definition, group by group."""
    result = np.zeros_like(codes)
    thresholds = np.broadcast_to(threshold, codes.shape[-1] // size)
    for row, code in enumerate(np.maximum(codes, 0) if nonnegative else codes):
        for group, value in enumerate(thresholds):
            part = slice(group * size, (group + 1) * size)
            norm = np.linalg.norm(code[part])
            if norm > value:
                result[row, part] = (1 - value / norm) * code[part]
    return result


@pytest.mark.parametrize("size", [1, 3, 12])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_group_relu_agrees_with_its_definition(size, nonnegative, precision):
    per_group = np.linspace(0, 1.5, 12 // size)
    for threshold in (0.0, 0.7, per_group):
        result = relu(jnp.asarray(CODES, precision), jnp.asarray(threshold, precision), size, nonnegative=nonnegative)
        assert result.dtype == precision
        expected = oracle(CODES, threshold, size, nonnegative)
        np.testing.assert_allclose(result, expected, rtol=0, atol=rounding(precision, size + 3, size=3))


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e20, 1e37])
def test_group_relu_is_homogeneous_where_squares_are_out_of_range(scale):
    codes, scale = CODES.astype(np.float32), np.float32(scale)
    threshold = np.float32(0.7)
    result = np.asarray(relu(jnp.asarray(scale * codes), jnp.asarray(scale * threshold), 3))
    np.testing.assert_allclose(result / scale, oracle(CODES, 0.7, 3), rtol=0, atol=rounding(jnp.float32, 9, size=3))
    found, expected = (slopes_of(jnp.asarray(by * codes[0]), jnp.asarray(by * threshold), 3)[0] for by in (scale, 1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(jnp.float32, 40))


def test_the_group_relu_is_the_proximal_operator(x64):
    """No other point has a smaller ½‖u − x‖² + λ Σ‖u_g‖."""
    observed, rng = CODES[0], np.random.default_rng(1)

    def penalised(code):
        return 0.5 * np.sum((code - observed) ** 2) + 0.6 * np.linalg.norm(code.reshape(-1, 3), axis=1).sum()

    for nonnegative in (False, True):
        best = np.asarray(relu(jnp.asarray(observed), jnp.asarray(0.6), 3, nonnegative=nonnegative))
        for scale in (1e-3, 1e-1, 1.0):
            others = best + scale * rng.normal(size=(500, 12))
            others = np.maximum(others, 0) if nonnegative else others
            assert min(penalised(other) for other in others) > penalised(best)


@pytest.mark.parametrize("size", [2, 5])
def test_the_jacobian_is_the_published_one(size, precision):
    """τI + λzzᵀ/‖z‖³ with τ = 1 − λ/‖z‖, the rank-one term included, and zero for an inactive group."""
    z = np.random.default_rng(2).normal(size=size)
    threshold, norm, error = 0.3, np.linalg.norm(z), rounding(precision, size + 6, condition=2)
    expected = (1 - threshold / norm) * np.eye(size) + threshold * np.outer(z, z) / norm**3
    jacobian, slope = slopes_of(jnp.asarray(z, precision), jnp.asarray(threshold, precision), size)
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=error)
    np.testing.assert_allclose(slope, -z / norm, rtol=0, atol=error)
    inactive, _ = slopes_of(jnp.asarray(z, precision), jnp.asarray(2 * norm, precision), size)
    assert not np.asarray(inactive).any()


def test_derivatives_agree_with_finite_differences(x64):
    for nonnegative in (False, True):

        @jax.jit
        def value(codes, threshold, nonnegative=nonnegative):
            return jnp.sum(jnp.sin(group_relu(codes, threshold, 3, nonnegative=nonnegative)))

        arguments, directions = (jnp.asarray(CODES[:2]), jnp.asarray(0.31)), (jnp.asarray(CODES[2:4]), jnp.asarray(1.0))
        _, slope = jax.jvp(value, arguments, directions)
        ahead, behind = (
            value(*(a + sign * 1e-6 * d for a, d in zip(arguments, directions, strict=True))) for sign in (1, -1)
        )
        assert float(slope) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-7)  # of the differences


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_derivatives_at_zero_groups_and_entries_are_finite(threshold, nonnegative, precision):
    codes = jnp.asarray([[0.0, 0.0, 3.0, 0.0, 0.3, 0.4]], precision)  # inactive; active with a zero; exactly at λ = ½
    jacobian, slope = slopes_of(codes, jnp.asarray(threshold, precision), 2, nonnegative=nonnegative)
    assert np.isfinite(jacobian).all()
    assert np.isfinite(slope).all()
    jacobian, error = np.asarray(jacobian).reshape(6, 6), rounding(precision, terms=8)
    if threshold == 0 and not nonnegative:
        np.testing.assert_allclose(jacobian, np.eye(6), atol=error)  # no threshold: the identity, at zero too
    if threshold > 0:
        assert not jacobian[:2].any()
        assert not jacobian[4:].any()
        along_zero = 0.0 if nonnegative else 1 - threshold / 3  # τ for the entry that is zero in an active group
        np.testing.assert_allclose(np.diag(jacobian)[2:4], [1, along_zero], rtol=error)


def test_group_relu_under_jit_and_vmap(x64):
    thresholds = jnp.linspace(0, 2, 5)
    together = jax.jit(jax.vmap(lambda value: group_relu(jnp.asarray(CODES), value, 4)))(thresholds)
    for threshold, result in zip(thresholds, together, strict=True):
        expected = oracle(CODES, float(threshold), 4)
        np.testing.assert_allclose(result, expected, rtol=0, atol=rounding(jnp.float64, 7, size=3))


test_a_bad_argument_of_group_relu = refused(
    ((CODES, 0.1, 5), "`group_size` must be a divisor of the latent dimension 12, but got 5."),
    ((CODES, 0.1, 0), "`group_size` must be a positive integer, but got 0."),
    ((CODES, -0.1, 3), "`threshold` must be finite and nonnegative, but got -0.1."),
    ((CODES, math.nan, 3), "`threshold` must be finite and nonnegative, but got nan."),
    ((CODES, np.ones(3), 3), "`threshold` must be a number or of shape (4,), one a group, but got shape (3,)."),
    ((np.float32(1.0), 0.1, 1), "`codes` must be a finite, non-empty array with at least one axis, but got "),
    by=lambda arguments: group_relu(*arguments),
)


def test_a_negative_threshold_is_refused_inside_a_traced_program():
    shrink = eqx.filter_jit(lambda value: group_relu(jnp.asarray(CODES), value, 3))
    assert np.isfinite(shrink(jnp.asarray(0.5))).all()
    with pytest.raises(RuntimeError, match="`threshold` must be finite and nonnegative"):
        shrink(jnp.asarray(-0.5))


def dictionary(precision=jnp.float32, input_dim=10, latent_dim=12):
    return np.random.default_rng(3).normal(size=(input_dim, latent_dim)).astype(precision) / math.sqrt(input_dim)


INPUTS = np.random.default_rng(4).normal(size=(5, 10))


def test_one_iteration_is_the_published_encoder(precision):
    A, inputs = dictionary(precision), jnp.asarray(INPUTS, precision)
    autoencoder = GroupSparseAutoencoder(A, 0.2, 3)
    expected = oracle(INPUTS @ A, 0.2, 3)
    # products of 10 entries and then of 12, of columns of norm 1
    error = rounding(precision, terms=22, size=np.abs(INPUTS).sum(axis=1).max())
    codes, *results = eqx.filter_jit(
        lambda own, x: (own.encode(x), own(x), jax.vmap(own)(x), own.decode(own.encode(x)))
    )(autoencoder, inputs)
    np.testing.assert_allclose(codes, expected, rtol=0, atol=error)
    for result in results:
        np.testing.assert_allclose(result, expected @ A.T, rtol=0, atol=error)
        assert result.dtype == precision


def unfolded_oracle(A, inputs, threshold, size, iterations, step, nonnegative=False):
    """ISTA as its paper writes it."""
    codes = np.zeros((len(inputs), A.shape[1]))
    for _ in range(iterations):
        moved = codes + step * (inputs - codes @ A.T) @ A
        codes = oracle(moved, step * threshold, size, nonnegative)
    return codes


@pytest.mark.parametrize("input_dim", [10, 5])  # the Gram matrix, and two products
def test_unfolded_iterations_agree_with_a_loop(input_dim, precision):
    """With the step size that power iteration finds, to its precision; it follows a dictionary that training moves."""
    A, inputs = dictionary(precision, input_dim), INPUTS[:, :input_dim]
    autoencoder = GroupSparseAutoencoder(A, 0.1, 3, num_iterations=7, nonnegative=input_dim == 5)
    assert float(squared_spectral_norm(jnp.asarray(A))) == pytest.approx(np.linalg.norm(A, 2) ** 2, rel=1e-3)
    for scale in (1.0, 3.0):
        moved = eqx.tree_at(lambda module: module.dictionary, autoencoder, scale * autoencoder.dictionary)
        step = 1 / float(squared_spectral_norm(moved.dictionary))
        expected = unfolded_oracle(scale * np.asarray(A, np.float64), inputs, 0.1, 3, 7, step, input_dim == 5)
        error = rounding(precision, terms=7 * 22, size=np.abs(inputs).sum(axis=1).max())
        np.testing.assert_allclose(encode(moved, jnp.asarray(inputs, precision)), expected, rtol=0, atol=error)


def test_many_iterations_reach_the_minimiser(x64):
    A = dictionary(np.float64)
    many = GroupSparseAutoencoder(A, 0.1, 3, num_iterations=5000).encode(jnp.asarray(INPUTS))

    def objective(code, observed):
        groups = np.sqrt(np.sum(code.reshape(-1, 3) ** 2, axis=1) + 1e-16)
        return 0.5 * np.sum((observed - A @ code) ** 2) + 0.1 * groups.sum()

    for code, observed in zip(np.asarray(many), INPUTS, strict=True):
        reference = minimize(objective, code + 0.1, args=(observed,), method="BFGS", options={"gtol": 1e-7})
        assert objective(code, observed) <= reference.fun + 1e-9  # of the minimiser


def test_the_spectral_norm_of_a_dictionary_without_gap():
    A = gaussian_dictionary(KEY, 190, 200)
    estimate, exact = float(squared_spectral_norm(A)), float(np.linalg.norm(A, 2) ** 2)
    assert 0.97 * exact < estimate <= exact * (1 + rounding(jnp.float32, terms=200))


def test_columns_of_norm_one(precision):
    A = dictionary(precision)
    unit = GroupSparseAutoencoder(A, 0.2, 3, unit_norm=True)
    error = rounding(precision, terms=22, size=np.abs(INPUTS).sum(axis=1).max())
    np.testing.assert_allclose(np.linalg.norm(unit.atoms, axis=0), 1, rtol=rounding(precision, terms=10))
    normalised = GroupSparseAutoencoder(A / np.linalg.norm(A, axis=0), 0.2, 3)
    inputs = jnp.asarray(INPUTS, precision)
    np.testing.assert_allclose(unit(inputs), normalised(inputs), rtol=0, atol=error)
    slope = eqx.filter_jit(jax.grad(reconstruction_loss))(unit, inputs).dictionary
    np.testing.assert_allclose(np.sum(slope * A, axis=0), 0, atol=4 * error)  # only directions count
    zero_column = jnp.asarray([[0.0, 3.0], [0.0, 4.0]], precision)
    np.testing.assert_allclose(normalise_columns(zero_column), [[0, 0.6], [0, 0.8]], rtol=rounding(precision, terms=4))
    assert np.isfinite(jax.jit(jax.jacrev(normalise_columns))(zero_column)).all()


def test_training_moves_the_dictionary_alone(x64):
    autoencoder = GroupSparseAutoencoder(dictionary(np.float64), 0.05, 3, num_iterations=3)
    run = gradient_descent(autoencoder, reconstruction_loss, optax.sgd(0.1), 20, jnp.asarray(INPUTS))
    assert run.loss[-1] < 0.9 * run.loss[0]
    assert run.module.threshold == autoencoder.threshold
    assert (run.module.dictionary != autoencoder.dictionary).any()


def test_the_gradient_of_the_unfolded_loss_holds_the_step_size_fixed(x64):
    """Against finite differences of the loop."""
    samples, A, direction = jnp.asarray(INPUTS), dictionary(np.float64), np.asarray(jax.random.normal(KEY, (10, 12)))
    step = 1 / float(squared_spectral_norm(jnp.asarray(A)))

    def loss(A):
        errors = INPUTS - unfolded_oracle(A, INPUTS, 0.1, 3, 5, step) @ A.T
        return 0.5 * np.mean(np.sum(errors**2, axis=1))

    gradient = jax.grad(reconstruction_loss)(GroupSparseAutoencoder(A, 0.1, 3, num_iterations=5), samples).dictionary
    ahead, behind = (loss(A + sign * 1e-6 * direction) for sign in (1, -1))
    assert np.sum(gradient * direction) == pytest.approx((ahead - behind) / 2e-6, rel=1e-7)  # of the differences


def test_compiled_size_does_not_grow_with_the_iterations():
    inputs = jnp.asarray(INPUTS, jnp.float32)
    sizes = []
    for iterations in (5, 500):
        autoencoder = GroupSparseAutoencoder(dictionary(), 0.1, 3, num_iterations=iterations)
        jaxpr = jax.make_jaxpr(lambda inputs, module=autoencoder: module.encode(inputs))(inputs)
        sizes.append(len(str(jaxpr).splitlines()))
    assert sizes[0] == sizes[1]


test_a_bad_argument = refused(
    ({"threshold": -0.5}, "`threshold` must be finite and nonnegative, but got -0.5."),
    ({"num_iterations": 0}, "`num_iterations` must be a positive integer, but got 0."),
    ({"dictionary": np.ones(3)}, "`dictionary` must be a finite matrix of shape (input_dim, latent_dim), but got"),
    by=lambda change: GroupSparseAutoencoder(
        **{"dictionary": dictionary(), "threshold": 0.1, "group_size": 3} | change
    ),
)


@pytest.mark.parametrize("shape", [(9,), (4, 9), ()])
def test_inputs_of_another_dimension(shape):
    autoencoder = GroupSparseAutoencoder(dictionary(), 0.1, 3)
    message = f"`inputs` must have 10 entries along its last axis, one a row of the dictionary, but got shape {shape}."
    for call in (autoencoder, autoencoder.encode):
        with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}$"):
            call(jnp.ones(shape))
