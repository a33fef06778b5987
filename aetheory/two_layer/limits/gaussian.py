"""The least risk of two-layer autoencoders on Gaussian inputs, and bounds on the risk of other codes.

A spectrum, the standard deviations D_j or the variances v_j = D_j² of d directions, is nonnegative and not all 0, of
shape (*batch, d) and in any order. The number n of units and the rate r in units or bits per dimension are positive
real numbers, or arrays that broadcast with *batch. Activations σ are odd with a linear part; α can be given in their
place and may be traced.
Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468 (ICML 2023).
"""

import numbers
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aetheory.core.checks import common_float_dtype, fail, is_concrete, real_array
from aetheory.two_layer.activations import Activation, ActivationLike, as_activation

Spectrum = Float[Array, "*batch directions"]
Batch = Float[Array, "*batch"]
Alpha = float | int | Float[Array, "..."] | Float[np.ndarray, "..."]


def gaussian(rate: Any, activation: ActivationLike | Alpha = "sign") -> Float[Array, "*shape"]:
    """Least risk on isotropic Gaussian inputs at the rate r = n/d, as d → ∞.

    R*(r) = 1 − r/(1+α) for r ≤ 1 and 1 − r/(r+α) for r > 1, with α = f(1)/c₁² − 1. For r ≤ 1 it holds at every finite
    d, and orthonormal rows with the weight-tied decoder (c₁/f(1)) Bᵀ attain it; for r > 1 incoherent tight frames
    approach it.

    The formula fails for an activation that is not odd, also when centred: pairs of rows b, −b with the ReLU are linear
    units, whose risk at r = 2 is 0, where the formula gives .15.

    Arguments:
        rate: n/d, positive, any shape; differentiable (at the kink r = 1, from below).
        activation: σ, odd, with a linear part; or α.
    """
    rates = real_array("rate", rate, "finite and positive", minimum=0.0, strict=True)
    risk: Array = 1 - rates / (jnp.where(rates > 1, rates, 1) + limit_alpha(activation))
    return risk


class WaterFilling(eqx.Module):
    """The optimal allocation of units to directions.

    Arguments:
        risk: `R*`, shape `(*batch)`.
        allocation: s_j, the units in direction j, in the order of the deviations, shape `(*batch, d)`.
    """

    risk: Batch
    allocation: Spectrum


def water_filling(
    standard_deviations: Any, num_units: Any, activation: ActivationLike | Alpha = "sign"
) -> WaterFilling:
    """Least risk on Gaussian inputs of covariance Σ = diag(D_j²), as d → ∞, and its allocation of units.

    Water-filling on the standard deviations maximises Σ_j D_j² s_j/(s_j+α) over Σ_j s_j = n, s_j ≥ 0, on the min(n, d)
    largest D_j:

        s_j = (μ D_j − α)₊,   μ = √(α/λ),   R* = (1/d) [Σ_j D_j² − Σ_j D_j² s_j/(s_j+α)].

    The solution is exact: with D sorted, k directions have units for the largest k with μ_k D_k > α, where
    μ_k = (n + kα)/Σ_{j≤k} D_j. Risk and allocation are differentiable in the deviations and in n, except where n
    divides equal deviations.
    """
    alpha = limit_alpha(activation)
    return _fill(*_check_spectrum("standard_deviations", standard_deviations, "num_units", num_units), alpha)


@eqx.filter_jit
def _fill(deviations: Spectrum, units: Batch, alpha: float | Float[Array, ""]) -> WaterFilling:
    deviations, order = _descending(deviations)
    # directions that n units can span, the last one in part
    served = jnp.where(deviations > 0, _spanned(deviations, units), 0)
    slopes = (units[..., None] + alpha * jnp.cumsum(served, axis=-1)) / jnp.cumsum(served * deviations, axis=-1)
    # a direction has units if it is above the water level that its inclusion gives
    active = (served > 0) & (slopes * deviations > alpha)
    last = jnp.sum(active, axis=-1, keepdims=True) - 1
    slope = jnp.take_along_axis(slopes, last, axis=-1)
    allocation = served * jnp.where(active, slope * deviations - alpha, 0)
    gains = served * jnp.where(active, deviations * (deviations - alpha / slope), 0)
    in_order = jnp.take_along_axis(allocation, jnp.argsort(order, axis=-1), axis=-1)
    return WaterFilling(jnp.mean(deviations**2 - gains, axis=-1), in_order)


def rate_distortion(variances: Any, rate: Any = 1.0) -> Batch:
    """Shannon's distortion–rate function D(r), the least risk of any code of r·d bits.

    D = (1/d) Σ_j min(θ, v_j) by reverse water-filling, with the level θ at which Σ_j ½ log₂(v_j/θ)₊ = r d. For equal
    variances v·2^{−2r}. A two-layer autoencoder with the sign uses n = r d bits.
    Source: T. Cover, J. Thomas (2006), "Elements of Information Theory", Theorem 10.3.3.
    """
    return _distortion(*_check_spectrum("variances", variances, "rate", rate))


@eqx.filter_jit
def _distortion(values: Spectrum, rates: Batch) -> Batch:
    values, _ = _descending(values)
    positive = values > 0
    logarithms = jnp.where(positive, jnp.log(jnp.where(positive, values, 1)), 0)
    nats = 2 * jnp.log(jnp.asarray(2.0, values.dtype)) * rates * values.shape[-1]
    levels = (jnp.cumsum(logarithms, axis=-1) - nats[..., None]) / jnp.cumsum(jnp.ones_like(values), axis=-1)
    # the last direction whose variance is above the level that its inclusion gives
    coded = positive & (logarithms > levels)
    last = jnp.sum(coded, axis=-1, keepdims=True) - 1
    level = jnp.exp(jnp.take_along_axis(levels, last, axis=-1))
    return jnp.mean(jnp.where(coded, level, values), axis=-1)


def principal_components(variances: Any, num_units: Any) -> Batch:
    """Least risk (1/d) Σ_{j>n} v_j of a linear autoencoder with n units (principal components).

    Its units are real numbers and not bits: it is a lower bound for every activation for n ≤ d.
    """
    values, units = _check_spectrum("variances", variances, "num_units", num_units)
    values, _ = _descending(values)
    return jnp.mean((1 - _spanned(values, units)) * values, axis=-1)


def limit_alpha(activation: ActivationLike | Alpha) -> Any:
    """α of an odd activation with a linear part, or α itself."""
    if isinstance(activation, numbers.Real | jax.Array | np.ndarray):
        return real_array("alpha", activation, "finite and nonnegative", minimum=0.0)
    resolved: Activation = as_activation(activation)  # type: ignore[arg-type]  # numbers are excluded
    resolved.require_linear_part()
    if not resolved.is_odd:
        requirement = "odd for the limit theorems (the exact risk, `population_risk`, takes any)"
        raise fail("activation", requirement, resolved.name)
    return resolved.alpha


def _descending(values: Spectrum) -> tuple[Spectrum, Int[Array, "*batch directions"]]:
    """Values in decreasing order, and their indices."""
    order = jnp.argsort(-values, axis=-1)
    return jnp.take_along_axis(values, order, axis=-1), order


def _spanned(values: Spectrum, units: Batch) -> Spectrum:
    """Share of each direction that n units span, one direction after the other."""
    before = jnp.cumsum(jnp.ones_like(values), axis=-1) - 1
    return jnp.clip(units[..., None] - before, 0, 1)


def _check_spectrum(name: str, spectrum: Any, amount_name: str, amount: Any) -> tuple[Spectrum, Batch]:
    """Checked spectrum and units or rate, in one precision and one batch shape."""
    values = real_array(name, spectrum, "finite and nonnegative, at most 1e15", minimum=0.0, maximum=1e15)
    units = real_array(amount_name, amount, "finite and positive", minimum=0.0, strict=True)
    dtype = common_float_dtype(spectrum, amount)
    values, units = values.astype(dtype), units.astype(dtype)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise fail(name, "an array with a last axis of directions", spectrum)
    if is_concrete(values) and not (np.asarray(values) > 0).any(axis=-1).all():
        raise fail(name, "not all 0", spectrum)
    batch = jnp.broadcast_shapes(values.shape[:-1], units.shape)
    return jnp.broadcast_to(values, (*batch, values.shape[-1])), jnp.broadcast_to(units, batch)
