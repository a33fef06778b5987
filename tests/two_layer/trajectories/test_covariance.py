import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import rounding

import aetheory as ae
from aetheory.two_layer.network import random_encoder
from aetheory.two_layer.trajectories import covariance

STEPS = np.array([0, 5, 20])
VARIANCES = np.repeat([2.5, 0.7, 0.1], [4, 4, 6])


def problem(rate, variances=VARIANCES, **fields):
    dim = len(variances)
    return ae.TwoLayerProblem(dim, rate * dim, "sign", "alternating", variances, **fields)


def by_hand(rows, covariance, num_steps, step):
    """The map of the derivation with explicit inverses: R, tr M²/n and the overlap of the rows B̃ with their start."""
    dim, units, alpha = len(covariance), len(rows), np.pi / 2 - 1
    values, vectors = np.linalg.eigh(covariance)
    scaled = rows @ vectors * np.sqrt(np.maximum(values, 0))
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    start, records, power = scaled, [], values.mean()
    for _ in range(num_steps + 1):
        matrix = scaled.T @ scaled
        inverse = np.linalg.inv(matrix + alpha * np.eye(dim))
        risk = alpha / dim * np.trace(inverse * values)
        records.append((risk, np.trace(matrix @ matrix) / units, np.sum(scaled * start) / units))
        squared = inverse @ np.diag(values) @ inverse
        change = np.eye(dim) + 2 * step / power * (alpha * squared + np.trace(squared @ matrix) / units * np.eye(dim))
        scaled = scaled @ change
        scaled *= np.sqrt(units / np.sum(scaled**2))
    return np.array(records)


@pytest.mark.parametrize("units", [8, 20])
def test_one_encoder_by_its_own_matrix(units, x64):
    root = np.random.default_rng(0).normal(size=(14, 14))
    sigma = root @ root.T / 14
    start = random_encoder(jax.random.key(0), 14, units)
    one = ae.TwoLayerProblem(14, units, "sign", "alternating", sigma, start=start, step_size=0.2)
    curve = ae.predict(one, STEPS)
    assert curve.theory.name == "matrix descent"
    assert curve.lower is None
    expected = by_hand(np.asarray(start), sigma, 20, 0.2)[STEPS].T
    for name, values in zip(("risk", "second_moment", "overlap"), expected, strict=True):
        error = rounding(jnp.float64, terms=20 * 14**2, condition=1e3)
        np.testing.assert_allclose(getattr(curve, name), values, rtol=error)
    simulated = ae.simulate(one, STEPS, jax.random.key(1))
    np.testing.assert_allclose(curve.risk, simulated.risk, atol=0.02)  # at d = 14


@pytest.fixture
def small_matrices(monkeypatch):
    """Random rows through two rotations of matrices of dimension 16."""
    monkeypatch.setattr(covariance, "_SIZE", 16)
    monkeypatch.setattr(covariance, "_NUM_ROTATIONS", 2)


@pytest.mark.parametrize("options", [{}, pytest.param({"flow": True}, marks=pytest.mark.slow)])
def test_equal_variances_are_the_isotropic_descent(options, small_matrices, x64):
    """For an encoder: exactly, but for what f(K) has beyond its linear part at finite n. For random rows: closely."""
    flat = np.full(40, 3.0)
    for rate in (0.5, 0.79):
        found = ae.predict(problem(rate, flat), STEPS, "matrix descent", **options)
        expected = ae.predict(problem(rate, np.ones(40)), STEPS, "alternating descent", **options)
        np.testing.assert_allclose(found.risk / 3, expected.risk, atol=2e-3)
        np.testing.assert_allclose(found.overlap, expected.overlap, atol=5e-3)
        assert (np.asarray(found.upper.risk - found.lower.risk) >= 0).all()


def test_shares_keep_the_variance(small_matrices, x64):
    start = ae.predict(problem(0.5, np.arange(1.0, 101)), [0])
    assert start.risk.shape == (1,)
    # the scale of the covariance is that of the risk
    scaled = ae.predict(problem(0.5, 7 * np.arange(1.0, 101)), [0])
    np.testing.assert_allclose(scaled.risk, 7 * start.risk, rtol=1e-10)


def predicted(fields):
    given = {"input_dim": 14, "num_units": 7, "method": "alternating", "covariance": VARIANCES} | fields
    return ae.predict(ae.TwoLayerProblem(**given), [0, 1, 5], "matrix descent")


test_what_is_not_predicted = refused(
    ({"activation": "relu"}, "`activation` must be odd"),
    ({"activation": "linear"}, "`activation` must be one that is not linear"),
    ({"method": "tied"}, "`theory` must be one of the method 'tied'"),
    ({"step_size": 1e30}, "`step_size` must be small enough"),
    by=predicted,
)
