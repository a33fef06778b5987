"""The curve that a fit compares with observations, and the coordinates in which it is fitted."""

import math
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import keyword_only
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory

RECORD = ("time_unit", "noise_floor")
"""What a record adds to the numbers of its problem: flow time for one recorded unit of time; a constant on top."""

LINEAR = frozenset({"noise_floor"})
"""The parameters that may be 0 and are fitted as they are; the others by their logarithms."""

_MAX_FLOW_STEPS = 512
"""A flow that needs more lies far from any curve that was observed."""

_UNREACHED = 1e6
"""The value that stands for a flow that did not finish."""


def as_coordinate(name: str, value: float) -> float:
    """The coordinate of a parameter's value: its logarithm, but for those in `LINEAR`."""
    return float(value) if name in LINEAR else math.log(value)


def from_coordinate(name: str, coordinate: float) -> float:
    """The inverse."""
    return float(coordinate) if name in LINEAR else math.exp(coordinate)


class Bounds(NamedTuple):
    """The ends of the free parameters' ranges, in the coordinates of the fit: logarithms but for those in `LINEAR`."""

    lower: Float[Array, " free"]
    upper: Float[Array, " free"]

    def inside(self, unconstrained: Float[Array, " free"]) -> Float[Array, " free"]:
        """The coordinates that an unconstrained vector stands for, by the logistic function."""
        return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(unconstrained)

    def unconstrained(self, coordinates: Float[Array, " free"]) -> Float[Array, " free"]:
        """The inverse, kept away from the ends, where the logistic function is flat."""
        share = (coordinates - self.lower) / (self.upper - self.lower)
        return jax.scipy.special.logit(jnp.clip(share, 1e-3, 1 - 1e-3))


class Model(NamedTuple):
    """A theory of a problem whose numbers are partly free.

    Arguments:
        free: the names of the free parameters: the problem's `free_numbers` and `RECORD`, in this order.
        names: which values of the curve are compared.
        theory: the limit.
        problem: the problem; its free numbers are replaced.
        finite_size: with the limit's first correction in 1/p.
    """

    free: tuple[str, ...]
    names: tuple[str, ...]
    theory: AbstractTheory
    problem: AbstractProblem
    finite_size: bool

    def curve(
        self, coordinates: Float[Array, " free"], fixed: dict[str, Float[Array, ""]], times: Float[Array, " times"]
    ) -> Float[Array, "names times"]:
        """The values at the recorded times; differentiable in forward mode.

        Arguments:
            coordinates: logarithms of the free parameters, those in `LINEAR` as they are.
            fixed: the values of the other parameters.
            times: in the recorded unit.
        """
        values = dict(fixed)
        for name, coordinate in zip(self.free, coordinates, strict=True):
            values[name] = coordinate if name in LINEAR else jnp.exp(coordinate)
        numbers = self.problem.free_numbers
        problem = eqx.tree_at(
            lambda one: [getattr(one, name) for name in numbers], self.problem, [values[name] for name in numbers]
        )
        wanted = {
            "finite_size": self.finite_size,
            "rtol": 1e-7,
            "max_steps": _MAX_FLOW_STEPS,
            "adjoint": diffrax.ForwardMode(),
            "throw": False,
        }
        known = keyword_only(self.theory.curve)
        options = {name: value for name, value in wanted.items() if name in known}
        found = self.theory.curve(problem, values["time_unit"] * times, **options)
        stacked = jnp.stack([found.values[name] for name in self.names]) + values["noise_floor"]
        succeeded = jnp.asarray(True) if found.stats is None else found.stats.succeeded
        return jnp.where(succeeded & jnp.all(jnp.isfinite(stacked)), stacked, _UNREACHED)
