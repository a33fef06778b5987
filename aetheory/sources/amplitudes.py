"""Distributions of the nonzero entries of a sparse source, with their posteriors in a scalar Gaussian channel.

The channel is z = gain · u + noise · g with u from the distribution and g a standard Gaussian. `ae.limits.denoiser`
adds the probability of u = 0.
"""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_real, fail

Scalar = Float[Array, ""]

_NUM_PANELS, _NODES_PER_PANEL = 64, 16
_ASYMPTOTIC_FROM = 30.0
"""Distance from 0 beyond which φ/Φ is computed by its asymptotic series."""


class Posterior(NamedTuple):
    """log p(z) and posterior mean E[u | z] of a scalar channel at outputs z of any shape."""

    log_evidence: Float[Array, "*shape"]
    mean: Float[Array, "*shape"]


class AbstractAmplitude(eqx.Module):
    """A distribution of mean 0 and variance 1.

    Arguments:
        mean_absolute: E |u|.
        reach: bound of |u| beyond which the share of the variance is below 1e-14.
    """

    mean_absolute: float = eqx.field(static=True)
    reach: float = eqx.field(static=True)

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent draws."""

    @abc.abstractmethod
    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """Posterior of u at every output z = gain · u + noise · g; gain and noise positive."""


class GaussianAmplitude(AbstractAmplitude):
    """Gaussian entries, u ~ N(0, 1)."""

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Standard Gaussians."""
        return jax.random.normal(key, shape)

    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """E[u | z] = gain · z / (gain² + noise²)."""
        variance = gain**2 + noise**2
        return Posterior(_log_normal(outputs, jnp.sqrt(variance)), gain * outputs / variance)


class RademacherAmplitude(AbstractAmplitude):
    """Random signs, u = ±1."""

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Signs."""
        return jax.random.rademacher(key, shape, jnp.result_type(float))

    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """E[u | z] = tanh(gain · z / noise²)."""
        logs = [_log_normal(outputs - sign * gain, noise) for sign in (-1, 1)]
        return Posterior(jnp.logaddexp(*logs) - math.log(2), jnp.tanh(gain * outputs / noise**2))


class UniformAmplitude(AbstractAmplitude):
    """Entries u uniform on [−√3, √3]."""

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Uniform draws."""
        return jax.random.uniform(key, shape, minval=-self.reach, maxval=self.reach)

    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """Mean of a Gaussian of centre z/gain and deviation noise/gain, truncated to the interval."""
        # at |z| by symmetry, where both tails are small and their difference is accurate
        size, edge = jnp.abs(outputs), self.reach * gain
        lower, upper = (-edge - size) / noise, (edge - size) / noise
        log_upper, log_share = log_ndtr(upper), log_ndtr(lower) - log_ndtr(upper)
        log_mass = log_upper + jnp.log1p(-jnp.exp(log_share))
        ratio = (_inverse_mills(upper) - _inverse_mills(lower) * jnp.exp(log_share)) / -jnp.expm1(log_share)
        mean = jnp.clip((size - noise * ratio) / gain, -self.reach, self.reach)
        return Posterior(log_mass - jnp.log(2 * edge), jnp.where(outputs < 0, -mean, mean))


class LaplaceAmplitude(AbstractAmplitude):
    """Entries u with the density e^{−√2 |u|}/√2."""

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Laplace draws of variance 1."""
        return math.sqrt(0.5) * jax.random.laplace(key, shape)

    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """A mixture of two half Gaussians, of centres z ∓ rate · noise², rate = √2/gain."""
        rate = math.sqrt(2) / gain
        shift = rate * noise
        halves = []
        for scaled in (outputs / noise, -outputs / noise):
            centre = scaled - shift
            # the mean of a Gaussian of this centre and variance 1, given that it is positive
            mean = centre + _inverse_mills(centre)
            halves.append((log_ndtr(centre) - shift * scaled + shift**2 / 2, mean))
        (log_right, right), (log_left, left) = halves
        share = jax.nn.sigmoid(log_right - log_left)
        log_evidence = jnp.logaddexp(log_right, log_left) + jnp.log(rate / 2)
        return Posterior(log_evidence, noise / gain * (share * right - (1 - share) * left))


class DensityAmplitude(AbstractAmplitude):
    """Any distribution with a density on an interval, of mean 0 and variance 1.

    The posterior is computed by Gauss–Legendre quadrature on 64 panels of 16 nodes, accurate for noise/gain above a
    thousandth of the interval. Draws use the inverse of the distribution function, interpolated between the nodes.

    Arguments:
        density: maps an array of u to an array of densities, finite and nonnegative.
        lower, upper: the ends of the interval.

    Raises:
        ValueError: the density does not have integral 1, mean 0 and variance 1 (each to 1e-6, or 1e-4 in float32).
    """

    nodes: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]

    def __init__(self, density: Callable[[Any], Any], lower: float | int, upper: float | int):
        check_real("lower", lower, "finite")
        check_real("upper", upper, f"finite and above `lower` = {lower}", minimum=float(lower), strict=True)
        unit_nodes, unit_weights = np.polynomial.legendre.leggauss(_NODES_PER_PANEL)
        half = (upper - lower) / (2 * _NUM_PANELS)
        nodes = (np.linspace(lower, upper, _NUM_PANELS + 1)[:-1, None] + half * (1 + unit_nodes)).ravel()
        dtype = jnp.result_type(float)
        values = np.asarray(density(jnp.asarray(nodes, dtype)), np.float64)
        if values.shape != nodes.shape or not np.isfinite(values).all() or (values < 0).any():
            raise fail("density", "finite and nonnegative, with one value for each point", density)
        weights = values * np.tile(half * unit_weights, _NUM_PANELS)
        moments = [float(np.sum(weights * nodes**order)) for order in range(3)]
        if not np.allclose(moments, [1, 0, 1], rtol=0, atol=1e-6 if dtype == jnp.float64 else 1e-4):
            raise ValueError(
                f"Argument `density` must have integral 1, mean 0 and variance 1 between {lower} and {upper}, "
                f"but has integral {moments[0]:.7g}, mean {moments[1]:.7g} and second moment {moments[2]:.7g}."
            )
        self.nodes, self.weights = nodes, weights
        self.mean_absolute, self.reach = float(np.sum(weights * np.abs(nodes))), max(abs(lower), abs(upper))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws by the inverse of the distribution function."""
        cumulative = np.cumsum(self.weights) - self.weights / 2
        uniform = jax.random.uniform(key, shape)
        return jnp.interp(uniform, jnp.asarray(cumulative, uniform.dtype), jnp.asarray(self.nodes, uniform.dtype))

    def posterior(self, outputs: Float[Array, "*shape"], gain: Scalar, noise: Scalar) -> Posterior:
        """Sums over the nodes, in logarithms."""
        nodes = jnp.asarray(self.nodes, outputs.dtype)
        log_weights = jnp.log(jnp.maximum(jnp.asarray(self.weights, outputs.dtype), np.finfo(outputs.dtype).tiny))
        scaled_nodes = gain / noise * nodes

        def one(output: Scalar) -> tuple[Scalar, Scalar]:
            # without the square of the output, which is large and common to all nodes
            logs = log_weights + scaled_nodes * (output / noise - scaled_nodes / 2)
            return jax.nn.logsumexp(logs), jnp.sum(jax.nn.softmax(logs) * nodes)

        log_ratio, mean = jax.vmap(one)(outputs.ravel())
        return Posterior(log_ratio.reshape(outputs.shape) + _log_normal(outputs, noise), mean.reshape(outputs.shape))


AMPLITUDES: dict[str, AbstractAmplitude] = {
    "gaussian": GaussianAmplitude(mean_absolute=math.sqrt(2 / math.pi), reach=8.5),
    "rademacher": RademacherAmplitude(mean_absolute=1.0, reach=1.0),
    "uniform": UniformAmplitude(mean_absolute=math.sqrt(3) / 2, reach=math.sqrt(3)),
    "laplace": LaplaceAmplitude(mean_absolute=math.sqrt(0.5), reach=30.0),
}


def as_amplitude(amplitude: AbstractAmplitude | str) -> AbstractAmplitude:
    """Distribution of one of the names in `AMPLITUDES`, or the distribution itself.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(amplitude, AbstractAmplitude):
        return amplitude
    if isinstance(amplitude, str) and amplitude in AMPLITUDES:
        return AMPLITUDES[amplitude]
    raise fail("amplitude", f"one of {', '.join(map(repr, AMPLITUDES))}, or an amplitude law", amplitude)


def _inverse_mills(points: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """φ/Φ of the standard Gaussian."""
    inverse = 1 / jnp.maximum(-points, _ASYMPTOTIC_FROM)
    series = 1 / inverse + inverse * (1 - inverse**2 * (2 - inverse**2 * (10 - 74 * inverse**2)))
    near = jnp.maximum(points, -_ASYMPTOTIC_FROM)
    return jnp.where(points < -_ASYMPTOTIC_FROM, series, jnp.exp(_log_normal(near) - log_ndtr(near)))


def _log_normal(points: Float[Array, "*shape"], deviation: float | Scalar = 1.0) -> Float[Array, "*shape"]:
    """The logarithm of the density of N(0, deviation²)."""
    return -0.5 * (points / deviation) ** 2 - jnp.log(jnp.asarray(deviation)) - 0.5 * math.log(2 * math.pi)
