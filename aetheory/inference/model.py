"""The curve that a fit compares with observations, and the coordinates in which it is fitted."""

import math
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.linear.parameters import LimitParameters
from aetheory.linear.theories import regimes

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
        options: the limit.
    """

    free: tuple[str, ...]
    risks: tuple[str, ...]
    options: regimes.LimitOptions

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
        parameters = LimitParameters(values["init_scale"], values["latent_ratio"], values["sample_ratio"], input_dim)
        flow_times = values["time_unit"] * times
        if regimes.has_closed_form(self.options.faces):
            found = regimes.closed_form(parameters, flow_times, None, self.options)
            succeeded = jnp.asarray(True)
        else:
            tolerance = jnp.asarray(1e-7, times.dtype)
            found, stats = regimes.limit_flow(
                parameters, flow_times, None, tolerance, self.options, _MAX_FLOW_STEPS, diffrax.ForwardMode()
            )
            succeeded = stats.succeeded
        stacked = jnp.stack([getattr(found, risk) for risk in self.risks]) + values["noise_floor"]
        usable = succeeded & jnp.all(jnp.isfinite(stacked))
        return jnp.where(usable, stacked, _UNREACHED * parameters.initial_risk())
