"""How fast a gradient moves the two numbers that describe a dictionary in training: its order parameters.

Each group of the learnt dictionary is A_g = q A*_g + E_g, where A*_g and E_g/e have orthonormal columns and E_g stands
in no relation to anything else; N = q² + e² is the squared norm of a column. Such a group hears z = A_gᵀy, which is
Gaussian around q x*_g with variance N ω in each entry, where ω is the energy of the rest of the signal per dimension.

Source: derived for this library from the loss of arXiv:2102.07003, for n → ∞ at few active groups; no paper has it.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from aetheory.group_sparse.hearing import Heard, Norms, Scalar, coordinates, heard

_NORMS = 4
_QUIETEST = 1e-6
"""The least energy of the rest of a signal, as a share of that of a group: without any a group would hear no noise."""


class Drift(NamedTuple):
    """−∂L/∂A_g = alignment · A*_g + growth · A_g, and the noise of a single sample around it.

    Attributes:
        alignment: pY, positive where training learns.
        growth: h. The direction of E_g never turns: it shrinks with this rate.
        noise: S, what one sample adds to the squared norm of a column of the gradient.
        found: the probability that an active group is found.
        invented: that an inactive one is.
    """

    alignment: Scalar
    growth: Scalar
    noise: Scalar
    found: Scalar
    invented: Scalar


class _Codes(NamedTuple):
    """Codes x = σ(z) of the groups that are active, or of those that are not.

    Attributes:
        heard: the law of z.
        norms: ‖x*_g‖ at its nodes.
        rest: nω, the energy of all that is not the group's own.
        share, overlap, trace, energy: P(‖z‖ > λ), Z = E z·x, T = E tr J and X = E‖x‖²/d.
    """

    heard: Heard
    norms: Norms
    rest: Scalar
    share: Scalar
    overlap: Scalar
    trace: Scalar
    energy: Scalar


class _Force(NamedTuple):
    """A group's own part in the gradient, while it is active or while it is not.

    Attributes:
        alignment, growth: Y and C − X.
        noise: the energy of a sample's gradient off the span of A*_g.
    """

    alignment: Scalar
    growth: Scalar
    noise: Scalar


class MeanField(eqx.Module):
    """What the groups of one network hear.

    Arguments:
        group_size: d, of the *network*: for the soft threshold on signals with groups, each entry is a group.
        input_dim, num_groups, num_active: n, Γ and γ of it.
        threshold: λ.
        norms, weights: a quadrature of the norm of an active group of the code.
        energy: E‖x*_g‖² of an active group.
        noise_energy: E‖noise‖² of a signal.
    """

    group_size: int = eqx.field(static=True)
    input_dim: Scalar
    num_groups: Scalar
    num_active: Scalar
    threshold: Scalar
    norms: Norms
    weights: Norms
    energy: Scalar
    noise_energy: Scalar

    @classmethod
    def of(cls, problem: Any) -> "MeanField":
        """That of a `RecoveryProblem` with arrays of one precision in its fields."""
        size = problem.group_size if problem.network == "group" else 1
        split, dtype = problem.group_size // size, problem.threshold.dtype
        # entries of a group spread over all norms anyway
        points, weights = np.polynomial.legendre.leggauss(_NORMS if split == 1 else _NORMS // 2)
        shares, share_weights = coordinates(problem.group_size) if split > 1 else (np.ones(1), np.ones(1))
        low, high, level = problem.min_norm, problem.max_norm, problem.signal_to_noise
        norms = (low + high) / 2 + (high - low) / 2 * jnp.asarray(points, dtype)
        energy = (low**2 + low * high + high**2) / 3
        ratio = jnp.zeros((), dtype) if level is None else 10 ** (-level / 10)
        counts = (problem.input_dim, split * problem.num_groups, split * problem.num_active)
        n, total, active = (jnp.asarray(count, dtype) for count in counts)
        return cls(
            group_size=size,
            input_dim=n,
            num_groups=total,
            num_active=active,
            threshold=problem.threshold,
            norms=jnp.outer(norms, jnp.asarray(shares, dtype)).ravel(),
            weights=jnp.asarray(np.outer(weights / 2, share_weights).ravel(), dtype),
            energy=energy / split,
            noise_energy=problem.num_active * energy * ratio,
        )

    def drift(self, overlap: Scalar, excess: Scalar) -> Drift:
        """That at q = `overlap` and e² = `excess`."""
        norm, p = overlap**2 + excess, self.num_active / self.num_groups
        signal = self.num_active * self.energy + self.noise_energy
        active = self._codes(self.norms, self.weights, overlap, norm, signal - self.energy)
        inactive = self._codes(0 * self.norms[:1], jnp.ones_like(self.norms[:1]), overlap, norm, signal)
        here = self._force(active, overlap, norm, active, inactive, is_active=True)
        there = self._force(inactive, overlap, norm, active, inactive, is_active=False)
        growth, noise = (p * one + (1 - p) * other for one, other in zip(here[1:], there[1:], strict=True))
        return Drift(p * here.alignment, growth, noise, active.share, inactive.share)

    def _codes(self, norms: Norms, weights: Norms, overlap: Scalar, norm: Scalar, rest: Scalar) -> _Codes:
        d, rest = self.group_size, jnp.maximum(rest, _QUIETEST * self.energy)
        law = heard(overlap * norms, weights, jnp.sqrt(norm * rest / self.input_dim), self.threshold, d)
        lost = self.threshold / law.radius
        shrunk = (1 - lost) * law.radius
        averages = map(law.mean, (jnp.ones_like(lost), shrunk * law.radius, d - (d - 1) * lost, shrunk**2 / d))
        return _Codes(law, norms, rest, *averages)

    def _force(
        self, own: _Codes, overlap: Scalar, norm: Scalar, active: _Codes, inactive: _Codes, *, is_active: bool
    ) -> _Force:
        """Of codes x and of v = J Aᵀr = J[(1−κ−k)q x* + (k−Nτ) z], where r is the error of the reconstruction.

        The other groups take κ of the group's own signal out of r, and 1 − k of the rest; J z = z and
        J u = τu + (λ/R) cos z/R, for z of norm R and a unit vector u along x*.
        """
        d, (law, code_norms, rest, *_) = self.group_size, own
        radius, cosine, squares, code = law.radius, law.cosine, law.squared_cosine, code_norms[:, None]
        on = self.num_active - int(is_active)
        off = self.num_groups - on - 1
        kappa = norm / self.input_dim * (on * active.trace + off * inactive.trace)
        taken = on * active.overlap + off * inactive.overlap
        rebuilt = norm * d * (on * active.energy + off * inactive.energy)
        k, left = 1 - taken / rest, jnp.maximum(rest - 2 * taken + rebuilt, 0)

        lost = self.threshold / radius
        tau, signal, back = 1 - lost, overlap * code, k - norm * (1 - lost)
        through = (1 - kappa - k) * signal
        along_code = tau * radius * cosine
        along_slope = through * (tau + lost * squares) + back * radius * cosine
        noise_code = tau * radius * (radius - signal * cosine)
        noise_slope = through * (tau * (radius * cosine - signal) + lost * (radius * cosine - signal * squares))
        noise_slope = noise_slope + back * radius * (radius - signal * cosine)
        crossed = tau * radius * (through * cosine + back * radius)
        squared = through**2 * (tau**2 + (1 - tau**2) * squares) + back * radius * (
            2 * through * cosine + back * radius
        )
        alignment = law.mean(code * ((1 - kappa) * along_code + along_slope)) / d
        growth = law.mean(k * noise_code + noise_slope) / (d * norm) - own.energy
        slopes = law.mean(2 * k * crossed + squared) / d
        return _Force(alignment, growth, left * own.energy + rest * slopes)
