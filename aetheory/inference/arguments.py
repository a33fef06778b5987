"""What `fit` is asked: candidates, parameters and bounds, checked and completed by their defaults."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from aetheory.core.checks import check_real, fail, static_integer
from aetheory.inference.finite_size import has_formula
from aetheory.inference.model import LINEAR, PARAMETERS
from aetheory.inference.observations import Observations
from aetheory.linear.faces import FACES, check_faces

CANDIDATES = ("large-data", "mean-field", "narrow-latent", "small-data")
"""The regimes that are tried when none is named."""

_RATIOS = ("init_scale", "latent_ratio", "sample_ratio")
_DEFAULTS = {"time_unit": 1.0, "noise_floor": 0.0}
_BOUNDS = {
    "init_scale": (1e-3, 100.0),
    "latent_ratio": (1e-3, 100.0),
    "sample_ratio": (1e-2, 1e3),
}
_FLOW_TIMES = (1e-3, 1e3)
"""Between which the last recorded time lies in units of the flow, whatever the unit of the record."""


def check_candidates(model: str | Sequence[Any] | None) -> tuple[tuple[str, ...], ...]:
    """The faces of every candidate, in their order; those of `CANDIDATES` when none is named."""
    named = CANDIDATES if model is None else (model,) if isinstance(model, str) else tuple(model)
    found = []
    for one in named:
        faces = (one,) if isinstance(one, str) else tuple(one)
        known = bool(faces) and all(face in FACES for face in faces)
        if known:
            check_faces(faces)
        if not known or faces == ("free",):
            allowed = ", ".join(map(repr, CANDIDATES))
            raise fail("model", f"one or several of {allowed}, or tuples of names for edges", model)
        found.append(tuple(face for face in FACES if face in faces))
    if not found:
        raise fail("model", "at least one regime", model)
    return tuple(dict.fromkeys(found))


def check_finite_size(
    candidates: Sequence[tuple[str, ...]],
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
        needing = [" ∩ ".join(faces) for faces in candidates if not has_formula(faces)]
        if key is None and needing:
            raise fail("key", f"a JAX random key: with `input_dim`, {needing[0]} is corrected by simulations", key)
    if num_simulations is None:
        return max(64, 4 * observations.num_repeats)
    return static_integer("num_simulations", num_simulations)


def split_parameters(
    free: Sequence[str] | None, fixed: Mapping[str, float | int] | None
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The free parameters in their order, and the values of the others."""
    given = dict(fixed or {})
    wanted = [name for name in _RATIOS if name not in given] if free is None else list(free)
    for argument, named in (("free", wanted), ("fixed", list(given))):
        if isinstance(free, str) or any(name not in PARAMETERS for name in named):
            raise fail(argument, f"made of {', '.join(map(repr, PARAMETERS))}", free if argument == "free" else fixed)
    if both := sorted(set(wanted) & set(given)):
        raise fail("fixed", "without the parameters that are free", both)
    if not wanted:
        raise fail("free", "at least one parameter", free)
    values = {}
    for name in PARAMETERS:
        if name in wanted:
            continue
        if name not in given and name not in _DEFAULTS:
            raise ValueError(f"Parameter `{name}` must be either free or given in `fixed`.")
        values[name] = given.get(name, _DEFAULTS.get(name, math.nan))
        check_real(name, values[name], "finite and nonnegative", minimum=0.0, strict=name == "time_unit")
    return tuple(name for name in PARAMETERS if name in wanted), {name: float(value) for name, value in values.items()}


def check_bounds(
    names: tuple[str, ...],
    bounds: Mapping[str, tuple[float | int, float | int]] | None,
    start: Mapping[str, float | int] | None,
    observations: Observations,
) -> dict[str, tuple[float, float]]:
    """Both ends of every free parameter's range."""
    latest = float(observations.times.max()) or 1.0
    defaults = {
        **_BOUNDS,
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
