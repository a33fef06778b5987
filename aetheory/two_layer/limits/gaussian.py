"""What a two-layer autoencoder can reach on Gaussian inputs, and what no code of as many bits can beat.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468 (ICML 2023). The theorems are for odd
activations.
"""

import numbers
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aetheory.core.checks import as_float, check_real, common_float_dtype, fail, is_concrete
from aetheory.two_layer.activations import Activation, ActivationLike, as_activation


def gaussian(rate: Any, activation: ActivationLike = "sign") -> Float[Array, "*shape"]:
    """The least risk on isotropic Gaussian inputs at the rate r = n/d, as d → ∞.

    R*(r) = 1 − r/(1+α) for r ≤ 1 and 1 − r/(r+α) for r > 1, with α = f(1)/c₁² − 1. For r ≤ 1 it holds at every finite
    d, and orthonormal rows with the weight-tied decoder (c₁/f(1)) Bᵀ attain it; for r > 1 incoherent tight frames
    approach it.

    It is no limit for an activation that is not odd, also when centred: pairs of rows b, −b with the ReLU are linear
    units, and at r = 2 leave no risk at all, where the formula says .15.

    Arguments:
        rate: n/d, positive, any shape; differentiable (at the kink r = 1, from below).
        activation: σ, odd, with a linear part.

    Raises:
        ValueError: a rate that is not positive and finite, or an activation that is not odd or has no linear part.

    Source: arXiv:2212.13468.
    """
    rates = _real_array("rate", rate, "finite and positive", strict=True)
    return 1 - rates / (jnp.where(rates > 1, rates, 1) + limit_alpha(activation))


class WaterFilling(eqx.Module):
    """The optimal allocation of units to directions.

    Arguments:
        risk: `R*`, shape `(*batch)`.
        allocation: s_j, how many units look in direction j, in the order of the deviations, shape `(*batch, num)`. With
            multiplicities, per direction of the block, so that Σ m_j s_j = n.
        multiplier: λ = −d `∂R*/∂n` where n exceeds the number of directions, shape `(*batch)`; 0 for linear
            activations.
    """

    risk: Float[Array, "*batch"]
    allocation: Float[Array, "*batch directions"]
    multiplier: Float[Array, "*batch"]


def water_filling(
    standard_deviations: Any,
    num_units: Any,
    activation: ActivationLike = "sign",
    *,
    multiplicities: Any = None,
) -> WaterFilling:
    """The least risk on Gaussian inputs of covariance Σ = diag(D_j²), as d → ∞: water-filling on *deviations*.

    Maximise Σ_j D_j² s_j/(s_j+α) over Σ_j s_j = n, s_j ≥ 0, on the min(n, d) largest D_j, for n units span no more:

        s_j = (μ D_j − α)₊,   μ = √(α/λ),   R* = (1/d) [Σ_j D_j² − Σ_j D_j² s_j/(s_j+α)].

    Solved exactly and not by iteration: with D sorted, k directions are served for the largest k with μ_k D_k > α,
    where μ_k = (n + kα)/Σ_{j≤k} D_j. That closed form holds around all but exceptional D, and its derivative is that
    of the implicit function theorem.

    *Block form*: a spectrum with few different values, each in a share of the directions, is given by these values
    and their `multiplicities`. Both they and n may be fractions of d, which is the limit d → ∞ at a rate n.

    Arguments:
        standard_deviations: D_j, nonnegative and not all 0, shape (*batch, num), in any order.
        num_units: n, positive; a number or an array that broadcasts with *batch.
        activation: σ, odd, with a linear part.
        multiplicities: m_j, how many directions have the deviation D_j, positive, shape (num,); 1 when omitted.

    Returns:
        A `WaterFilling`: risk (divided by d, the number of directions), allocation, multiplier. Differentiable in the
        deviations and in n. Where n cuts through equal deviations, one that is served and one that is not have
        different derivatives, and which is which is arbitrary; the block form has no such ties.

    Raises:
        ValueError: an argument is out of its range, or an activation that is not odd or has no linear part.

    Source: arXiv:2212.13468.
    """
    alpha = limit_alpha(activation)
    return _fill(
        *_check_spectrum("standard_deviations", standard_deviations, "num_units", num_units, multiplicities), alpha
    )


@eqx.filter_jit
def _fill(
    deviations: Float[Array, "*batch directions"],
    counts: Float[Array, "*batch directions"],
    units: Float[Array, "*batch"],
    alpha: float | Float[Array, ""],
) -> WaterFilling:
    sorted_deviations, sorted_counts, order = _descending(deviations, counts)
    before = jnp.cumsum(sorted_counts, axis=-1) - sorted_counts
    # the directions of each block that n units can span
    served = jnp.where(sorted_deviations > 0, jnp.clip(units[..., None] - before, 0, sorted_counts), 0)
    slopes = (units[..., None] + alpha * jnp.cumsum(served, axis=-1)) / jnp.cumsum(served * sorted_deviations, axis=-1)
    # going down the spectrum a direction is worth serving as long as it gets something at its own water level
    active = (served > 0) & (slopes * sorted_deviations > alpha)
    last = jnp.sum(active, axis=-1, keepdims=True) - 1
    slope = jnp.take_along_axis(slopes, last, axis=-1)
    allocation = jnp.where(active, slope * sorted_deviations - alpha, 0)
    gains = jnp.where(active, sorted_deviations * (sorted_deviations - alpha / slope), 0)
    num_directions = jnp.sum(counts, axis=-1)
    risk = jnp.sum(sorted_counts * sorted_deviations**2 - served * gains, axis=-1) / num_directions
    inverse = jnp.argsort(order, axis=-1)
    per_direction = jnp.take_along_axis(allocation * served / sorted_counts, inverse, axis=-1)
    return WaterFilling(risk, per_direction, alpha / slope[..., 0] ** 2)


def rate_distortion(variances: Any, rate: Any = 1.0, *, multiplicities: Any = None) -> Float[Array, "*batch"]:
    """Shannon's distortion–rate function D(r): the least risk of *any* code of r·d bits, by reverse water-filling.

    D = (1/d) Σ_j min(θ, v_j) with the level θ at which Σ_j ½ log₂(v_j/θ)₊ = r d. For equal variances v·2^{−2r}. A
    two-layer autoencoder with the sign uses n = r d bits.

    Arguments:
        variances: v_j, nonnegative and not all 0, shape (*batch, num), in any order.
        rate: r, bits per dimension, positive; a number or an array that broadcasts with *batch.
        multiplicities: how many directions have the variance v_j, positive, shape (num,); 1 when omitted.

    Raises:
        ValueError: an argument is out of its range.

    Source: T. Cover, J. Thomas (2006), "Elements of Information Theory", Theorem 10.3.3.
    """
    return _distortion(*_check_spectrum("variances", variances, "rate", rate, multiplicities))


@eqx.filter_jit
def _distortion(
    values: Float[Array, "*batch directions"], counts: Float[Array, "*batch directions"], rates: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    values, counts, _ = _descending(values, counts)
    num_directions = jnp.sum(counts, axis=-1)
    positive = values > 0
    logarithms = jnp.where(positive, jnp.log(jnp.where(positive, values, 1)), 0)
    nats = 2 * jnp.log(jnp.asarray(2.0, values.dtype)) * rates * num_directions
    levels = (jnp.cumsum(counts * logarithms, axis=-1) - nats[..., None]) / jnp.cumsum(counts, axis=-1)
    # the last direction whose variance is above the level that its inclusion gives
    coded = positive & (logarithms > levels)
    last = jnp.sum(coded, axis=-1, keepdims=True) - 1
    level = jnp.exp(jnp.take_along_axis(levels, last, axis=-1))
    return jnp.sum(counts * jnp.where(coded, level, values), axis=-1) / num_directions


def principal_components(variances: Any, num_units: Any, *, multiplicities: Any = None) -> Float[Array, "*batch"]:
    """The least risk of a *linear* autoencoder with n units, (1/d) Σ_{j>n} v_j: what principal components leave.

    Its units carry real numbers and not bits: it bounds from below every activation for n ≤ d.

    Arguments:
        variances: v_j, nonnegative and not all 0, shape (*batch, num), in any order.
        num_units: n, positive; a number or an array that broadcasts with *batch.
        multiplicities: how many directions have the variance v_j, positive, shape (num,); 1 when omitted.

    Raises:
        ValueError: an argument is out of its range.
    """
    return _left_by_components(*_check_spectrum("variances", variances, "num_units", num_units, multiplicities))


@eqx.filter_jit
def _left_by_components(
    values: Float[Array, "*batch directions"], counts: Float[Array, "*batch directions"], units: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    values, counts, _ = _descending(values, counts)
    before = jnp.cumsum(counts, axis=-1) - counts
    kept = jnp.clip(units[..., None] - before, 0, counts)
    return jnp.sum((counts - kept) * values, axis=-1) / jnp.sum(counts, axis=-1)


def limit_alpha(activation: ActivationLike) -> float:
    """α of an activation that the limit theorems cover.

    Raises:
        ValueError: the activation is not odd, or has no linear part.
    """
    resolved: Activation = as_activation(activation)
    resolved.require_linear_part()
    if not resolved.is_odd:
        raise fail(
            "activation",
            "odd for the limit theorems (the exact risk, `population_risk`, takes any)",
            resolved.name,
        )
    return resolved.alpha


def _descending(
    values: Float[Array, "*batch directions"], counts: Float[Array, "*batch directions"]
) -> tuple[Float[Array, "*batch directions"], Float[Array, "*batch directions"], Int[Array, "*batch directions"]]:
    """Both in decreasing order of the values, and the order."""
    order = jnp.argsort(-values, axis=-1)
    return jnp.take_along_axis(values, order, axis=-1), jnp.take_along_axis(counts, order, axis=-1), order


def _check_spectrum(
    name: str, spectrum: Any, amount_name: str, amount: Any, multiplicities: Any
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """The spectrum, its multiplicities and the units or rate, of one precision and one batch shape."""
    values = _real_array(name, spectrum, "finite and nonnegative")
    units = _real_array(amount_name, amount, "finite and positive", strict=True)
    counts = jnp.ones_like(values, shape=values.shape[-1:])
    if multiplicities is not None:
        counts = _real_array("multiplicities", multiplicities, "finite and positive", strict=True)
        if counts.shape != values.shape[-1:]:
            raise fail("multiplicities", f"of shape {values.shape[-1:]}, one for each of `{name}`", multiplicities)
    # numbers without a precision of their own take that of the arrays
    dtype = common_float_dtype(spectrum, amount, multiplicities)
    values, units, counts = (array.astype(dtype) for array in (values, units, counts))
    if values.ndim == 0 or values.shape[-1] == 0:
        raise fail(name, "an array with a last axis of directions", spectrum)
    if is_concrete(values) and not (np.asarray(values) > 0).any(axis=-1).all():
        raise fail(name, "not all 0", spectrum)
    batch = jnp.broadcast_shapes(values.shape[:-1], units.shape)
    return (
        jnp.broadcast_to(values, (*batch, values.shape[-1])),
        jnp.broadcast_to(counts, (*batch, values.shape[-1])),
        jnp.broadcast_to(units, batch),
    )


def _real_array(name: str, value: Any, requirement: str, *, strict: bool = False) -> Float[Array, "*shape"]:
    """`value` (a number, a sequence or an array) as a floating-point array, ≥ 0, or > 0 when `strict`."""
    try:
        array = as_float(value)
    except (TypeError, ValueError) as error:
        raise fail(name, requirement, value) from error
    # a number is shown as it was written
    check_real(name, value if isinstance(value, numbers.Real) else array, requirement, minimum=0.0, strict=strict)
    return array
