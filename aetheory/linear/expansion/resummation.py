"""Sums of a truncated power series in time: Taylor, Padé, and Padé in a variable that maps all times to [0, 1)."""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from aetheory.core.checks import at_run_time, check_array, check_choice, check_times, common_float_dtype, is_concrete

Series = Float[Array, " order_plus_one"]

# e^{−4t} is how the mode of a unit eigenvalue of S relaxes, whatever the initialisation.
_RATE = 4.0
_RADIUS_RIDGE = 1e-3


class Resummation(eqx.Module):
    """A resummed series.

    Arguments:
        values: the sum at every time, shape (..., times).
        radius: estimate of the radius of convergence of the series in t, shape (...).
    """

    values: Float[Array, "*batch times"]
    radius: Float[Array, "*batch"]


def resum(series: Any, times: Any, method: str = "conformal-pade") -> Resummation:
    """The sum of Σ_k c_k tᵏ at `times`, from finitely many coefficients.

    * "taylor": the truncated series, of use well inside the radius of convergence only.
    * "pade": the ratio of polynomials P/Q in t that agrees with the series. For free flows, which decay like powers
      of t.
    * "conformal-pade": the same in w = 1 − e^{−4t}, which maps 0 ≤ t < ∞ to 0 ≤ w < 1 and makes the relaxation of a
      mode with unit data eigenvalue rational: (λ−1)/(1+λ(e^{4t}−1)) = (λ−1)(1−w)/(1+(λ−1)w). For flows towards the
      target I (not free ones): it tends to a constant at late times, which a Padé approximant in t cannot.

    At every time, of the near-diagonal approximants of the series and its truncations, a high one that is close to its
    neighbour is taken; where the choice changes, the sum jumps by about its error. Up to the radius of convergence the
    error falls by orders of magnitude with every few coefficients; at late times it does not. Of 300 large-data
    problems with x in [0.01, 5] and y in [0.1, 10], "conformal-pade" with 11 coefficients in float64 stays within 0.5 %
    of R(0) for half, 8 % for nine in ten and 20 % for all ("pade" at t = 3: 8 %, 80 %, and worse); float32 costs a
    digit or two. The estimated radius is within 7 % of the true one for half of them, and .6 to 2.5 times it for all.

    Arguments:
        series: Taylor coefficients c_0, c_1, … (derivatives over factorials) along the last axis, shape
            (..., order + 1), such as those of `taylor_series`.
        times: sorted, nonnegative, shape (times,).
        method: "taylor", "pade" or "conformal-pade".

    Raises:
        ValueError: an unknown method, an empty or non-finite series, or times that are not sorted and nonnegative.

    Warns:
        RuntimeWarning: "taylor" at a time beyond the estimated radius of convergence (not under `jit`).

    Source: G. A. Baker, P. Graves-Morris, "Padé approximants", 1996; the radius: C. Domb, M. F. Sykes (1957).
    """
    check_choice("method", method, _SUMS)
    coefficients = _check_series(series)
    times = check_times(times)
    dtype = common_float_dtype(coefficients, times)
    result = _resum(coefficients.astype(dtype), times.astype(dtype), method)
    radius, unsummed = result.radius, ~jnp.isfinite(result.values).all()
    message = f"Argument `series` must have a sum in the range of {dtype}, but its coefficients are too large."
    if is_concrete(unsummed) and unsummed:
        raise ValueError(message)
    result = Resummation(at_run_time(result.values, unsummed, message), radius)
    if (
        method == "taylor"
        and is_concrete(radius)
        and is_concrete(times)
        and radius.size
        and np.asarray(times)[-1] > np.min(radius)
    ):
        warnings.warn(
            f"The Taylor series is summed up to time {np.asarray(times)[-1]:.3g}, beyond its estimated radius of "
            f"convergence {np.min(radius):.3g}; use method='pade' or 'conformal-pade'.",
            RuntimeWarning,
            stacklevel=2,
        )
    return result


def _check_series(series: Any) -> Float[Array, "*batch order_plus_one"]:
    coefficients = check_array("series", series, "a non-empty, finite array")
    invalid = ~jnp.all(jnp.isfinite(coefficients))
    return at_run_time(coefficients, invalid, "Argument `series` must be a non-empty, finite array.")


@eqx.filter_jit
def _resum(series: Float[Array, "*batch order_plus_one"], times: Float[Array, " times"], method: str) -> Resummation:
    rows, batch = series.reshape((-1, series.shape[-1])), series.shape[:-1]
    values = jax.vmap(lambda row: _SUMS[method](row, times))(rows)
    radius = jax.vmap(_radius)(jax.lax.stop_gradient(rows))
    return Resummation(values.reshape((*batch, times.size)), radius.reshape(batch))


def _taylor(series: Series, points: Float[Array, " points"]) -> Float[Array, " points"]:
    return jnp.polyval(series[::-1], points)


def _pade(series: Series, points: Float[Array, " points"]) -> Float[Array, " points"]:
    """At every point, of the staircase of approximants P/Q = [K/2, K/2], K = n … 0, one close to its lower neighbour.

    Spurious poles, which move from one approximant to the next, are avoided because neighbours disagree there.
    """
    growth = _growth(_rates(jax.lax.stop_gradient(series)))
    tops, bottoms = (
        jax.vmap(_taylor, (0, None))(polynomials, points * growth)
        for polynomials in _staircase(_rescale(series, growth))
    )
    quotients = jax.lax.stop_gradient(tops / bottoms)
    # Low approximants agree by accident: each coefficient left unused has to halve the difference.
    unused = jnp.asarray(2.0 ** np.arange(series.size - 1)[:, None], series.dtype)
    steps = jnp.abs(quotients[:-1] - quotients[1:]) * unused
    steps = jnp.where(jnp.isfinite(steps), steps, jnp.inf)
    chosen = jnp.argmin(steps, axis=0)[None] if series.size > 1 else jnp.zeros((1, points.size), int)
    return (jnp.take_along_axis(tops, chosen, axis=0) / jnp.take_along_axis(bottoms, chosen, axis=0))[0]


def _conformal_pade(series: Series, points: Float[Array, " points"]) -> Float[Array, " points"]:
    """The Padé sum of the series in w = 1 − e^{−4t}."""
    in_w = jnp.matmul(series, jnp.asarray(_powers_of_time(series.size), series.dtype), precision="highest")
    return _pade(in_w, -jnp.expm1(-_RATE * points))


_SUMS = {"taylor": _taylor, "pade": _pade, "conformal-pade": _conformal_pade}


def _staircase(series: Series) -> tuple[Float[Array, "count top"], Float[Array, "count bottom"]]:
    """Numerators and denominators of the approximants of all orders, highest first, lower ones padded with zeros.

    With L and M the degrees of P and Q = 1 + q_1 t + …, the coefficients solve Σ_j q_j c_{L+i−j} = −c_{L+i}, i = 1…M.
    """
    orders = np.arange(series.size)[::-1]
    degrees_p = orders // 2
    degrees_q = orders - degrees_p
    i = np.arange(1, degrees_q[0] + 1)
    active = i <= degrees_q[:, None]
    lags = degrees_p[:, None, None] + i[:, None] - i
    matrix = _pick(series, lags, active[:, :, None] & active[:, None, :])
    target = -_pick(series, degrees_p[:, None] + i, active)
    ridge = 100 * float(np.finfo(series.dtype).eps)
    tail = jax.vmap(lambda a, b: _least_squares(a, b, ridge))(matrix, target)
    denominators = jnp.concatenate([jnp.ones((orders.size, 1), series.dtype), tail], axis=1)
    k = np.arange(degrees_p[0] + 1)
    toeplitz = _pick(series, k - np.arange(i.size + 1)[:, None], True)
    products = jnp.matmul(denominators, toeplitz, precision="highest")
    return jnp.where(jnp.asarray(k <= degrees_p[:, None]), products, jnp.zeros((), series.dtype)), denominators


def _pick(series: Series, index: Any, mask: Any) -> Float[Array, "..."]:
    """The coefficients at `index`, zero where the index is negative or the mask is off."""
    inside = jnp.asarray((index >= 0) & mask)
    return jnp.where(inside, series[np.clip(index, 0, series.size - 1)], jnp.zeros((), series.dtype))


def _radius(series: Series) -> Float[Array, ""]:
    """Estimated distance of the nearest singularity, from the last coefficients; infinite where nothing bounds it.

    Near one algebraic singularity c_k = (a + a'/k) c_{k−1}, the ratio method of Domb and Sykes; near a complex pair,
    c_k = (a + a'/k) c_{k−1} + (b + b'/k) c_{k−2}. The singularities are the zeros of 1 − a t − b t². The pair needs six
    coefficients; with fewer the single one is taken. A factor of two around the root test keeps spurious zeros away.
    """
    order = series.size - 1
    if order == 0:
        return jnp.full((), jnp.inf, series.dtype)
    rates = _rates(series)
    root, growth = 1 / jnp.max(rates[-3:]), _growth(rates)
    scaled = _rescale(series, growth)
    lags = (1, 2) if order >= 5 else (1,)
    corrections = (0,) if order == 1 else (0, 1)
    k = np.arange(order - len(lags) * len(corrections) + 1, order + 1)
    columns = [scaled[k - lag] / k.astype(series.dtype) ** power for power in corrections for lag in lags]
    equations = jnp.stack([*columns, scaled[k]], axis=-1)
    size = jnp.max(jnp.abs(equations), axis=1, keepdims=True)
    equations = equations / jnp.where(size > 0, size, jnp.ones_like(size))
    solution = _least_squares(equations[:, :-1], equations[:, -1], _RADIUS_RIDGE)
    a, b = solution[0], solution[1] if len(lags) == 2 else jnp.zeros_like(solution[0])
    discriminant = a**2 + 4 * b
    real = (jnp.abs(a) + jnp.sqrt(jnp.maximum(discriminant, 0))) / 2
    largest = jnp.where(discriminant >= 0, real, jnp.sqrt(jnp.maximum(-b, 0)))
    return jnp.clip(1 / (largest * growth), root / 2, root * 2)


def _rates(series: Series) -> Series:
    """|c_k/c_f|^{1/(k−f)}, where c_f is the first coefficient that is not zero; zero where c_k is zero or k ≤ f."""
    magnitude = jnp.abs(series)
    first = jnp.argmax(magnitude > 0)
    distance = (jnp.arange(series.size) - first).astype(series.dtype)
    # Logarithms, because the quotients of the last coefficients may leave the range of float32.
    logarithm = jnp.log(jnp.where(magnitude > 0, magnitude, jnp.ones_like(magnitude)))
    rates = jnp.exp((logarithm - logarithm[first]) / jnp.maximum(distance, 1))
    return jnp.where((distance > 0) & (magnitude > 0), rates, jnp.zeros_like(rates))


def _growth(rates: Series) -> Float[Array, ""]:
    """A rate r for which no c_k/rᵏ exceeds the first: it makes the equations well conditioned."""
    largest = jnp.max(rates)
    return jnp.where(largest > 0, largest, jnp.ones_like(largest))


def _rescale(series: Series, growth: Float[Array, ""]) -> Series:
    """The coefficients c_k/rᵏ of the series in r·t."""
    return series / jnp.cumprod(jnp.full_like(series, growth).at[0].set(1))


def _least_squares(
    matrix: Float[Array, "rows columns"], target: Float[Array, " rows"], ridge: float
) -> Float[Array, " columns"]:
    """The solution of a possibly singular system, by a ridge relative to the size of the matrix.

    Unlike a pseudo-inverse it can be differentiated where singular values coincide, as in a geometric series.
    """
    columns = matrix.shape[1]
    if columns == 0:
        return jnp.zeros(0, matrix.dtype)
    scale = ridge * jnp.sqrt(jnp.sum(jax.lax.stop_gradient(matrix) ** 2))
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    q, r = jnp.linalg.qr(jnp.concatenate([matrix, scale * jnp.eye(columns, dtype=matrix.dtype)]))
    return jax.scipy.linalg.solve_triangular(r, jnp.matmul(target, q[: target.size], precision="highest"))


def _powers_of_time(size: int) -> Float64[np.ndarray, "size size"]:
    """Row k: the coefficients of tᵏ in powers of w, t = −log(1−w)/4 = Σ_j wʲ/(4j)."""
    time = np.concatenate([[0.0], 1 / (_RATE * np.arange(1, size))])
    rows = [np.eye(1, size)[0]]
    for _ in range(size - 1):
        rows.append(np.convolve(rows[-1], time)[:size])
    return np.stack(rows)
