import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import rounding

from aetheory import orthonormal_groups_dictionary, recovery

A, B = (np.random.default_rng(seed).normal(size=(7, 12)) for seed in (0, 1))


def blocks(matrix, size):
    return [matrix[:, k : k + size] for k in range(0, matrix.shape[1], size)]


def test_coherence_agrees_with_its_definition(precision):
    columns = A / np.linalg.norm(A, axis=0)
    expected = max(abs(columns[:, i] @ columns[:, j]) for i, j in itertools.combinations(range(12), 2))
    value = recovery.coherence(jnp.asarray(A, precision))
    assert value.dtype == precision
    assert float(value) == pytest.approx(expected, rel=rounding(precision, terms=7, condition=2))
    assert recovery.coherence(np.eye(4)) == 0
    assert recovery.coherence(np.ones((3, 1))) == 0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_block_coherence_agrees_with_its_definition(size, precision):
    expected = max(np.linalg.norm(g.T @ h, 2) for g, h in itertools.combinations(blocks(A, size), 2)) / size
    value = recovery.block_coherence(jnp.asarray(A, precision), size)
    assert value.dtype == precision
    assert float(value) == pytest.approx(expected, rel=rounding(precision, terms=7 * size, condition=2))
    assert recovery.block_coherence(A, 12) == 0  # a single group


def test_coherence_bounds_block_coherence(x64):
    dictionary = orthonormal_groups_dictionary(jax.random.key(0), 30, 24, 3)
    assert float(recovery.block_coherence(dictionary, 3)) <= float(recovery.coherence(dictionary))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_closeness_agrees_with_its_definition(size, precision):
    expected = max(np.linalg.norm(g - h) for g, h in zip(blocks(A, size), blocks(B, size), strict=True))
    value = recovery.closeness(jnp.asarray(A, precision), jnp.asarray(B, precision), size)
    assert value.dtype == precision
    assert float(value) == pytest.approx(expected, rel=rounding(precision, terms=7 * size))


test_a_bad_argument = refused(
    (lambda: recovery.block_coherence(A, 5), "`group_size` must be a divisor of the latent dimension 12, "),
    (lambda: recovery.closeness(A, B[:, :4], 2), "`reference` must have the shape of `dictionary`, (7, 12)"),
    (lambda: recovery.coherence(0 * A), "`dictionary` must have no column of zeros, but column 0 is one."),
    (lambda: recovery.coherence(np.inf * A), "`dictionary` must be a finite matrix of shape"),
)
