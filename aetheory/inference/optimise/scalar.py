"""The least value of a function of one positive number, by its derivative."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float, Int

from aetheory.core.checks import as_float, check_real, common_float_dtype, fail, is_concrete, static_integer

_TOLERANCE = 1e-3
"""Of a logarithm: where the derivative is that close to its zero, the value is off by a millionth of its curvature."""


class Minimum(eqx.Module):
    """Where a function is least, and its value there.

    Arguments:
        argument: the minimiser.
        value: the function's value there.
        at_bound: whether it is an end of the range, so that the true minimiser may lie beyond.
        num_evaluations: evaluations of the function or of its derivative.
    """

    argument: Float[Array, "*batch"]
    value: Float[Array, "*batch"]
    at_bound: Bool[Array, "*batch"]
    num_evaluations: Int[Array, "*batch"]


def minimise(
    objective: Callable[[Float[Array, ""]], Float[Array, ""]],
    bounds: tuple[Any, Any],
    *,
    num_scanned: int = 7,
    rtol: float = _TOLERANCE,
) -> Minimum:
    """The least value over an interval of positive numbers: the best of a few points, then the zero of the derivative.

    The objective is evaluated at `num_scanned` points, evenly spaced in the logarithm; beside the best of them the
    derivative (forward mode) is bisected down to a relative accuracy of `rtol` in the argument. Works under `jit`,
    `vmap` and, where the minimum lies inside, differentiates by the implicit function theorem with respect to what
    the objective closes over.

    Arguments:
        objective: a function of one number, with a derivative in forward mode; a kink at the minimum is no obstacle.
        bounds: both ends, positive and increasing.
        num_scanned: at least 3; enough to tell the lowest valley from the others.
        rtol: relative accuracy of the minimiser.

    Raises:
        ValueError: an argument is out of its range.
    """
    num_scanned = static_integer("num_scanned", num_scanned)
    if num_scanned < 3:
        raise fail("num_scanned", "at least 3", num_scanned)
    check_real("rtol", rtol, "finite and positive", minimum=0.0, strict=True)
    lower, upper = bounds
    for end in (lower, upper):
        check_real("bounds", end, "two finite, positive numbers in increasing order", minimum=0.0, strict=True)
    if is_concrete(lower) and is_concrete(upper) and not lower < upper:
        raise fail("bounds", "two finite, positive numbers in increasing order", bounds)
    dtype = common_float_dtype(lower, upper)
    start, end = (jnp.log(as_float(bound).astype(dtype)) for bound in (lower, upper))
    points = start + (end - start) * jnp.arange(num_scanned, dtype=dtype) / (num_scanned - 1)

    def of_logarithm(point: Float[Array, ""]) -> Float[Array, ""]:
        return objective(jnp.exp(point))

    # one after the other: a batch of flows would wait for its stiffest
    scanned = jax.lax.map(of_logarithm, points)
    best = jnp.argmin(jnp.where(jnp.isfinite(scanned), scanned, jnp.inf))
    # beside the best point, on the side to which the function falls
    falls = _slope(of_logarithm, points[best]) < 0
    left = points[jnp.clip(jnp.where(falls, best, best - 1), 0, num_scanned - 1)]
    right = points[jnp.clip(jnp.where(falls, best + 1, best), 0, num_scanned - 1)]
    at_bound = left == right
    span = jnp.where(at_bound, 1.0, right - left).astype(dtype)
    # where the best is an end of the range there is nothing to bisect: a line that vanishes there takes its place
    bisection: Any = optimistix.Bisection
    found: Any = optimistix.root_find(
        lambda point, _: jnp.where(at_bound, point - left, _slope(of_logarithm, point)),
        bisection(rtol=0.0, atol=rtol, expand_if_necessary=False),
        left + span / 2,
        options={"lower": jnp.where(at_bound, left - 1, left), "upper": jnp.where(at_bound, left + 1, right)},
        max_steps=64,
        throw=False,
    )
    argument = jnp.where(at_bound, left, found.value)
    steps = jnp.where(at_bound, 0, found.stats["num_steps"])
    return Minimum(jnp.exp(argument), of_logarithm(argument), at_bound, num_scanned + 4 + steps)


def _slope(function: Callable[[Float[Array, ""]], Float[Array, ""]], point: Float[Array, ""]) -> Float[Array, ""]:
    slope: Float[Array, ""] = jax.jvp(function, (point,), (jnp.ones_like(point),))[1]
    return slope
