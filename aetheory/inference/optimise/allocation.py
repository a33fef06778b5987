"""How to share units among sources.

Source: the limit of each source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float, Int

from aetheory.core.checks import as_float, check_real, common_float_dtype, fail
from aetheory.two_layer.activations import ActivationLike, as_activation
from aetheory.two_layer.limits.gaussian import water_filling

_FIRST_STEPS = 16
_NEAR_KINK = 0.03


class Allocation(eqx.Module):
    """Units of each source, and what they achieve together.

    Arguments:
        units: n_i, shape (num_sources,).
        risk: Σ_i w_i d_i R_i(n_i), the weighted squared error of all sources.
        multipliers: −∂/∂n_i of it, shape (num_sources,): equal at the optimum, but for sources at a kink,
            n_i = d_i, where this is the one from the left or the right.
        converged: whether the minimiser did.
        num_evaluations: evaluations of the risk with its gradient.
    """

    units: Float[Array, " sources"]
    risk: Float[Array, ""]
    multipliers: Float[Array, " sources"]
    converged: Bool[Array, ""]
    num_evaluations: Int[Array, ""]


def allocation(
    standard_deviations: Sequence[Any],
    num_units: Any,
    activation: ActivationLike = "sign",
    *,
    weights: Any = None,
    max_steps: int = 64,
) -> Allocation:
    """Share `num_units` hidden units among independent Gaussian sources so that the weighted squared error is least.

    Every source has its own two-layer autoencoder, at the limit that `ae.limits.water_filling` gives for its
    covariance. Minimised by BFGS in the logarithms of the shares, with sources that end beside
    the kink n_i = d_i put there.

    Arguments:
        standard_deviations: for each source, its deviations D_j, shape (d_i,); the d_i may differ.
        num_units: n, the units of all sources together; positive.
        activation: σ, odd, with a linear part.
        weights: w_i, what an error of each source costs, positive; 1 when omitted.
        max_steps: of the minimiser.

    Raises:
        ValueError: an argument is out of its range.

    Source: arXiv:2212.13468.
    """
    if len(standard_deviations) < 2:
        raise fail("standard_deviations", "those of at least two sources", standard_deviations)
    check_real("num_units", num_units, "finite and positive", minimum=0.0, strict=True)
    resolved = as_activation(activation)
    deviations = [as_float(jnp.asarray(one)) for one in standard_deviations]
    dtype = common_float_dtype(*deviations)
    costs = jnp.ones(len(deviations), dtype) if weights is None else as_float(jnp.asarray(weights)).astype(dtype)
    if costs.shape != (len(deviations),):
        raise fail("weights", f"of shape ({len(deviations)},), one for each source", weights)
    check_real("weights", costs, "finite and positive", minimum=0.0, strict=True)
    total = as_float(num_units).astype(dtype)

    def risk(units: Float[Array, " sources"]) -> Float[Array, ""]:
        errors = [
            cost * one.size * water_filling(one, unit, resolved).risk
            for cost, one, unit in zip(costs, deviations, units, strict=True)
        ]
        return jnp.sum(jnp.stack(errors))

    # of order one, so that tolerances mean the same whatever the sources
    scale = sum(cost * jnp.sum(one**2) for cost, one in zip(costs, deviations, strict=True))
    sizes = jnp.asarray([float(one.size) for one in deviations], dtype)
    tolerance = 1e-5 if dtype == jnp.float64 else 1e-3
    solver: Any = optimistix.BFGS(rtol=tolerance, atol=tolerance)

    def shared(logits: Float[Array, " sources"], full: Bool[Array, " sources"]) -> Float[Array, " sources"]:
        left = jnp.maximum(total - jnp.sum(jnp.where(full, sizes, 0)), 0)
        return jnp.where(full, sizes, left * jax.nn.softmax(jnp.where(full, -jnp.inf, logits)))

    def descend(logits: Float[Array, " sources"], full: Bool[Array, " sources"], max_steps: int) -> Any:
        return optimistix.minimise(
            lambda free, held: risk(shared(free, held)) / scale, solver, logits, full, max_steps=max_steps, throw=False
        )

    # A source with as many units as directions is at a kink, where quasi-Newton steps stall: those that come near
    # one are put there, and the others are shared anew.
    none = jnp.zeros(len(deviations), bool)
    first = descend(jnp.log(sizes), none, _FIRST_STEPS)
    units = shared(first.value, none)
    full = jnp.abs(units / sizes - 1) < _NEAR_KINK
    full = full & (jnp.sum(~full) > 1) & (jnp.sum(jnp.where(full, sizes, 0)) < total)
    second = descend(first.value, full, max_steps)
    better = shared(second.value, full)
    units = jnp.where(risk(better) <= risk(units), better, units)
    value, slopes = jax.value_and_grad(risk)(units)
    converged = jnp.asarray(second.result == optimistix.RESULTS.successful)
    count = jnp.asarray(first.stats["num_steps"] + second.stats["num_steps"]) + 5
    return Allocation(units, value, -slopes, converged, count)
