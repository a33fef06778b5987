"""A problem that is none of the library's: everything above the core works for it."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae
from aetheory.core.checks import check_times, static_integer
from aetheory.core.problem import AbstractExperiment, AbstractProblem, Outcome
from aetheory.core.theory import AbstractTheory, Citation

TIMES = np.linspace(0, 1, 6)


@dataclass(frozen=True)
class Decay(AbstractTheory):
    """A particle in a well loses its energy."""

    def curve(self, problem, times, *, scale=1.0):
        times = check_times(times)
        energy = scale * jnp.exp(-2 * jnp.asarray(problem.rate)[..., None] * times)
        return ae.Curve(times, ae.Values(energy=energy), theory=self, problem_type=type(problem), label=self.name)


class Fall(AbstractExperiment):
    times: jax.Array
    rate: jax.Array

    def run(self, key):
        start = jax.random.normal(key, (), self.times.dtype)
        place = start * jnp.exp(-self.rate * self.times)
        return Outcome(ae.Values(energy=place**2), module=place[-1])


class Well(AbstractProblem):
    rate: float | jax.Array
    dimension: int = 1

    theories: ClassVar = {"decay": Decay("decay", "E x² = e^{−2kt}", (Citation("cover2006elements"),), "all", "none")}
    citations: ClassVar = (Citation("cover2006elements"),)
    free_numbers: ClassVar = ("rate",)

    def default_theory(self):
        return self.theories["decay"]

    def experiment(self, times):
        static_integer("dimension", self.dimension)
        times = check_times(times)
        return Fall(times, jnp.asarray(self.rate, times.dtype))


def test_simulation_meets_theory_with_an_error_bar(precision):
    problem, times = Well(0.7), jnp.asarray(TIMES, precision)
    simulated = ae.simulate(problem, times, jax.random.key(0), num_repeats=2000)
    predicted = ae.predict(problem, times)
    assert simulated.energy.dtype == predicted.energy.dtype == precision
    deviation = np.abs(np.asarray(simulated.energy - predicted.energy))
    assert (deviation < 4 * np.asarray(simulated.standard_error.energy)).all()
    assert (simulated.problem_type, simulated.theory, predicted.theory.name) == (Well, None, "decay")


def test_the_module_is_kept_where_it_is_asked_for(x64):
    alone = ae.simulate(Well(0.7), TIMES, jax.random.key(1), return_module=True)
    assert alone.std is None
    assert alone.module.shape == ()
    several = ae.simulate(Well(0.7), TIMES, jax.random.key(1), num_repeats=3, return_module=True)
    assert several.module.shape == (3,)
    assert ae.simulate(Well(0.7), TIMES, jax.random.key(1)).module is None


def test_simulate_under_jit_and_vmap_is_a_loop(x64):
    def energy(rate):
        return ae.simulate(Well(rate), TIMES, jax.random.key(2), num_repeats=2).energy

    rates = jnp.asarray([0.5, 2.0])
    loop = jnp.stack([energy(rate) for rate in rates])
    np.testing.assert_allclose(jax.jit(jax.vmap(energy))(rates), loop, rtol=rounding(jnp.float64, terms=8))


def test_fit_and_sensitivities_know_no_system_by_name(x64):
    observed = ae.predict(Well(0.7), TIMES)
    found = ae.fit(observed, problem=Well(1.0))
    assert found.values["rate"] == pytest.approx(0.7, rel=1e-6)
    assert found.theory.name == "decay"
    np.testing.assert_allclose(found.curve().energy, observed.energy, rtol=1e-6)
    slopes = ae.sensitivities(Well(0.7), TIMES).derivatives["rate"].energy
    np.testing.assert_allclose(slopes, -1.4 * TIMES * np.exp(-1.4 * TIMES), rtol=0, atol=rounding(jnp.float64, terms=8))


def test_it_is_plotted_cited_and_swept(x64):
    curve = ae.predict(Well(0.7), TIMES)
    ax = ae.plot(curve)
    assert ax.get_ylabel() == "energy"
    plt.close("all")
    assert "cover2006elements" in ae.citation(curve)
    swept = ae.sweep(lambda cell, key: ae.predict(Well(cell["rate"]), TIMES), {"rate": [0.5, 1.0]}, jax.random.key(0))
    np.testing.assert_allclose(
        swept.energy, np.exp(-2 * np.outer([0.5, 1.0], TIMES)), rtol=rounding(jnp.float64, terms=8)
    )


def test_bad_input_names_the_argument():
    with pytest.raises(ValueError, match="`theory` must be one of 'decay' for a Well, or None, but got 'growth'"):
        ae.predict(Well(0.7), TIMES, "growth")
    with pytest.raises(ValueError, match=r"`step` must be one of the options of Well \(\), but got 3"):
        ae.simulate(Well(0.7), TIMES, jax.random.key(0), step=3)
    with pytest.raises(ValueError, match="`num_repeats` must be a positive integer"):
        ae.simulate(Well(0.7), TIMES, jax.random.key(0), num_repeats=0)
