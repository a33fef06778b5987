"""What `fit` is asked: candidates, parameters and bounds, checked and completed by their defaults."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from aetheory.core.checks import check_real, fail, static_integer
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.finite_size import has_formula
from aetheory.inference.model import LINEAR, RECORD
from aetheory.inference.observations import Observations
from aetheory.linear.problem import LinearRatios

CANDIDATES = ("large-data", "mean-field", "narrow-latent", "small-data")
"""The regimes that are tried when none is named."""

_DEFAULTS = {"time_unit": 1.0, "noise_floor": 0.0}
_BOUNDS = {
    "init_scale": (1e-3, 100.0),
    "latent_ratio": (1e-3, 100.0),
    "sample_ratio": (1e-2, 1e3),
}
_FLOW_TIMES = (1e-3, 1e3)
"""Between which the last recorded time lies in units of the flow, whatever the unit of the record."""


def check_candidates(
    problem: AbstractProblem, theories: str | Sequence[Any] | None, names: tuple[str, ...]
) -> tuple[AbstractTheory, ...]:
    """Every candidate in its order; the four explicit or fast regimes of linear problems when none is named."""
    default = CANDIDATES if isinstance(problem, LinearRatios) else tuple(problem.theories)
    listed = default if theories is None else theories
    listed = (listed,) if isinstance(listed, str | AbstractTheory) else tuple(listed)
    found = tuple(dict.fromkeys(problem.find_theory(one) for one in listed))
    if not found or any(theory.is_approximate for theory in found):
        raise fail("theories", f"one or several of {', '.join(map(repr, default))}, or tuples for edges", theories)
    if isinstance(problem, LinearRatios) and not set(names) <= {"train", "population"}:
        raise fail("curve", "observations of train and population risk for a linear problem", names)
    return found


def check_finite_size(
    problem: AbstractProblem,
    candidates: Sequence[AbstractTheory],
    observations: Observations,
    input_dim: Any,
    key: PRNGKeyArray | None,
    num_simulations: Any,
) -> int:
    """The number of simulations, once p, the key and that number are known to fit together."""
    if input_dim is None:
        for name, value in (("key", key), ("num_simulations", num_simulations)):
            if value is not None:
                raise ValueError(f"Argument `{name}` must be None without `input_dim`, the size of the simulations.")
    else:
        static_integer("input_dim", input_dim)
        if not isinstance(problem, LinearRatios):
            raise fail("input_dim", "None for a problem that is not linear", input_dim)
        needing = [theory.name for theory in candidates if not has_formula(theory)]
        if key is None and needing:
            raise fail("key", f"a JAX random key: with `input_dim`, {needing[0]} is corrected by simulations", key)
    if num_simulations is None:
        return max(64, 4 * observations.num_repeats)
    return static_integer("num_simulations", num_simulations)


def split_parameters(
    problem: AbstractProblem, free: Sequence[str] | None, fixed: Mapping[str, float | int] | None
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The free parameters in their order, and the values of the others."""
    given, parameters = dict(fixed or {}), (*problem.free_numbers, *RECORD)
    wanted = [name for name in problem.free_numbers if name not in given] if free is None else list(free)
    for argument, named in (("free", wanted), ("fixed", list(given))):
        if isinstance(free, str) or any(name not in parameters for name in named):
            raise fail(argument, f"made of {', '.join(map(repr, parameters))}", free if argument == "free" else fixed)
    if both := sorted(set(wanted) & set(given)):
        raise fail("fixed", "without the parameters that are free", both)
    if not wanted:
        raise fail("free", "at least one parameter", free)
    values = {}
    for name in parameters:
        if name in wanted:
            continue
        if name not in given and name not in _DEFAULTS:
            raise ValueError(f"Parameter `{name}` must be either free or given in `fixed`.")
        values[name] = given.get(name, _DEFAULTS.get(name, math.nan))
        check_real(name, values[name], "finite and nonnegative", minimum=0.0, strict=name == "time_unit")
    return tuple(name for name in parameters if name in wanted), {name: float(value) for name, value in values.items()}


def check_bounds(
    problem: AbstractProblem,
    names: tuple[str, ...],
    bounds: Mapping[str, tuple[float | int, float | int]] | None,
    start: Mapping[str, float | int] | None,
    observations: Observations,
) -> dict[str, tuple[float, float]]:
    """Both ends of every free parameter's range."""
    latest = float(observations.times.max()) or 1.0
    own = (
        {}
        if isinstance(problem, LinearRatios)
        else {
            name: (float(getattr(problem, name)) / 100, float(getattr(problem, name)) * 100)
            for name in problem.free_numbers
        }
    )
    defaults = {
        **_BOUNDS,
        **own,
        "time_unit": (_FLOW_TIMES[0] / latest, _FLOW_TIMES[1] / latest),
        "noise_floor": (0.0, max(float(observations.values.min()), 1e-12)),
    }
    given = dict(bounds or {})
    for argument, named in (("bounds", given), ("start", dict(start or {}))):
        if unknown := sorted(set(named) - set(names)):
            raise fail(argument, f"given for free parameters only ({', '.join(names)})", unknown)
    limits = {}
    for name in names:
        ends = given.get(name, defaults[name])
        smallest = 0.0 if name in LINEAR else math.nextafter(0.0, 1.0)
        if len(ends) != 2 or not smallest <= ends[0] < ends[1] < math.inf:
            wanted = "nonnegative" if name in LINEAR else "positive"
            raise fail("bounds", f"two finite, {wanted} numbers in increasing order for `{name}`", ends)
        limits[name] = (float(ends[0]), float(ends[1]))
        if start is not None and name in start and not ends[0] <= start[name] <= ends[1]:
            raise fail("start", f"within the bounds {ends} for `{name}`", start[name])
    return limits
