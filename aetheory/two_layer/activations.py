"""Activations with their Gaussian theory attached: Hermite coefficients, kernels and their derivatives.

For standard Gaussians g, g' of correlation ρ the kernel of an activation σ is

    f(ρ) = E σ(g) σ(g') = Σ_ℓ c_ℓ² ρ^ℓ,      c_ℓ = E σ(g) He_ℓ(g) / √ℓ!,

and what a two-layer autoencoder can do depends on σ through f alone, in the limit of large dimensions through the
one number α = f(1)/c₁² − 1.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import check_real, fail, static_integer
from aetheory.two_layer.hermite import MAX_ORDER, PANEL_WIDTH, PowerSeries, hermite_coefficients, legendre

Function = Callable[[Any], Any]

_NEGLIGIBLE_COEFFICIENT = 1e-6
"""Share of √f(1) below which a Hermite coefficient is taken for the rounding of 0."""
_HARD_TANH_NODES = 40
_RESOLUTION_IN_EPSILONS = 8.0


class Activation(eqx.Module):
    """An activation σ: R → R, applied entry by entry, together with its kernel under Gaussian inputs.

    Made by name (`as_activation`), by `sign`, `leaky_relu`, `polynomial`, or from any function by `from_function`. It
    has no array inside: two that are made alike are one constant of a compiled program.

    Arguments:
        name: what messages call it.
        function: σ.
        kernel_function: f on [−1, 1].
        kernel_slope: f' on [−1, 1], finite at the ends.
        second_moment: f(1) = E σ(g)².
        linear_coefficient: c₁ = E g σ(g).
        mean: c₀ = E σ(g).
        is_odd: whether σ(−x) = −σ(x), as the limit theorems ask.
        breakpoints: where σ or its derivative jumps.
    """

    name: str = eqx.field(static=True)
    function: Function = eqx.field(static=True)
    kernel_function: Function = eqx.field(static=True)
    kernel_slope: Function = eqx.field(static=True)
    second_moment: float = eqx.field(static=True)
    linear_coefficient: float = eqx.field(static=True)
    mean: float = eqx.field(static=True, default=0.0)
    is_odd: bool = eqx.field(static=True, default=True)
    breakpoints: tuple[float, ...] = eqx.field(static=True, default=())

    def __call__(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """σ of every entry."""
        outputs: Float[Array, "*shape"] = self.function(inputs)
        return outputs

    @property
    def alpha(self) -> float:
        """α = f(1)/c₁² − 1: the power of the non-linear part over that of the linear one.

        Where there is a mean, (f(1) − c₀²)/c₁² − 1, as if it were centred.

        Raises:
            ValueError: the activation has no linear part.
        """
        self.require_linear_part()
        return (self.second_moment - self.mean**2) / self.linear_coefficient**2 - 1

    def kernel(self, correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f(ρ) of every entry; correlations beyond ±1, by rounding, count as ±1."""
        return _kernel(self, correlations)

    def kernel_derivative(self, correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f'(ρ) of every entry. Where it is infinite (sign at ±1), the largest that rounding can tell apart."""
        slopes: Float[Array, "*shape"] = self.kernel_slope(jnp.clip(correlations, -1, 1))
        return slopes

    def kernel_matrix(self, correlations: Float[Array, "n n"]) -> Float[Array, "n n"]:
        """f(K) of a correlation matrix K, entry by entry, with f(1) on the diagonal whatever the rounding of K is.

        No derivative flows through the diagonal, which normalised rows never move. Off-diagonal entries that rounding
        cannot tell from ±1 count as ±1: near there the kernel of the sign turns an error ε into √ε, and units that
        are equal would pass for different ones.
        """
        diagonal = jnp.eye(correlations.shape[0], dtype=bool)
        resolution = _RESOLUTION_IN_EPSILONS * float(np.finfo(correlations.dtype).eps)
        equal = diagonal | (correlations > 1 - resolution)
        opposite = correlations < resolution - 1
        values = self.kernel(jnp.where(equal | opposite, 0, correlations))
        opposite_value = -self.second_moment if self.is_odd else self.kernel(-jnp.ones((), correlations.dtype))
        return jnp.where(equal, self.second_moment, jnp.where(opposite, opposite_value, values))

    def hermite_coefficients(self, order: int) -> tuple[float, ...]:
        """c_0, …, c_order by quadrature on panels that end at the breakpoints, as accurate as JAX's precision.

        Raises:
            ValueError: `order` is not a positive integer of at most 128.
        """
        return hermite_coefficients(self.function, self.breakpoints, _check_order(order))[0]

    def centred(self) -> "Activation":
        """σ − c₀, which is what a decoder with a bias makes of an activation with a mean.

        The decoder of a two-layer autoencoder has no bias. For Gaussian inputs the best one is −A c₀ 1, and with it
        the kernel f becomes f − c₀². Odd activations stay as they are.
        """
        if self.mean == 0:
            return self
        square = self.mean**2
        return Activation(
            f"centred {self.name}",
            _Shifted(self.function, -self.mean),
            _Shifted(self.kernel_function, -square),
            self.kernel_slope,
            self.second_moment - square,
            self.linear_coefficient,
            is_odd=False,
            breakpoints=self.breakpoints,
        )

    def require_linear_part(self) -> None:
        """Raise unless c₁ ≠ 0.

        Raises:
            ValueError: c₁ = 0.
        """
        if abs(self.linear_coefficient) <= _NEGLIGIBLE_COEFFICIENT * math.sqrt(self.second_moment):
            raise ValueError(
                f"Argument `activation` must have a linear part, but for {self.name!r} the coefficient "
                f"c₁ = E g σ(g) is 0: its outputs are uncorrelated with the inputs, and a linear decoder sees nothing."
            )


ActivationLike = Activation | str | Function


def as_activation(activation: ActivationLike) -> Activation:
    """An activation from one of the names in `ACTIVATIONS`, from itself, or from any function (`from_function`).

    Raises:
        ValueError: an unknown name, or no activation at all.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in _MAKERS:
        return _named(activation, jnp.result_type(float))
    if callable(activation):
        return from_function(activation)
    raise fail("activation", f"one of {', '.join(map(repr, _MAKERS))}, an activation, or a function", activation)


def sign(surrogate_width: float | int = 1.0) -> Activation:
    """σ(x) = 1 for x ≥ 0 and −1 for x < 0: one bit a unit. At exactly 0 it is +1, never a third value.

    f(ρ) = (2/π) arcsin ρ, c₁ = √(2/π), α = π/2 − 1. For training on samples the backward pass takes the derivative of
    tanh(x/width) for that of the sign, a straight-through surrogate: sech²(x/width)/width.

    Arguments:
        surrogate_width: the width of the surrogate, in standard deviations of the input.

    Raises:
        ValueError: a width that is not positive and finite.
    """
    check_real("surrogate_width", surrogate_width, "finite and positive", minimum=0.0, strict=True)
    return _sign(float(surrogate_width))


def leaky_relu(slope: float | int = 0.01) -> Activation:
    """σ(x) = x for x ≥ 0 and slope · x for x < 0; not odd. ReLU at slope 0.

    Linear plus even, (1+slope)/2 · x + (1−slope)/2 · |x|, so that with the arc-cosine kernel
    f(ρ) = ((1+slope)/2)² ρ + ((1−slope)/2)² (2/π)(√(1−ρ²) + ρ arcsin ρ).

    Raises:
        ValueError: a slope that is not finite.

    Source of the kernel: Y. Cho, L. Saul (2009), "Kernel methods for deep learning".
    """
    check_real("slope", slope, "finite")
    return _leaky_relu(float(slope))


def polynomial(coefficients: Sequence[float | int], name: str = "polynomial") -> Activation:
    """σ(x) = Σ_k coefficients[k] x^k, with an exact kernel.

    Arguments:
        coefficients: by increasing power, finite and not all 0; an odd polynomial has zeros at even places.
        name: what messages call it.

    Raises:
        ValueError: the coefficients are not such a sequence.
    """
    powers = np.asarray(coefficients, dtype=np.float64)
    if powers.ndim != 1 or not np.isfinite(powers).all() or not powers.any():
        raise fail("coefficients", "a sequence of finite numbers that are not all 0", coefficients)
    hermite = np.polynomial.hermite_e.poly2herme(powers)
    series = [float(value) * math.sqrt(math.factorial(order)) for order, value in enumerate(hermite)]
    return _from_series(name, PowerSeries(tuple(powers.tolist())), series, math.fsum(value**2 for value in series), ())


def from_function(
    function: Function, name: str | None = None, *, breakpoints: Sequence[float | int] = (), order: int = 63
) -> Activation:
    """Any function as an activation, its Hermite coefficients by quadrature.

    Quadrature with the Gaussian weight on Gauss–Legendre panels: 13 digits (7 in float32) for analytic functions, as
    Gauss–Hermite quadrature gives, and also for those that jump or bend at the given breakpoints, where Gauss–Hermite
    quadrature fails. The kernel is the series up to `order`, with what is left of f(1) at the last degree: exact at
    ρ = 0 and ±1, and elsewhere up to (what is left) · |ρ|^order.

    Arguments:
        function: from arrays to arrays of the same shape, entry by entry; finite wherever |x| ≤ 13.
        name: what messages call it; the function's own name when omitted.
        breakpoints: where the function or its derivative jumps.
        order: the last Hermite coefficient, at most 128. Functions with jumps gain from a high one.

    Raises:
        ValueError: an argument is out of its range, or the function is not finite, or is 0.

    Warns:
        UserWarning: two quadratures disagree, for a breakpoint is missing.
    """
    order = _check_order(order)
    for point in breakpoints:
        check_real("breakpoints", point, "finite numbers")
    name = getattr(function, "__name__", "function") if name is None else name
    points = tuple(float(point) for point in breakpoints)
    series, second_moment = hermite_coefficients(function, points, order)
    if not (math.isfinite(second_moment) and second_moment > 0):
        raise fail("function", "finite where |x| ≤ 13, and not 0 everywhere", name)
    others, other_moment = hermite_coefficients(function, points, order, 0.7 * PANEL_WIDTH)
    errors = [abs(one - other) for one, other in zip(series, others, strict=True)]
    error = max(max(errors) / math.sqrt(second_moment), abs(second_moment - other_moment) / second_moment)
    if error > 1e-5:
        warnings.warn(
            f"The Hermite coefficients of {name!r} are only known to {error:.0e}: the function or its derivative jumps "
            f"somewhere. Name the places with `breakpoints`.",
            stacklevel=2,
        )
    return _from_series(name, function, series, second_moment, points)


def _from_series(
    name: str, function: Function, series: Sequence[float], second_moment: float, breakpoints: tuple[float, ...]
) -> Activation:
    """An activation whose kernel is Σ c_ℓ² ρ^ℓ, with the mass beyond the last order at the last degree."""
    # what quadrature leaves of a coefficient 0 would make an odd function look like a sum
    smallest = _NEGLIGIBLE_COEFFICIENT * math.sqrt(second_moment)
    parities = [any(abs(value) > smallest for value in series[parity::2]) for parity in (0, 1)]
    kept = [value if parities[degree % 2] else 0.0 for degree, value in enumerate(series)]
    powers = [value**2 for value in kept]
    last = max(degree for degree, power in enumerate(powers) if power)
    powers[last] += max(0.0, second_moment - math.fsum(powers))
    kernel = PowerSeries(tuple(powers))
    linear = kept[1] if len(kept) > 1 else 0.0
    odd = not parities[0]
    return Activation(name, function, kernel, kernel.derivative, second_moment, linear, kept[0], odd, breakpoints)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kernel(activation: Activation, correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    values: Float[Array, "*shape"] = activation.kernel_function(jnp.clip(correlations, -1, 1))
    return values


@_kernel.defjvp
def _kernel_jvp(activation: Activation, primals: Any, tangents: Any) -> Any:
    # f' in closed form, which unlike the derivative of the closed form of f is finite at ±1
    (correlations,) = primals
    return _kernel(activation, correlations), activation.kernel_derivative(correlations) * tangents[0]


class _Shifted(eqx.Module):
    """x ↦ function(x) + shift."""

    function: Function = eqx.field(static=True)
    shift: float = eqx.field(static=True)

    def __call__(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        outputs: Float[Array, "*shape"] = self.function(inputs) + self.shift
        return outputs


def _inverse_cosine(correlations: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1/√(1−ρ²), kept finite at ±1."""
    square = (1 - correlations) * (1 + correlations)
    return jax.lax.rsqrt(jnp.maximum(square, float(np.finfo(square.dtype).eps)))


# Each maker is cached, for the functions inside are told apart by identity.


@functools.cache
def _named(name: str, dtype: Any) -> Activation:
    """The activation of that name; those that need quadrature are as accurate as `dtype`, and made once for it."""
    return _MAKERS[name]()


@functools.cache
def _sign(width: float) -> Activation:
    @jax.custom_jvp
    def function(inputs: Any) -> Any:
        # the last branch keeps NaN
        return jnp.where(inputs >= 0, 1, jnp.where(inputs < 0, -1, inputs)).astype(inputs.dtype)

    @function.defjvp
    def surrogate(primals: Any, tangents: Any) -> Any:
        (inputs,) = primals
        return function(inputs), (1 - jnp.tanh(inputs / width) ** 2) / width * tangents[0]

    return Activation(
        "sign",
        function,
        lambda rho: 2 / math.pi * jnp.arcsin(rho),
        lambda rho: 2 / math.pi * _inverse_cosine(rho),
        second_moment=1.0,
        linear_coefficient=math.sqrt(2 / math.pi),
        breakpoints=(0.0,),
    )


def _erf() -> Activation:
    """f(ρ) = (2/π) arcsin(2ρ/3). Source: C. Williams (1997), "Computing with infinite networks"."""
    return Activation(
        "erf",
        jax.scipy.special.erf,
        lambda rho: 2 / math.pi * jnp.arcsin(2 / 3 * rho),
        lambda rho: 4 / (3 * math.pi) * jax.lax.rsqrt(1 - (2 / 3 * rho) ** 2),
        second_moment=2 / math.pi * math.asin(2 / 3),
        linear_coefficient=2 / math.sqrt(3 * math.pi),
    )


def _sine() -> Activation:
    """f(ρ) = sinh(ρ)/e, since c_ℓ² = 1/(e ℓ!) for odd ℓ."""
    return Activation(
        "sine",
        jnp.sin,
        lambda rho: jnp.sinh(rho) / math.e,
        lambda rho: jnp.cosh(rho) / math.e,
        second_moment=math.sinh(1) / math.e,
        linear_coefficient=math.exp(-0.5),
    )


def _hard_tanh() -> Activation:
    """σ'' is a point mass at −1 and another at 1, so that f'' is a difference of Gaussian densities.

    With h(φ) = [e^{−1/(1+sin φ)} − e^{−1/(1−sin φ)}]/π and θ = arcsin ρ, f'(ρ) = c₁² + ∫₀^θ h(φ) dφ and
    f(ρ) = c₁² ρ + ∫₀^θ (ρ − sin φ) h(φ) dφ: Gauss–Legendre quadrature, exact to 1e-13.
    """
    linear = math.erf(math.sqrt(0.5))

    def integrate(rho: Any, factor: Function) -> Any:
        angles = jnp.arcsin(rho)
        tiny = float(np.finfo(angles.dtype).tiny)
        total = jnp.zeros_like(angles)
        # one node after the other: an axis of nodes would have to be stored
        for node, weight in zip(*legendre(_HARD_TANH_NODES), strict=True):
            sine = jnp.sin(float(node + 1) / 2 * angles)
            above, below = (jnp.exp(-1 / jnp.maximum(1 + end, tiny)) for end in (sine, -sine))
            total = total + float(weight) / (2 * math.pi) * factor(sine) * (above - below)
        return angles * total

    return Activation(
        "hard_tanh",
        lambda inputs: jnp.clip(inputs, -1, 1),
        lambda rho: linear**2 * rho + integrate(rho, lambda sine: rho - sine),
        lambda rho: linear**2 + integrate(rho, jnp.ones_like),
        second_moment=1 - math.sqrt(2 / math.pi) * math.exp(-0.5),
        linear_coefficient=linear,
        breakpoints=(-1.0, 1.0),
    )


@functools.cache
def _leaky_relu(slope: float) -> Activation:
    linear, even = (1 + slope) / 2, (1 - slope) / 2

    def kernel(rho: Any) -> Any:
        # √(1−ρ²) as a product, which loses nothing near ±1
        cosine = jnp.sqrt((1 - rho) * (1 + rho))
        return linear**2 * rho + even**2 * 2 / math.pi * (cosine + rho * jnp.arcsin(rho))

    return Activation(
        "relu" if slope == 0 else "leaky_relu",
        lambda inputs: jnp.where(inputs >= 0, inputs, slope * inputs),
        kernel,
        lambda rho: linear**2 + even**2 * 2 / math.pi * jnp.arcsin(rho),
        second_moment=(1 + slope**2) / 2,
        linear_coefficient=linear,
        mean=2 * even / math.sqrt(2 * math.pi),
        is_odd=slope == 1,
        breakpoints=(0.0,),
    )


_MAKERS: dict[str, Callable[[], Activation]] = {
    "sign": sign,
    "erf": _erf,
    "tanh": lambda: from_function(jnp.tanh, "tanh"),
    "hard_tanh": _hard_tanh,
    "sine": _sine,
    "linear": lambda: polynomial((0.0, 1.0), "linear"),
    "relu": lambda: leaky_relu(0.0),
    "leaky_relu": leaky_relu,
    "softplus": lambda: from_function(jax.nn.softplus, "softplus"),
    "gelu": lambda: from_function(functools.partial(jax.nn.gelu, approximate=False), "gelu"),
}
ACTIVATIONS = tuple(_MAKERS)
"""The names that every argument `activation` understands."""


def _check_order(order: int) -> int:
    order = static_integer("order", order)
    if not 1 <= order <= MAX_ORDER:
        raise fail("order", f"a positive integer of at most {MAX_ORDER}", order)
    return order
