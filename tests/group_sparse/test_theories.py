import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_rounded, rounding

import aetheory as ae

PROBLEM = ae.RecoveryProblem(190, 100, optimizer="sgd", learning_rate=0.5)


def test_the_resting_norm_is_a_constant_with_the_extremes_around_it(precision):
    thresholds = jnp.asarray([0.0, 2.0], precision)
    curve = ae.predict(replace(PROBLEM, threshold=thresholds), [0, 3, 9], "fixed-point norm")
    assert curve.theory.name == "fixed-point norm"
    assert curve.column_norm.shape == (2, 3)
    assert curve.column_norm.dtype == precision
    for values, norm in ((curve.values, 4.5), (curve.lower, 5.0), (curve.upper, 4.0)):
        s = np.asarray(values.column_norm)
        np.testing.assert_allclose(s**2 * (1 - np.array([[0], [2]]) / (s * norm)), 1, rtol=rounding(precision, terms=8))
    single = jax.jit(lambda one: ae.predict(replace(PROBLEM, threshold=one), [7], "fixed-point norm").column_norm[0])
    assert float(single(2.0)) == pytest.approx(1.2466, abs=5e-5)  # as printed
    assert float(jax.grad(single)(0.0)) == pytest.approx(1 / 9, rel=rounding(precision, terms=8))  # half of λ/‖x‖


@pytest.mark.parametrize("threshold", [2.0, 10.0])  # with ten no group is active, and ρ = 0
def test_the_published_bound_is_its_recurrence_and_grows(threshold, x64):
    problem, correlation = replace(PROBLEM, threshold=threshold), 0.56
    curve = ae.predict(problem, [0, 1, 4, 20], "published bound")
    start = 4 * (1 - correlation)
    tau = max(1 - threshold / (4.5 * correlation), 0)
    bracket = correlation - 2 * (correlation * math.sqrt(5) + math.sqrt(start)) ** 2 / correlation
    rho, distances = 0.5 * tau * 0.03 * (2 - tau) * bracket, [start]
    for _ in range(20):
        distances.append((1 - rho) * distances[-1] + math.log(190) ** 3 / 100**2)
    assert_rounded(curve.distance, 100 * np.asarray(distances)[[0, 1, 4, 20]], jnp.float64, terms=20 * 8)
    assert rho <= 0
    assert curve.upper is curve.values
    rates = jax.vmap(lambda rate: ae.predict(replace(problem, learning_rate=rate), [4], "published bound").distance)
    np.testing.assert_allclose(rates(jnp.array([0.5]))[0], curve.distance[2:3], rtol=rounding(jnp.float64, terms=4))


def test_networks_that_no_theory_speaks_of_are_refused():
    source = ae.GroupSparseSource(np.eye(4), 2, 1)
    unfolded = ae.RecoveryProblem.of(source, ae.GroupSparseAutoencoder(np.eye(4), 1.0, 2, num_iterations=3))
    several = ae.RecoveryProblem.of(source, ae.GroupSparseAutoencoder(np.eye(4), np.array([1.0, 2.0]), 2))
    for problem in (replace(PROBLEM, network="sparse"), unfolded, several):
        with pytest.raises(ValueError, match=re.escape("`network` must be with groups, one iteration and one")):
            ae.predict(problem, [1], "published bound")
