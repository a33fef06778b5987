"""A curve with the bracket around it, of a limit that can only be approximated."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.curve import Values


class Estimate(NamedTuple):
    """Risks and the bracket around them, `None` where they are exact, each of shape (*batch, times)."""

    values: Values
    lower: Values | None = None
    upper: Values | None = None


def combine(first: Estimate, second: Estimate) -> Estimate:
    """At every time the mean of two estimates, weighted by the inverse squares of their half-widths.

    Where they are further apart than four half-widths of the second, the rest is counted as an error of the first: a
    truncation can be far off within a narrow bracket, where the second's is two standard errors. Derivatives are the
    same weighted mean of theirs, with the weights held fixed.
    """

    def one(a: Any, b: Any, width_a: Any, width_b: Any) -> tuple[Any, Any]:
        apart = jax.lax.stop_gradient(jnp.maximum(jnp.abs(a - b) - width_a - 4 * width_b, 0))
        square_a, square_b = (width_a + apart) ** 2, width_b**2 + float(np.finfo(width_b.dtype).tiny)
        total = square_a + square_b
        return (a * square_b + b * square_a) / total, jnp.sqrt(square_a * square_b / total)

    found = {
        name: one(first.values[name], second.values[name], _half_width(first, name), _half_width(second, name))
        for name in first.values
    }
    return Estimate(
        Values(**{name: value for name, (value, _) in found.items()}),
        Values(**{name: value - width for name, (value, width) in found.items()}),
        Values(**{name: value + width for name, (value, width) in found.items()}),
    )


def _half_width(estimate: Estimate, name: str) -> Float[Array, "*batch times"]:
    assert estimate.lower is not None
    assert estimate.upper is not None
    width: Array = jax.lax.stop_gradient(estimate.upper[name] - estimate.lower[name]) / 2
    return width


def half_width(estimate: Estimate, initial_risk: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The largest half-width of the bracket over both risks and all times, as a share of the initial risk."""
    widest = [jnp.max(_half_width(estimate, name), axis=-1) for name in estimate.values]
    return jnp.maximum(*widest) / initial_risk
