"""How far a problem of finite size is from its limit, measured by simulations."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

from aetheory.inference.least_squares import LeastSquares, linearised
from aetheory.inference.model import Model, as_coordinate, from_coordinate
from aetheory.theory.prism import regimes
from aetheory.theory.prism.problem import LinearProblem, LinearRatios
from aetheory.theory.prism.simulation import simulate

NUM_BATCHES = 16
"""Into which simulations are split: the scatter of the batches' means is the noise of the correction."""

_TOLERANCE = 1e-5
"""Of the simulated flows; what it does to a risk is far below the noise of any number of draws."""


class Correction(NamedTuple):
    """The mean of simulations less the limit of the same problem.

    Arguments:
        values: shape (num_risks, num_times).
        batches: the means of batches of simulations, shape (num_batches, num_risks, num_times).
        problem: what was simulated.
        num_simulations: how many draws the batches hold together.
    """

    values: Float64[np.ndarray, "risks times"]
    batches: Float64[np.ndarray, "batches risks times"]
    problem: LinearProblem
    num_simulations: int


def has_formula(faces: Sequence[str]) -> bool:
    """Whether the first correction in 1/p of the regime is known in closed form, and needs no simulations."""
    return len(faces) == 1 and faces[0] in regimes.FINITE_SIZE


def correction(
    least_squares: LeastSquares,
    model: Model,
    coordinates: Float[Array, " free"],
    input_dim: int,
    keys: Sequence[PRNGKeyArray],
    batch_size: int,
) -> Correction:
    """Simulate the problem of this input dimension that is nearest to a fit.

    H and N are whole numbers there, and the limit that is taken off has the same ones: the correction varies little
    from one whole number to the next, where the limit itself may vary much.

    Arguments:
        least_squares: the fit's problem: times and the values of the parameters that are fixed.
        model: the limit.
        coordinates: of the fit.
        input_dim: p.
        keys: one for each batch of simulations.
        batch_size: simulations in each.

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
    curves = [simulate(problem, times, key, num_repeats=batch_size, rtol=_TOLERANCE) for key in keys]
    batches = np.stack(
        [np.stack([np.asarray(getattr(curve, risk), np.float64) for risk in model.risks]) for curve in curves]
    )
    return Correction(batches.mean(axis=0) - np.asarray(limit), batches, problem, len(keys) * batch_size)


def batch_keys(key: PRNGKeyArray) -> list[PRNGKeyArray]:
    """One key a batch."""
    return list(jax.random.split(key, NUM_BATCHES))
