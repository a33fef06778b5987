"""Hermite coefficients by quadrature, and power series in a correlation."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ORDER, ORDER_WITH_BREAKPOINTS = 63, 128
PANEL_WIDTH = 0.5

_RANGE = 13.0
"""Largest |x| of the quadrature; beyond it the Gaussian density times a polynomial of degree 128 is below rounding."""
_NODES_PER_PANEL = 16


@dataclass(frozen=True)
class PowerSeries:
    """Power series Σ coefficients[k] x^k, in x² where it is even or odd; equal for equal coefficients."""

    coefficients: tuple[float, ...]

    def __call__(self, points: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Value of the series at every entry."""
        if not any(self.coefficients[::2]):
            return points * _horner(self.coefficients[1::2], points**2)
        if not any(self.coefficients[1::2]):
            return _horner(self.coefficients[::2], points**2)
        return _horner(self.coefficients, points)


def hermite_coefficients(
    function: Callable[[Any], Any], breakpoints: tuple[float, ...], order: int, panel_width: float = PANEL_WIDTH
) -> tuple[tuple[float, ...], float]:
    """c_0, …, c_order, and f(1) = E σ(g)²; NaN where the function is not finite."""
    nodes, weights = gaussian_quadrature(breakpoints, panel_width)
    # computed now also inside `jit`: an activation is a constant of the program
    with jax.ensure_compile_time_eval():
        values = np.asarray(function(jnp.asarray(nodes, jnp.result_type(float))), np.float64)
    if values.shape != nodes.shape:
        requirement = f"return an array of the shape of its input, {nodes.shape}"
        raise ValueError(f"Argument `function` must {requirement}, but got {values.shape}.")
    previous, current = np.zeros_like(nodes), np.ones_like(nodes)
    coefficients = []
    if not np.isfinite(values).all():
        return (math.nan,) * (order + 1), math.nan
    for degree in range(order + 1):
        coefficients.append(float(np.sum(weights * values * current)))
        # the normalised recurrence √(ℓ+1) h_{ℓ+1} = x h_ℓ − √ℓ h_{ℓ−1}
        following = (nodes * current - math.sqrt(degree) * previous) / math.sqrt(degree + 1)
        previous, current = current, following
    return tuple(coefficients), float(np.sum(weights * values**2))


def gaussian_quadrature(
    breakpoints: tuple[float, ...], panel_width: float
) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Nodes and weights for ∫ · φ(x) dx, in panels whose edges include the breakpoints."""
    cuts = sorted({-_RANGE, _RANGE, *(float(point) for point in breakpoints if abs(point) < _RANGE)})
    pieces = [
        np.linspace(left, right, 1 + math.ceil((right - left) / panel_width))
        for left, right in itertools.pairwise(cuts)
    ]
    edges = np.unique(np.concatenate(pieces))
    unit_nodes, unit_weights = np.polynomial.legendre.leggauss(_NODES_PER_PANEL)
    halves = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + halves * (1 + unit_nodes)).ravel()
    return nodes, (halves * unit_weights).ravel() * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)


def _horner(coefficients: Sequence[float], points: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    total = jnp.zeros_like(points)
    for value in reversed(coefficients):
        total = total * points + value
    return total
