import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.linear.expansion.planar import _digits, _free_moments
from aetheory.linear.expansion.words import canonical
from aetheory.linear.theories.balanced_rotations import balanced_rotations, hadamard_matrix, rotation_sizes
from aetheory.linear.theories.rotations import initial_shares, rotated, sample_shares

X, Y, Z, SIZE, NUMBER = 0.8, 0.75, 1.6, 48, 8
RANKS = (36, 30)


def ensembles(dtype):
    ratios, ranks = ae.LinearRatios(X, Y, Z).ratios(dtype), jnp.asarray(RANKS, dtype)
    eigenvalues, measured = initial_shares(SIZE, ratios, ranks[0]), sample_shares(SIZE, ratios, ranks[1])
    rotations = jnp.asarray(balanced_rotations(SIZE, NUMBER, 0), dtype)
    return [rotated(rotation, ratios, eigenvalues, measured) for rotation in rotations]


@pytest.mark.parametrize("size", [4, 12, 24, 32, 48, 64, 80, 88, 128])
def test_hadamard_matrices(size):
    matrix = hadamard_matrix(size)
    np.testing.assert_array_equal(np.abs(matrix), 1)
    np.testing.assert_array_equal(matrix @ matrix.T, size * np.eye(size))


def test_sizes_are_those_with_a_construction():
    assert rotation_sizes(64).tolist() == [4, 8, 12, 16, 20, 24, 32, 40, 44, 48, 60, 64]


def test_rotations_are_orthogonal_flat_and_balanced():
    """The mixed moments tr D UEUᵀ D'UE'Uᵀ/size of cosines are far below 1/size, which random ones reach."""
    rotations = balanced_rotations(SIZE, NUMBER, 0)
    np.testing.assert_allclose(rotations @ rotations.mT, np.broadcast_to(np.eye(SIZE), rotations.shape), atol=1e-12)
    np.testing.assert_allclose(rotations**2, 1 / SIZE, rtol=1e-12)
    cosines = np.sqrt(2) * np.cos(np.pi * np.arange(1, 4)[:, None] * (np.arange(SIZE) + 0.5) / SIZE)
    rng = np.random.default_rng(0)
    shuffled = np.stack([one[rng.permutation(SIZE)][:, rng.permutation(SIZE)] for one in rotations])

    def moments(matrices):
        turned = np.einsum("rij,bj,rkj->rbik", matrices, cosines, matrices)
        return np.einsum("ai,rbik,rdik,ck->rabcd", cosines, turned, turned, cosines) / SIZE

    balanced, random = (np.sqrt(np.mean(moments(one) ** 2)) for one in (rotations, shuffled))
    assert balanced < 0.7 / SIZE
    assert balanced < random / 2
    assert np.abs(np.mean(moments(rotations), axis=0)).max() < 0.5 / SIZE


def test_mixed_moments_are_those_of_free_matrices(x64):
    """All words of up to four letters, within four standard errors and the error of equal shares, 8/size²."""
    draws = ensembles(jnp.float64)
    for length in range(1, 5):
        for word in {canonical("".join(letters)) for letters in itertools.product("MS", repeat=length)}:
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
            error = 4 * np.std(values) / NUMBER**0.5 + 8 / SIZE**2 * limit * (length > 2) + 1e-5 * limit
            assert np.mean(values) == pytest.approx(limit, abs=error), word


def test_ranks_and_means_are_exact(precision):
    draw = ensembles(precision)[0]
    assert draw.weights.dtype == precision
    assert int(jnp.sum(draw.spectrum > 0)) == RANKS[1]
    assert int(jnp.linalg.matrix_rank(draw.weights, rtol=1e-3)) == RANKS[0]
    assert float(jnp.mean(draw.spectrum)) == pytest.approx(1, rel=1e-5)
    assert float(jnp.sum(draw.weights**2)) / SIZE == pytest.approx(X * Y, rel=1e-5)
    assert float(draw.train_offset) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 50}, r"`size` must be a known size of a Hadamard matrix, such as 44, 48, 60, but got 50"),
        ({"size": 0}, "`size` must be a positive integer"),
        ({"size": 10**6}, "`size` must be a known size of a Hadamard matrix, such as 4092, 4096"),
        ({"number": 1}, "`number` must be at least 2"),
        ({"size": 4096, "number": 10**5}, r"100000 rotations of 4096 rows would take about 1.34e\+04 GB"),
    ],
)
def test_bad_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ae.Rotations(**options)


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
