"""How fast the gradient changes the two numbers that describe a dictionary in training, its order parameters.

Each group of the learnt dictionary is A_g = q A*_g + E_g, where A*_g and E_g/e have orthonormal columns and E_g is
independent of everything else; N = q² + e² is the squared norm of a column. The pre-activation z = A_gᵀy of the group
is Gaussian around q x*_g with variance N ω in each entry, where ω is the energy per dimension of the other groups' part
of the signal and of the noise.
Source: derived for this library from the loss of arXiv:2102.07003, for n → ∞ at few active groups; no paper has it.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.group_sparse.preactivation import Nodes, Norms, Scalar, coordinate_quadrature, preactivation_law

Pair = Float[Array, "2"]

_NUM_NORMS = 4
_MIN_REST_ENERGY = 1e-6
"""Least energy of the rest of a signal, as a share of that of a group; without any, z would have no variance."""


class Drift(NamedTuple):
    """Mean gradient −∂L/∂A_g = alignment · A*_g + growth · A_g, and its variance for one sample.

    Attributes:
        alignment: pY, positive where training learns.
        growth: h. The direction of E_g never turns: E_g grows at this rate.
        noise: S, the expected squared norm that the noise of one sample adds to a column of the gradient.
        found: the probability that an active group is found.
        invented: the probability that an inactive group is taken for an active one.
    """

    alignment: Scalar
    growth: Scalar
    noise: Scalar
    found: Scalar
    invented: Scalar


class MeanField(eqx.Module):
    """The numbers that determine the distribution of the pre-activations of a network.

    Arguments:
        group_size: d of the *network*: for the soft threshold on signals with groups, each entry is a group.
        input_dim, num_groups, num_active: n, Γ and γ in groups of the network.
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
        """The mean field of a `RecoveryProblem` with arrays of one precision in its fields."""
        size = problem.group_size if problem.network == "group" else 1
        split, dtype = problem.group_size // size, problem.threshold.dtype
        # half as many norms serve single entries of a group, which spread over all norms
        points, weights = np.polynomial.legendre.leggauss(_NUM_NORMS if split == 1 else _NUM_NORMS // 2)
        shares, share_weights = coordinate_quadrature(problem.group_size) if split > 1 else (np.ones(1), np.ones(1))
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
        """The drift at q = `overlap` and e² = `excess`.

        The gradient −∂L/∂A_g = r xᵀ + y vᵀ has the code x = σ(z) and v = J A_gᵀr = J[(1−κ)q x* − N x + kζ] with
        ζ = z − q x*, where r is the error of the reconstruction: the other groups take κ of the group's own signal out
        of r, and 1 − k of the rest. With R = ‖z‖ and a unit vector u along x*, J z = z and J u = τu + (λ/R²) cos z.
        Pairs below are of active and of inactive groups; rows are of norms ‖x*_g‖, the last of which is 0.
        """
        n, d, norm, p = self.input_dim, self.group_size, overlap**2 + excess, self.num_active / self.num_groups
        rows, zero, one = self.norms.size, jnp.zeros_like(self.norms[:1]), jnp.ones_like(self.norms[:1])
        average = jnp.stack([jnp.concatenate([self.weights, zero]), jnp.concatenate([0 * self.weights, one])])
        code, pair_of = jnp.concatenate([self.norms, zero])[:, None], jnp.array([0] * rows + [1])
        energy = self.num_active * self.energy + self.noise_energy
        rest = jnp.stack([jnp.maximum(energy - self.energy, _MIN_REST_ENERGY * self.energy), energy])
        deviations = jnp.sqrt(norm * rest / n)[pair_of]
        law = preactivation_law(overlap * code[:, 0], deviations, self.threshold, d)

        def mean(values: Nodes) -> Pair:
            return average @ law.integral(values)

        radius, cosine, squares, signal = law.radius, law.cosine, law.squared_cosine, overlap * code
        lost = self.threshold / radius
        tau = 1 - lost
        found, power = mean(jnp.ones_like(tau)), mean((tau * radius) ** 2) / d
        correlation, trace = mean(tau * radius**2), mean(d - (d - 1) * lost)  # E zᵀx and E tr J

        on = self.num_active - jnp.concatenate([one, zero])
        others = jnp.stack([on, self.num_groups - 1 - on], axis=1)
        kappa, taken, rebuilt = (others @ each for each in (norm / n * trace, correlation, norm * d * power))
        k, left = 1 - taken / rest, jnp.maximum(rest - 2 * taken + rebuilt, 0)

        noise_gain, signal_gain = k[pair_of][:, None], (1 - kappa)[pair_of][:, None]
        through, back = (signal_gain - noise_gain) * signal, noise_gain - norm * tau
        aligned = signal_gain * tau * radius * cosine + through * (tau + lost * squares) + back * radius * cosine
        across = radius - signal * cosine  # ζ·z/R
        noise = through * (tau * (radius * cosine - signal) + lost * (radius * cosine - signal * squares))
        noise = noise + (noise_gain * tau + back) * radius * across
        crossed = tau * radius * (through * cosine + back * radius)
        squared = through**2 * (tau**2 + (1 - tau**2) * squares)
        squared = squared + back * radius * (2 * through * cosine + back * radius)
        growth = mean(noise) / (d * norm) - power
        variance = left * power + rest * mean(2 * noise_gain * crossed + squared) / d
        shares = jnp.stack([p, 1 - p])
        return Drift(p * mean(code * aligned)[0] / d, shares @ growth, shares @ variance, found[0], found[1])
