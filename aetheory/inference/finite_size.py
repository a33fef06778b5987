"""How far a problem of finite size is from its limit, measured by simulations."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Key, PRNGKeyArray, UInt32

from aetheory.core.curve import Values
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, require_finished
from aetheory.core.theory import AbstractTheory
from aetheory.inference.least_squares import LeastSquares, linearised
from aetheory.inference.model import Model, as_coordinate, from_coordinate
from aetheory.linear import ensembles
from aetheory.linear.flow import evolve
from aetheory.linear.problem import LinearProblem, LinearRatios
from aetheory.linear.theories.theory import LinearTheory

NUM_BATCHES = 4
"""Into which the simulations are split, so that a rough correction and the final one share a compiled program."""

Keys = Key[Array, " repeats"] | UInt32[Array, "repeats key"]

_TOLERANCE = 1e-5
"""Of the simulated flows; what it does to a risk is far below the noise of any number of draws."""


class Correction(NamedTuple):
    """The mean of simulations less the limit of the same problem.

    Arguments:
        values: shape (num_risks, num_times).
        repeats: the single simulations, shape (num_simulations, num_risks, num_times).
        problem: what was simulated.
        settled: whether the fit stayed where it was when corrected again.
    """

    values: Float64[np.ndarray, "risks times"]
    repeats: Float64[np.ndarray, "simulations risks times"]
    problem: LinearProblem
    settled: bool = True


def has_formula(theory: AbstractTheory) -> bool:
    """Whether the first correction in 1/p of the regime is known in closed form, and needs no simulations."""
    return isinstance(theory, LinearTheory) and theory.corrected


def correction(
    least_squares: LeastSquares,
    model: Model,
    coordinates: Float[Array, " free"],
    input_dim: int,
    batches: Sequence[Keys],
) -> Correction:
    """Simulate the problem of this input dimension that is nearest to a fit.

    H and N are whole numbers there, and the limit that is taken off has the same ones: the correction varies little
    from one whole number to the next, where the limit itself may vary much.

    Arguments:
        least_squares: the fit's problem: times and the values of the parameters that are fixed.
        model: the limit.
        coordinates: of the fit.
        input_dim: p.
        batches: keys of the simulations, as many in each batch.

    Raises:
        RuntimeError: a simulation did not finish.
    """
    fixed = {name: float(value) for name, value in least_squares.fixed.items()}
    free = zip(model.free, np.asarray(coordinates, np.float64), strict=True)
    values = fixed | {name: from_coordinate(name, value) for name, value in free}
    ratios = LinearRatios(values["init_scale"], values["latent_ratio"], values["sample_ratio"])
    problem = ratios.problem(input_dim)
    nearest = {name: float(getattr(problem, name)) for name in ("init_scale", "latent_ratio", "sample_ratio")}
    values |= nearest | {"noise_floor": 0.0}

    dtype = least_squares.times.dtype
    there = eqx.tree_at(
        lambda one: one.fixed, least_squares, {name: jnp.asarray(values[name], dtype) for name in fixed}
    )
    point = jnp.asarray([as_coordinate(name, values[name]) for name in model.free], dtype)
    limit, _ = linearised(point, there, model)
    times = values["time_unit"] * least_squares.times
    repeats = np.concatenate([_repeats(problem, times, keys, model.names) for keys in batches])
    return Correction(repeats.mean(axis=0) - np.asarray(limit), repeats, problem)


def _repeats(
    problem: LinearProblem, times: Float[Array, " times"], keys: Keys, risks: tuple[str, ...]
) -> Float64[np.ndarray, "repeats risks times"]:
    dimensions = (int(problem.input_dim), int(problem.latent_dim), float(problem.num_samples))
    found, stats = _simulate(
        ensembles.Dimensions(*(jnp.asarray(size, times.dtype) for size in dimensions)),
        jnp.asarray(problem.init_variance, times.dtype),
        times,
        keys,
        ensembles.reduction(*dimensions),
    )
    found = require_finished(found, stats, found)
    return np.stack([np.asarray(getattr(found, risk), np.float64) for risk in risks], axis=1)


@eqx.filter_jit
def _simulate(
    dimensions: ensembles.Dimensions,
    init_variance: Float[Array, ""],
    times: Float[Array, " times"],
    keys: Keys,
    shapes: ensembles.Reduction,
) -> tuple[Values, SolverStats]:
    def one(key: PRNGKeyArray) -> tuple[Values, SolverStats]:
        ensemble = ensembles.gaussian(key, dimensions, shapes, init_variance)
        tolerance = jnp.asarray(_TOLERANCE, times.dtype)
        return evolve(ensemble, times, rtol=tolerance, max_steps=DEFAULT_MAX_STEPS)

    found: tuple[Values, SolverStats] = jax.lax.map(one, keys)
    return found
