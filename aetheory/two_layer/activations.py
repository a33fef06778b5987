"""Activations with their kernels under Gaussian inputs.

For standard Gaussians g, g' of correlation ρ the kernel of an activation σ is

    f(ρ) = E σ(g) σ(g') = Σ_ℓ c_ℓ² ρ^ℓ,      c_ℓ = E σ(g) He_ℓ(g) / √ℓ!.

The risk of a two-layer autoencoder depends on σ through f alone, and in high dimension through α = f(1)/c₁² − 1.
Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import check_real, fail
from aetheory.two_layer.hermite import ORDER, ORDER_WITH_BREAKPOINTS, PANEL_WIDTH, PowerSeries, hermite_coefficients

Function = Callable[[Any], Any]

_NEGLIGIBLE_COEFFICIENT = 1e-6
"""Hermite coefficient, as a share of √f(1), that is taken to be 0 up to rounding."""
_RESOLUTION_IN_EPSILONS = 8.0
"""Distance from ±1 below which correlations are taken to be ±1."""
_NUM_KERNEL_NODES = 40
"""Nodes for all digits of the kernel of the hard tanh, also at ±1; 30 leave an error of 5e-14 there."""
_MAX_QUADRATURE_DIFFERENCE = 1e-5
"""Relative difference of two quadratures above which a breakpoint is taken to be missing."""


class Activation(eqx.Module):
    """An activation σ: R → R, applied entry by entry, with its kernel under Gaussian inputs.

    Made by name (`as_activation`), by `leaky_relu`, or from any function by `from_function`. It has no arrays: equal
    activations are one constant of a compiled program.

    Arguments:
        name: name in messages.
        function, kernel_function: σ, and f on [−1, 1].
        second_moment, linear_coefficient, mean: f(1) = E σ(g)², c₁ = E g σ(g) and c₀ = E σ(g).
        is_odd: whether σ(−x) = −σ(x), as the limit theorems require.
        made_by: the function that makes it, and its arguments, for pickling.
    """

    name: str = eqx.field(static=True)
    function: Function = eqx.field(static=True, repr=False)
    kernel_function: Function = eqx.field(static=True, repr=False)
    second_moment: float = eqx.field(static=True)
    linear_coefficient: float = eqx.field(static=True)
    mean: float = eqx.field(static=True, default=0.0)
    is_odd: bool = eqx.field(static=True, default=True)
    made_by: tuple[Any, ...] = eqx.field(static=True, repr=False, default=())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (self.made_by[0], self.made_by[1:]) if self.made_by else super().__reduce_ex__(protocol)

    def __call__(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """σ of every entry."""
        outputs: Float[Array, "*shape"] = self.function(inputs)
        return outputs

    @property
    def alpha(self) -> float:
        """α = (f(1) − c₀²)/c₁² − 1, the power of the nonlinear over the linear part, without the mean.

        Raises:
            ValueError: the activation has no linear part.
        """
        self.require_linear_part()
        return (self.second_moment - self.mean**2) / self.linear_coefficient**2 - 1

    @property
    def cubic_power(self) -> float:
        """c₃², one sixth of the third derivative of f at 0."""
        return _cubic_power(self.kernel_function)

    def kernel(self, correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f(ρ) of every entry; correlations beyond ±1 count as ±1."""
        values: Float[Array, "*shape"] = self.kernel_function(jnp.clip(correlations, -1, 1))
        return values

    def kernel_derivative(self, correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f'(ρ) of every entry, at the nearest number below 1 where it is infinite (sign at ±1)."""
        last = 1 - float(np.finfo(correlations.dtype).epsneg)
        inside = jnp.clip(correlations, -last, last)
        slopes: Float[Array, "*shape"] = jax.jvp(self.kernel_function, (inside,), (jnp.ones_like(inside),))[1]
        return slopes

    def kernel_matrix(self, correlations: Float[Array, "n n"]) -> Float[Array, "n n"]:
        """f(K) of a correlation matrix K, with f(1) on the diagonal.

        Off-diagonal entries that equal ±1 up to rounding count as ±1: near ±1 the kernel of the sign turns an error ε
        into √ε, and equal units would seem different.
        """
        resolution = _RESOLUTION_IN_EPSILONS * float(np.finfo(correlations.dtype).eps)
        equal = jnp.eye(len(correlations), dtype=bool) | (correlations > 1 - resolution)
        opposite = correlations < resolution - 1
        values = self.kernel(jnp.where(equal | opposite, 0, correlations))
        opposite_value = -self.second_moment if self.is_odd else self.kernel(-jnp.ones((), correlations.dtype))
        return jnp.where(equal, self.second_moment, jnp.where(opposite, opposite_value, values))

    def require_linear_part(self) -> None:
        """Raise ValueError unless c₁ ≠ 0."""
        if abs(self.linear_coefficient) <= _NEGLIGIBLE_COEFFICIENT * math.sqrt(self.second_moment):
            raise ValueError(
                f"Argument `activation` must have a linear part, but for {self.name!r} the coefficient "
                f"c₁ = E g σ(g) is 0: its outputs are uncorrelated with the inputs, and no linear decoder can use them."
            )


ActivationLike = Activation | str | Function


@functools.cache
def _cubic_power(kernel: Function) -> float:
    third = jax.grad(jax.grad(jax.grad(kernel)))
    with jax.ensure_compile_time_eval():
        return float(third(jnp.zeros(()))) / 6


def as_activation(activation: ActivationLike) -> Activation:
    """Activation of a name in `ACTIVATIONS`, of any function (`from_function`), or the activation itself.

    Raises:
        ValueError: an unknown name, or another object.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in _MAKERS:
        return _named(activation, jnp.result_type(float))
    if callable(activation):
        return from_function(activation)
    raise fail("activation", f"one of {', '.join(map(repr, _MAKERS))}, an activation, or a function", activation)


def leaky_relu(slope: float | int = 0.01) -> Activation:
    """Leaky ReLU σ(x) = x for x ≥ 0 and slope · x for x < 0, which is not odd; ReLU at slope 0.

    It is linear plus even, (1+slope)/2 · x + (1−slope)/2 · |x|, so that with the arc-cosine kernel
    f(ρ) = ((1+slope)/2)² ρ + ((1−slope)/2)² (2/π)(√(1−ρ²) + ρ arcsin ρ).

    Source of the kernel: Y. Cho, L. Saul (2009), "Kernel methods for deep learning".
    """
    check_real("slope", slope, "finite")
    made = _leaky_relu(float(slope), "relu" if slope == 0 else "leaky_relu")
    return replace(made, made_by=(leaky_relu, float(slope)))


def from_function(
    function: Function, name: str | None = None, *, breakpoints: Sequence[float | int] = ()
) -> Activation:
    """Activation of any function, with Hermite coefficients by quadrature.

    Gauss–Legendre panels give 13 digits (7 in float32) for functions that are analytic between the breakpoints. The
    kernel is the series up to degree 63, or 128 with breakpoints; the rest of f(1) is added at the last degree, so that
    it is exact at ρ = 0 and ±1, and elsewhere up to rest · |ρ|^degree.

    Arguments:
        function: maps arrays to arrays of the same shape, entry by entry; finite wherever |x| ≤ 13.
        name: name in messages; the name of the function when omitted.
        breakpoints: points where the function or its derivative jumps.

    Raises:
        ValueError: the function is not finite, or 0 everywhere.

    Warns:
        UserWarning: two quadratures disagree because a breakpoint is missing.
    """
    for point in breakpoints:
        check_real("breakpoints", point, "finite numbers")
    name = getattr(function, "__name__", "function") if name is None else name
    points = tuple(float(point) for point in breakpoints)
    order = ORDER_WITH_BREAKPOINTS if points else ORDER
    try:
        series, second_moment = hermite_coefficients(function, points, order)
    except TypeError as cause:
        raise fail("function", "from arrays to arrays of the same shape", function) from cause
    if not (math.isfinite(second_moment) and second_moment > 0):
        raise fail("function", "finite where |x| ≤ 13, and not 0 everywhere", name)
    others, other_moment = hermite_coefficients(function, points, order, 0.7 * PANEL_WIDTH)
    errors = [abs(one - other) for one, other in zip(series, others, strict=True)]
    error = max(max(errors) / math.sqrt(second_moment), abs(second_moment - other_moment) / second_moment)
    if error > _MAX_QUADRATURE_DIFFERENCE:
        warnings.warn(
            f"The Hermite coefficients of {name!r} are only known to {error:.0e}: the function or its derivative jumps "
            f"somewhere. Name the places with `breakpoints`.",
            stacklevel=2,
        )
    return replace(_from_series(name, function, series, second_moment), made_by=(_made_again, function, name, points))


def _made_again(function: Function, name: str, breakpoints: tuple[float, ...]) -> Activation:
    return from_function(function, name, breakpoints=breakpoints)


def _from_series(name: str, function: Function, series: Sequence[float], second_moment: float) -> Activation:
    """Activation of the kernel Σ c_ℓ² ρ^ℓ, with the rest of f(1) at the last degree."""
    # errors of coefficients 0 would make an odd function seem not odd
    smallest = _NEGLIGIBLE_COEFFICIENT * math.sqrt(second_moment)
    parities = [any(abs(value) > smallest for value in series[parity::2]) for parity in (0, 1)]
    kept = [value if parities[degree % 2] else 0.0 for degree, value in enumerate(series)]
    powers = [value**2 for value in kept]
    last = max(degree for degree, power in enumerate(powers) if power)
    powers[last] += max(0.0, second_moment - math.fsum(powers))
    kernel = PowerSeries(tuple(powers))
    return Activation(name, function, kernel, second_moment, kept[1], kept[0], is_odd=not parities[0])


@functools.cache
def _named(name: str, dtype: Any) -> Activation:
    """Activation of a name, made once for each precision, because some need quadrature."""
    return replace(_MAKERS[name](), made_by=(as_activation, str(name)))  # NumPy has strings of its own


@jax.custom_jvp
def _sign(inputs: Any) -> Any:
    """1 for x ≥ 0, −1 for x < 0, NaN for NaN, with the derivative of tanh, a straight-through surrogate."""
    return jnp.where(inputs >= 0, 1, jnp.where(inputs < 0, -1, inputs)).astype(inputs.dtype)


@_sign.defjvp
def _sign_surrogate(primals: Any, tangents: Any) -> Any:
    (inputs,) = primals
    return _sign(inputs), (1 - jnp.tanh(inputs) ** 2) * tangents[0]


@functools.cache  # two activations are equal only if their functions are one object
def _leaky_relu(slope: float, name: str) -> Activation:
    linear, even = (1 + slope) / 2, (1 - slope) / 2

    def kernel(rho: Any) -> Any:
        # √(1−ρ²) as a product, which loses nothing near ±1
        cosine = jnp.sqrt((1 - rho) * (1 + rho))
        return linear**2 * rho + even**2 * 2 / math.pi * (cosine + rho * jnp.arcsin(rho))

    return Activation(
        name,
        lambda inputs: jnp.where(inputs >= 0, inputs, slope * inputs),
        kernel,
        second_moment=(1 + slope**2) / 2,
        linear_coefficient=linear,
        mean=2 * even / math.sqrt(2 * math.pi),
        is_odd=slope == 1,
    )


def _hard_tanh_kernel(rho: Any) -> Any:
    """c₁² ρ + ∫₀^ρ (ρ − t) f''(t) dt, t = sin θ, with f'' = E σ''(g) σ''(g'), a sum over kinks."""
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_KERNEL_NODES)
    shape = (1,) * rho.ndim + (-1,)
    places, shares = (jnp.asarray(one / 2, rho.dtype).reshape(shape) for one in (1 + nodes, weights))
    angles = jnp.arcsin(rho)[..., None]
    sines = jnp.sin(angles * places)
    densities = jnp.exp(-1 / (1 + sines)) - jnp.exp(-1 / (1 - sines))  # π cos θ f''(sin θ)
    twice = jnp.sum(angles * shares * (rho[..., None] - sines) * densities, axis=-1)
    return math.erf(math.sqrt(0.5)) ** 2 * rho + twice / math.pi


_MAKERS: dict[str, Callable[[], Activation]] = {
    "sign": lambda: Activation("sign", _sign, lambda rho: 2 / math.pi * jnp.arcsin(rho), 1.0, math.sqrt(2 / math.pi)),
    # source of the kernel: C. Williams (1997), "Computing with infinite networks"
    "erf": lambda: Activation(
        *("erf", jax.scipy.special.erf, lambda rho: 2 / math.pi * jnp.arcsin(2 / 3 * rho)),
        *(2 / math.pi * math.asin(2 / 3), 2 / math.sqrt(3 * math.pi)),
    ),
    "tanh": lambda: from_function(jnp.tanh, "tanh"),
    "hard_tanh": lambda: Activation(
        "hard_tanh",
        lambda x: jnp.clip(x, -1, 1),
        _hard_tanh_kernel,
        1 - math.sqrt(2 / (math.pi * math.e)),
        math.erf(math.sqrt(0.5)),
    ),
    "sine": lambda: from_function(jnp.sin, "sine"),
    "linear": lambda: _leaky_relu(1.0, "linear"),
    "relu": lambda: leaky_relu(0.0),
    "leaky_relu": leaky_relu,
    "softplus": lambda: from_function(jax.nn.softplus, "softplus"),
    "gelu": lambda: from_function(functools.partial(jax.nn.gelu, approximate=False), "gelu"),
}
ACTIVATIONS = tuple(_MAKERS)
"""The names that an argument `activation` may have."""
