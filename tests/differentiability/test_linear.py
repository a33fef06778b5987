import jax.numpy as jnp
import pytest
from differentiability.checks import Case, check

import aetheory as ae

TIMES = (0.1, 0.4)
RATIOS = (0.6, 0.4, 1.3)


def through_a_closed_form(regime, ratios=RATIOS, **options):
    def function(parameters, forward):
        curve = ae.predict(ae.LinearRatios(*parameters, 50), jnp.asarray(TIMES), regime, **options)
        return jnp.concatenate([curve.train, curve.population])

    return Case(function, ratios)


def in_times(parameters, forward):
    return ae.predict(ae.LinearRatios(*RATIOS), parameters, "mean-field").train


def expansion(function):
    def evaluate(parameters, forward):
        return function(ae.LinearProblem(*parameters))

    return Case(evaluate, (6.0, 4.0, 9.0, 0.2))


def law(function):
    def evaluate(parameters, forward):
        return function(ae.spectra.MarchenkoPastur(parameters[0], parameters[1]))

    return Case(evaluate, (0.6, 1.3))


def flat(quadrature):
    return jnp.concatenate([quadrature.nodes, quadrature.weights])


def least(parameters, forward):
    return ae.optimise.minimise(lambda u: (jnp.log(u) - parameters[0]) ** 2 + parameters[1], (0.1, 10.0)).argument


CASES = {
    "predict, large-data, finite size": through_a_closed_form("large-data", finite_size=True),
    "predict, mean-field, finite size": through_a_closed_form("mean-field", finite_size=True),
    "predict, times": Case(in_times, (0.2, 0.5)),
    "expansion.coefficients": expansion(lambda problem: ae.expansion.coefficients(2).evaluate(problem)),
    "expansion.planar": expansion(lambda problem: ae.expansion.planar(2).evaluate(problem)),
    "expansion.taylor_series": expansion(
        lambda problem: ae.expansion.taylor_series([ae.expansion.planar(order) for order in range(3)], problem)
    ),
    "expansion.resum": Case(
        lambda series, forward: ae.expansion.resum(series, jnp.asarray(TIMES), "pade").values, (1.0, -1.5, 1.2, -0.7)
    ),
    "spectra.MarchenkoPastur.density": law(lambda one: one.density(jnp.array([0.5, 1.0, 2.0]))),
    "spectra.MarchenkoPastur.moments": law(lambda one: one.moments(4)),
    "spectra.MarchenkoPastur.radau_quadrature": law(lambda one: flat(one.radau_quadrature(4))),
    "spectra.MarchenkoPastur.edge_quadrature": law(lambda one: flat(one.edge_quadrature(8))),
    "spectra.free_poisson": Case(lambda one, forward: ae.spectra.free_poisson(one[0], one[1]).moments(3), (0.7, 1.2)),
    "optimise.minimise": Case(least, (0.4, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_central_differences(x64, name):
    check(CASES[name])
