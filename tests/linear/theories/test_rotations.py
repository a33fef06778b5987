import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.linear.expansion.planar import _digits, _free_moments
from aetheory.linear.expansion.words import canonical
from aetheory.linear.theories.rotations import rotated, sample_shares

X, Y, Z, SIZE = 0.8, 0.75, 1.6, 128
RANKS = (96, 80)


def ensemble(seed, dtype=None):
    dtype = jnp.result_type(float) if dtype is None else dtype
    ratios, ranks = ae.LinearRatios(X, Y, Z).ratios(dtype), jnp.asarray(RANKS, dtype)
    return rotated(jax.random.key(seed), SIZE, ratios, ranks[0], sample_shares(SIZE, ratios, ranks[1]))


def test_mixed_moments_are_those_of_free_matrices(x64):
    """All words of up to four letters, within four standard errors over 16 rotations and 4/size of the limit."""
    stacked = jax.jit(jax.vmap(ensemble))(jnp.arange(16))
    draws = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], stacked) for seed in range(16)]
    for size in range(1, 5):
        for word in {canonical("".join(letters)) for letters in itertools.product("MS", repeat=size)}:
            values = []
            for draw in draws:
                weights = np.asarray(draw.weights)
                matrices = {"M": weights @ weights.T, "S": np.diag(draw.spectrum)}
                product = np.eye(SIZE)
                for letter in word:
                    product = product @ matrices[letter]
                values.append(np.trace(product) / SIZE)
            limit = X ** word.count("M") * sum(
                count * Y**y * Z**z for y, z, count in _digits(_free_moments()(canonical(word)))
            )
            error = 4 * np.std(values) / 16**0.5 + 4 / SIZE * limit * (size > 2) + 2e-3 * limit
            assert np.mean(values) == pytest.approx(limit, abs=error), word


def test_ranks_and_means_are_exact(precision):
    draw = ensemble(0, precision)
    assert draw.weights.dtype == precision
    assert int(jnp.sum(draw.spectrum > 0)) == RANKS[1]
    assert int(jnp.linalg.matrix_rank(draw.weights, rtol=1e-3)) == RANKS[0]
    assert float(jnp.mean(draw.spectrum)) == pytest.approx(1, rel=1e-5)
    assert float(jnp.sum(draw.weights**2)) / SIZE == pytest.approx(X * Y, rel=1e-5)
    assert float(draw.train_offset) == pytest.approx(1, rel=1e-5)


@pytest.mark.slow
def test_derivatives_in_all_ratios_are_central_differences(x64):
    """Both modes; a small size, the same code."""
    method, times = ae.Rotations(12, 2), np.array([0.02, 0.1])
    point, step = jnp.asarray([0.8, 0.63, 0.71]), 1e-5

    def risk(ratios, adjoint=None):
        problem = ae.LinearRatios(*(ratios[k] for k in range(3)))
        curve = ae.predict(problem, times, "interior", method=method, rtol=1e-9, adjoint=adjoint)
        return curve.train[1] + 0.5 * curve.population[1]

    value = jax.jit(jax.value_and_grad(risk))
    slope = value(point)[1]
    ends = np.array([[value(point + sign * step * unit)[0] for sign in (1, -1)] for unit in jnp.eye(3)])
    np.testing.assert_allclose(slope, (ends[:, 0] - ends[:, 1]) / (2 * step), rtol=1e-5, atol=1e-6)
    forward = jax.jit(jax.jacfwd(lambda ratios: risk(ratios, diffrax.ForwardMode())))
    np.testing.assert_allclose(forward(point), slope, rtol=1e-6, atol=1e-8)
