"""Difference between a problem of finite size and its limit, measured by simulations."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from aetheory.core.problem import AbstractProblem
from aetheory.core.simulate import run_repeats
from aetheory.core.solve import require_finished
from aetheory.inference.fit_problem import LeastSquares, with_numbers

_TOLERANCE = 1e-5
"""Relative tolerance of the simulated flows; its effect on a risk is far below the noise of the draws."""


class Correction(NamedTuple):
    """Mean of simulations minus the limit of the same problem.

    Arguments:
        values: shape (num_risks, num_times).
        repeats: the single simulations, shape (num_simulations, num_risks, num_times).
        problem: what was simulated.
        settled: whether the fit stayed where it was when corrected again.
    """

    values: Float64[np.ndarray, "risks times"]
    repeats: Float64[np.ndarray, "simulations risks times"]
    problem: AbstractProblem
    settled: bool = True


def correction(squares: LeastSquares, coordinates: Float[Array, " free"], input_dim: int, batches: Any) -> Correction:
    """Correction by simulations of the problem of this input dimension that is nearest to a fit.

    H and N are whole numbers there, and the limit that is taken off has the same ones: the correction varies little
    from one whole number to the next, where the limit itself may vary much. `batches` are keys, as many in each, for
    all to share a compiled program.

    Raises:
        RuntimeError: a simulation did not finish.
    """
    names, parameters = squares.problem.free_numbers, squares.parameters(coordinates)
    problem = with_numbers(squares.problem, {name: float(parameters[name]) for name in names}).problem(input_dim)
    nearest = {name: getattr(problem, name) for name in names} | {"noise_floor": 0.0}
    nearest = {name: jnp.asarray(value, squares.times.dtype) for name, value in nearest.items()}
    experiment = problem.experiment(parameters["time_unit"] * squares.times, rtol=_TOLERANCE)
    outcomes = [run_repeats(experiment, keys, False) for keys in batches]
    finished = [require_finished(one.values, one.stats, one.values) for one in outcomes]
    by_risk = [np.concatenate([np.asarray(one[name], np.float64) for one in finished]) for name in squares.risks]
    repeats = np.stack(by_risk, axis=1)
    return Correction(repeats.mean(axis=0) - np.asarray(squares.predicted(parameters | nearest)), repeats, problem)
