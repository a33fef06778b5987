"""The curve that a fit compares with observations, and the coordinates in which it is fitted."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.linear.problem import LinearRatios
from aetheory.linear.theories import THEORIES
from aetheory.linear.theories.theory import LinearTheory, Solver, evaluate

PARAMETERS = ("init_scale", "latent_ratio", "sample_ratio", "time_unit", "noise_floor")
"""x = pσ², y = H/p, z = p/N; flow time for one recorded unit of time; a constant added to both risks."""

LINEAR = frozenset({"noise_floor"})
"""The parameters that may be 0 and are fitted as they are; the others by their logarithms."""

_MAX_FLOW_STEPS = 512
"""A flow that needs more lies far from any curve that was observed."""

_UNREACHED = 1e3
"""The risk, in units of the initial one, that stands for a flow that did not finish."""


def as_coordinate(name: str, value: float) -> float:
    """The coordinate of a parameter's value: its logarithm, but for those in `LINEAR`."""
    return float(value) if name in LINEAR else math.log(value)


def from_coordinate(name: str, coordinate: float) -> float:
    """The inverse."""
    return float(coordinate) if name in LINEAR else math.exp(coordinate)


def limit_of(faces: Sequence[str]) -> LinearTheory:
    """The limit where these faces meet."""
    theory = THEORIES[" ∩ ".join(faces)]
    assert isinstance(theory, LinearTheory)  # candidates are checked
    return theory


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
    """A regime whose parameters are partly free.

    Arguments:
        free: the names of the free parameters, in the order of `PARAMETERS`.
        risks: which risks are compared.
        theory: the limit.
        finite_size: with its first correction in 1/p.
    """

    free: tuple[str, ...]
    risks: tuple[str, ...]
    theory: LinearTheory
    finite_size: bool

    def curve(
        self,
        coordinates: Float[Array, " free"],
        fixed: dict[str, Float[Array, ""]],
        times: Float[Array, " times"],
        input_dim: Float[Array, ""],
    ) -> Float[Array, "risks times"]:
        """The risks at the recorded times; differentiable in forward mode.

        Arguments:
            coordinates: logarithms of the free parameters, those in `LINEAR` as they are.
            fixed: the values of the other parameters.
            times: in the recorded unit.
            input_dim: p, for a correction in 1/p; infinite without one.
        """
        values = dict(fixed)
        for name, coordinate in zip(self.free, coordinates, strict=True):
            values[name] = coordinate if name in LINEAR else jnp.exp(coordinate)
        names = ("init_scale", "latent_ratio", "sample_ratio")
        x, y, z = (values[name] for name in names)
        parameters = LinearRatios(x, y, z, input_dim)
        flow_times = values["time_unit"] * times
        tolerance = jnp.asarray(1e-7, times.dtype)
        solver = None if self.theory.is_explicit else Solver(tolerance, _MAX_FLOW_STEPS, diffrax.ForwardMode())
        size = self.theory.num_nodes
        found, stats = evaluate(parameters, self.theory, flow_times, None, size, self.finite_size, solver)
        succeeded = jnp.asarray(True) if stats is None else stats.succeeded
        stacked = jnp.stack([found[risk] for risk in self.risks]) + values["noise_floor"]
        usable = succeeded & jnp.all(jnp.isfinite(stacked))
        return jnp.where(usable, stacked, _UNREACHED * parameters.initial_risk())
