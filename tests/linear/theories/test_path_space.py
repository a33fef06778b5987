import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae
from aetheory.linear.expansion.planar import _digits, _free_moments
from aetheory.linear.expansion.words import canonical
from aetheory.linear.theories.path_space import evolve_paths, path_ensemble
from aetheory.linear.theories.theory import Solver

X, Y, Z = 0.8, 0.7, 1.6
RTOL = 1e-10

# At time .1: the mean of 24 complex 160 × 160 pairs with the limiting spectra, one Haar-rotated, integrated apart from
# the library; standard errors below .0007.
LATER = {
    (False, "train"): 0.4110,
    (False, "population"): 0.5163,
    (True, "train"): 0.1974,
    (True, "population"): 0.3843,
}


def paths_of(length, target_free=False):
    return path_ensemble(length, ae.LinearRatios(X, Y, Z).ratios(jnp.float64), target_free)


def matrices(ensemble):
    """W and S, as NumPy arrays."""
    coupling = np.asarray(ensemble.coupling)
    covariance = np.diag(ensemble.spectrum) + np.diag(coupling, 1) + np.diag(coupling, -1)
    return np.asarray(ensemble.weights), covariance


def moment(word):
    """The large-size limit of (1/p) tr of a word, by the moment–cumulant recursion."""
    total = sum(count * Y**y * Z**z for y, z, count in _digits(_free_moments()(canonical(word))))
    return X ** word.count("M") * total


def words(first, length):
    for rest in itertools.chain.from_iterable(itertools.product("MS", repeat=size) for size in range(length)):
        yield first + "".join(rest)


@pytest.mark.parametrize("length", [6, 7])
def test_moments_are_those_of_free_wishart_matrices(x64, length):
    """All words short enough not to reach the end of the longest paths."""
    weights, covariance = matrices(paths_of(length))
    letters = {"M": weights @ weights.T, "S": covariance}
    for word in words("M", length - 2):
        vector = np.eye(len(weights))[0]
        for letter in reversed(word):
            vector = letters[letter] @ vector
        # nothing cancels: all entries are nonnegative
        error = rounding(jnp.float64, terms=len(weights) * len(word))
        assert vector[0] == pytest.approx(moment(word), rel=error), word


@eqx.filter_jit
def flow(paths, times):
    return evolve_paths(paths, times, Solver(jnp.asarray(RTOL), 1000, None))[0]


@pytest.mark.parametrize("target_free", [False, True])
def test_flow_has_the_taylor_coefficients_of_the_planar_expansion(x64, target_free):
    """The truncation changes the remainder only, which is small at early times."""
    problem = ae.LinearProblem(10**6, 700_000, 625_000, X / 10**6)
    times = jnp.asarray([0.0, 0.001, 0.003, 0.1])
    observed = flow(paths_of(10, target_free), times)
    for risk in ("train", "population"):
        series = [ae.expansion.planar(order, risk) for order in range(9)]
        if target_free:
            series = [coefficient.restrict("free") for coefficient in series]
        sums = ae.expansion.resum(ae.expansion.taylor_series(series, problem), times[:3], "taylor").values
        ours = np.asarray(getattr(observed, risk))
        np.testing.assert_allclose(ours[:3], sums, atol=1e-8)
        exact = LATER[target_free, risk]
        assert ours[3] == pytest.approx(exact, abs=0.01 * ours[0]), risk


def test_without_samples_noise_every_covariance_is_the_identity(x64):
    """z = 0: the large-data curve, and its derivative in x, though the truncation of X still branches."""

    @jax.jit
    @jax.value_and_grad
    def risk(init_scale):
        paths = path_ensemble(8, ae.LinearRatios(init_scale, jnp.asarray(0.7), jnp.asarray(0.0)))
        return flow(paths, jnp.asarray([0.15])).train[0]

    def exact(init_scale):
        return ae.predict(ae.LinearProblem(10, 7, jnp.inf, init_scale / 10), [0.15], "large-data").train[0]

    value, slope = risk(jnp.asarray(0.4))
    expected, expected_slope = jax.jit(jax.value_and_grad(exact))(0.4)
    assert float(value) == pytest.approx(float(expected), abs=1e-4)
    assert float(slope) == pytest.approx(float(expected_slope), abs=1e-3)
