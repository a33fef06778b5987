import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.linear.expansion.planar import _digits, _free_moments
from aetheory.linear.expansion.words import canonical
from aetheory.linear.theories.rotations import rotated

X, Y, Z, SIZE = 0.8, 0.75, 1.6, 128
RANKS = (96, 80)


def ensemble(seed, dtype=None):
    dtype = jnp.result_type(float) if dtype is None else dtype
    return rotated(jax.random.key(seed), SIZE, ae.LinearRatios(X, Y, Z).ratios(dtype), jnp.asarray(RANKS, dtype))


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
