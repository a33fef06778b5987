"""Optimal design by gradient: initial scale, stopping time, shares of hidden units, threshold.

`minimise` takes any other objective of one number, of any problem whose theory is differentiable.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aetheory.core.checks import as_float, check_real, common_float_dtype, fail, is_concrete
from aetheory.group_sparse.guarantees import ThresholdInterval
from aetheory.inference.fit_problem import forward_curve
from aetheory.linear.problem import LinearRatios
from aetheory.two_layer.activations import Activation, ActivationLike, as_activation
from aetheory.two_layer.limits.gaussian import water_filling

_NUM_SCANNED = 7
"""Points that are tried before the derivative is bisected between two of them."""

_NUM_HALVINGS = 16
"""Bisections, from three decades to five digits; the last step, by the secant, doubles the digits."""

Scalar = Float[Array, ""]
Vector = Float[Array, "*shape"]


class Minimum(eqx.Module):
    """Minimum of a function of one number.

    Arguments:
        argument: the number at which the function is least.
        value: the function's value there.
        at_bound: whether that number is an end of the range, so that the true minimum may lie outside.
    """

    argument: Float[Array, "*batch"]
    value: Float[Array, "*batch"]
    at_bound: Bool[Array, "*batch"]


def minimise(objective: Callable[[Scalar], Scalar], bounds: tuple[Any, Any]) -> Minimum:
    """Minimum over an interval of positive numbers, by the best of seven points and a zero of the derivative.

    The points are evenly spaced in the logarithm; beside the best of them the derivative (forward mode) is bisected.
    Works under `jit`, `vmap` and, where the minimum lies inside, differentiates, as that zero does, with respect to
    what the objective closes over.

    Arguments:
        objective: a function of one number, with a derivative in forward mode; a kink at the minimum is no obstacle.
        bounds: both ends, positive and increasing.

    Raises:
        ValueError: bounds that are not.
    """
    requirement = "two finite, positive numbers in increasing order"
    for end in bounds:
        check_real("bounds", end, requirement, minimum=0.0, strict=True)
    if all(map(is_concrete, bounds)) and not bounds[0] < bounds[1]:
        raise fail("bounds", requirement, bounds)
    first, last = (jnp.log(as_float(end).astype(common_float_dtype(*bounds))) for end in bounds)
    points = jnp.linspace(first, last, _NUM_SCANNED)

    def slope(point: Scalar) -> Scalar:
        found: Scalar = jax.jvp(lambda one: objective(jnp.exp(one)), (point,), (jnp.ones_like(point),))[1]
        return found

    # one after the other: a batch of flows would wait for its stiffest
    scanned = jax.lax.map(lambda point: objective(jnp.exp(point)), points)
    best = jnp.argmin(jnp.where(jnp.isfinite(scanned), scanned, jnp.inf))
    beside = jnp.clip(jnp.where(slope(points[best]) < 0, best + 1, best - 1), 0, _NUM_SCANNED - 1)
    ends = points[jnp.minimum(best, beside)], points[jnp.maximum(best, beside)]
    low, high = jax.lax.stop_gradient(_halved(lambda point: slope(point) > 0, *ends, _NUM_HALVINGS))
    below, rise = slope(low), slope(high) - slope(low)
    argument = jnp.exp(low - below * (high - low) / jnp.where(rise == 0, 1, rise))
    return Minimum(argument, objective(argument), best == beside)


def _halved(
    beyond: Callable[[Vector], Bool[Array, "*shape"]], lower: Vector, upper: Vector, count: int
) -> tuple[Vector, Vector]:
    """Interval around the number at which a condition becomes true, by bisection of a given interval."""

    def halve(_: Any, ends: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        middle = (ends[0] + ends[1]) / 2
        above = beyond(middle)
        return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

    found: tuple[Vector, Vector] = jax.lax.fori_loop(0, count, halve, (lower, upper))
    return found


def initial_scale(
    time: Any, latent_ratio: Any, sample_ratio: Any, regime: Any, *, bounds: tuple[Any, Any] = (1e-2, 10.0)
) -> Minimum:
    """Initial scale x = pσ² with the least population risk of a linear autoencoder at a given time.

    Arguments:
        time: flow time, the budget; positive.
        latent_ratio: y = H/p.
        sample_ratio: z = p/N.
        regime: as for `predict`.
        bounds: the range of x.

    Raises:
        ValueError: an argument is out of its range.

    Source: the curves: arXiv:2606.05335.
    """
    check_real("time", time, "finite and positive", minimum=0.0, strict=True)
    return minimise(lambda scale: _population(LinearRatios(scale, latent_ratio, sample_ratio), time, regime), bounds)


def stopping_time(
    init_scale: Any, latent_ratio: Any, sample_ratio: Any, regime: Any, *, bounds: tuple[Any, Any] = (1e-2, 10.0)
) -> Minimum:
    """Flow time with the least population risk; `at_bound` where longer training never increases the risk.

    Arguments:
        init_scale: x = pσ².
        latent_ratio: y = H/p.
        sample_ratio: z = p/N.
        regime: as for `predict`.
        bounds: the range of times.

    Raises:
        ValueError: an argument is out of its range.

    Source: the curves: arXiv:2606.05335.
    """
    ratios = LinearRatios(init_scale, latent_ratio, sample_ratio)
    return minimise(lambda time: _population(ratios, time, regime), bounds)


def _population(ratios: LinearRatios, time: Any, regime: Any) -> Scalar:
    times = as_float(time).astype(common_float_dtype(time, ratios.init_scale))[None]
    risk: Scalar = forward_curve(ratios.find_theory(regime), ratios, times).population[-1]
    return risk


class Allocation(eqx.Module):
    """Hidden units of each source, and the risk of all sources.

    Arguments:
        units: n_i, shape (num_sources,).
        risk: Σ_i d_i R_i(n_i), the squared error of all sources.
        multiplier: −∂risk/∂n, the decrease of the risk for one more unit.
    """

    units: Float[Array, " sources"]
    risk: Scalar
    multiplier: Scalar


def allocation(standard_deviations: Sequence[Any], num_units: Any, activation: ActivationLike = "sign") -> Allocation:
    """Share hidden units among independent Gaussian sources so that the squared error of all is least.

    Every source has its own two-layer autoencoder, at the limit of `ae.limits.water_filling`, which is convex in n_i:
    each source gets units until one more decreases its risk by less than a multiplier that all share.

    Arguments:
        standard_deviations: for each source, its deviations D_j, shape (d_i,); the d_i may differ. An error that costs
            w_i times as much is that of deviations √w_i D_j.
        num_units: n, the units of all sources together; positive.
        activation: σ, odd, with a linear part.

    Raises:
        ValueError: an argument is out of its range.

    Source: the limit of each source: arXiv:2212.13468.
    """
    if len(standard_deviations) < 2:
        raise fail("standard_deviations", "those of at least two sources", standard_deviations)
    check_real("num_units", num_units, "finite and positive", minimum=0.0, strict=True)
    dtype = common_float_dtype(*standard_deviations, num_units)
    deviations = tuple(as_float(one).astype(dtype) for one in standard_deviations)
    return _allocate(deviations, as_float(num_units).astype(dtype), as_activation(activation))


@eqx.filter_jit
def _allocate(deviations: tuple[Float[Array, " _"], ...], total: Scalar, activation: Activation) -> Allocation:
    count, none = int(np.finfo(total.dtype).nmant) + 8, jnp.zeros(len(deviations), total.dtype)

    def risk(units: Float[Array, " sources"]) -> Scalar:
        each = zip(deviations, units, strict=True)
        return jnp.sum(jnp.stack([one.size * water_filling(one, unit, activation).risk for one, unit in each]))

    def taken(price: Scalar) -> Float[Array, " sources"]:
        # no share of an irrational number falls on a whole number of units, where the risk has a kink
        return _halved(lambda units: -jax.grad(risk)(units) < price, none, none + total * (np.pi / 3), count)[1]

    highest = jnp.max(jnp.stack([jnp.max(one) ** 2 for one in deviations]))
    low, high = _halved(lambda price: jnp.sum(taken(price)) < total, jnp.zeros_like(total), highest, count)
    # sources with the same risk per unit over an interval of units share what the others leave
    many, few = taken(low), taken(high)
    units = few + (many - few) * (total - jnp.sum(few)) / jnp.sum(many - few)
    return Allocation(units, risk(units), high)


class ThresholdChoice(eqx.Module):
    """A threshold λ and its margin, the distance from the nearer end of an interval; negative for an empty one."""

    threshold: Float[Array, "*batch"]
    margin: Float[Array, "*batch"]


def threshold(interval: ThresholdInterval) -> ThresholdChoice:
    """The threshold λ of the largest recovery margin min(λ − lower, upper − λ): the middle of the interval.

    The margin is by how much an inactive group's norm may be larger, or an active one's smaller, than the guarantee
    assumes.

    Arguments:
        interval: of `ae.recovery.threshold_interval` (form "sound") or `ae.recovery.support_guarantee`.

    Source: the interval: arXiv:2102.07003.
    """
    # no threshold is negative
    chosen = jnp.maximum((interval.lower + interval.upper) / 2, 0)
    return ThresholdChoice(chosen, jnp.minimum(chosen - interval.lower, interval.upper - chosen))
