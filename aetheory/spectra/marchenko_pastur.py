"""The Marchenko–Pastur (free Poisson) law and its quadratures.

The law stands behind every large linear autoencoder: it is the limiting spectrum of the sample covariance
S = XXᵀ/N and, scaled, of M(0) = W Wᵀ.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_real, real_array, static_integer

Real = float | int | Float[Array, ""]

_SHARE_RESOLUTION = 4097
"""Angles at which the distribution function is tabulated for `shares`."""


class Quadrature(eqx.Module):
    """Discrete measure Σ_k weights_k δ(nodes_k) that approximates a law.

    Arguments:
        nodes: nodes, shape (num_nodes,).
        weights: weights, shape (num_nodes,), of sum 1 for a probability law.
    """

    nodes: Float[Array, " nodes"]
    weights: Float[Array, " nodes"]

    def integrate(self, values: Float[Array, "... nodes"]) -> Float[Array, "..."]:
        """Integral ∫ f dμ from the values f(nodes) along the last axis."""
        return values @ self.weights


class MarchenkoPastur(eqx.Module):
    """Limiting spectral law of XXᵀ/N for X of shape (p, N) with independent entries of variance `mean`.

    With z = `ratio` = p/N, the law has density √((b−s)(s−a)) / (2π z mean s) on [a, b] = mean (1 ∓ √z)² and, when
    z > 1, an atom of mass 1 − 1/z at 0. In free probability it is the free Poisson law of rate 1/z and jump
    z·mean (`free_poisson`). Everything here is differentiable in both parameters, also across z = 1; at z = 0,
    where the law is the point mass δ(mean), values are exact and derivatives with respect to z are reported as 0.

    Arguments:
        ratio: z ≥ 0, finite.
        mean: the mean of the law, ≥ 0, finite.

    Source: V. Marchenko, L. Pastur (1967); as used in E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
    """

    ratio: Real
    mean: Real = 1.0

    def __check_init__(self) -> None:
        check_real("ratio", self.ratio, "finite and nonnegative", minimum=0.0)
        check_real("mean", self.mean, "finite and nonnegative", minimum=0.0)

    @property
    def edges(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Ends a ≤ b of the continuous part of the support."""
        root = square_root(as_float(self.ratio))
        return self.mean * (1 - root) ** 2, self.mean * (1 + root) ** 2

    @property
    def atom(self) -> Float[Array, ""]:
        """Mass max(0, 1 − 1/z) at 0."""
        ratio = as_float(self.ratio)
        return jnp.where(ratio > 1, 1 - 1 / jnp.maximum(ratio, 1), 0)

    def density(self, points: Float[Array, "..."]) -> Float[Array, "..."]:
        """Density of the continuous part at `points`, any shape; 0 outside [a, b]."""
        lower, upper = self.edges
        inside = (points > lower) & (points < upper) & (points > 0)
        safe = jnp.where(inside, points, (lower + upper) / 2)
        square = jnp.where(inside, (upper - safe) * (safe - lower), 1)
        width = 2 * jnp.pi * as_float(self.ratio) * as_float(self.mean)
        return jnp.where(inside, jnp.sqrt(square) / (jnp.where(width > 0, width, 1) * jnp.where(inside, safe, 1)), 0)

    def moments(self, order: int) -> Float[Array, " order"]:
        """Moments E s, …, E s^order: mean^k Σ_{i<k} C(k,i) C(k−1,i) zⁱ / (i+1), the Narayana polynomials.

        Source: e.g. Z. Bai, J. Silverstein (2010), "Spectral Analysis of Large Dimensional Random Matrices", Lemma 3.1.
        """
        order = static_integer("order", order)
        ratio, mean = as_float(self.ratio), as_float(self.mean)
        moments = []
        for k in range(1, order + 1):
            coefficients = [1.0]
            for i in range(k - 1):
                coefficients.append(coefficients[-1] * (k - i) * (k - 1 - i) / ((i + 1) * (i + 2)))
            moments.append(mean**k * jnp.polyval(jnp.asarray(coefficients[::-1], ratio.dtype), ratio))
        return jnp.stack(moments)

    def factor(self, size: int) -> Float[Array, "size_and_one size"]:
        """Bidiagonal F with F Fᵀ the Jacobi matrix of this law, cut after `size` columns.

        It has √mean on the diagonal and √(mean·z) below it, the limit of the bidiagonal form of X/√N. FᵀF is the Jacobi
        matrix of the dual law, F Fᵀ has a null vector for z > 1, and the (0, 0) entries of the powers of F Fᵀ are exact
        up to order 2·size.
        """
        size = static_integer("size", size)
        scale, root = square_root(as_float(self.mean)), square_root(as_float(self.ratio))
        shape = (size + 1, size)
        return scale * (jnp.eye(*shape, dtype=root.dtype) + root * jnp.eye(*shape, k=-1, dtype=root.dtype))

    def radau_quadrature(self, num_nodes: int) -> Quadrature:
        """Gauss–Radau quadrature with a node at 0, exact for polynomials of degree 2·num_nodes.

        s dμ(s)/mean is Wigner's semicircle of centre mean (1+z) and radius 2 mean √z, whose Gauss nodes are those of
        the Chebyshev polynomials of the second kind: s_k = mean (1 + z + 2√z cos(πk/(n+1))) with weights
        ω_k = 2 sin²(πk/(n+1))/(n+1), so that ∫ f dμ ≈ w₀ f(0) + Σ_k mean (ω_k/s_k) f(s_k) with
        w₀ = zⁿ/(1 + z + … + zⁿ), which tends to the atom. It is differentiable and as accurate at z = 1 as elsewhere.

        Returns:
            `num_nodes` + 1 nodes, the one at 0 first.
        """
        num_nodes = static_integer("num_nodes", num_nodes)
        root, mean = square_root(as_float(self.ratio)), as_float(self.mean)
        angles = jnp.pi * jnp.arange(1, num_nodes + 1, dtype=root.dtype) / (num_nodes + 1)
        # |1 + √z e^{iθ}|², as a sum of squares: no cancellation where the law touches 0
        nodes = (1 + root * jnp.cos(angles)) ** 2 + (root * jnp.sin(angles)) ** 2
        weights = 2 * jnp.sin(angles) ** 2 / ((num_nodes + 1) * nodes)
        zero_weight = _radau_zero_weight(as_float(self.ratio), num_nodes)
        return Quadrature(_with_zero(mean * nodes), jnp.concatenate([zero_weight[None], weights]))

    def shares(self, size: int, rank: Float[Array, ""]) -> Float[Array, " size"]:
        """Diagonal matrix for this law: means of `rank` equal shares of its continuous part, then zeros.

        Arguments:
            size: number of entries.
            rank: how many of them share the continuous part, at most `size`; a whole number near size·(1 − atom).
                Whatever it is, the mean of all `size` entries is that of the law.

        Returns:
            The entries, in increasing order before the zeros. They are spread out a little, so that their mean square
            is that of the law too (where the rank is at least 2).
        """
        size = static_integer("size", size)
        root, mean = square_root(as_float(self.ratio)), as_float(self.mean)
        # in the angle of `edge_quadrature`, from the lower edge; its first moment, sin²θ, is known in closed form
        angles = jnp.pi * jnp.linspace(0, 1, _SHARE_RESOLUTION, dtype=root.dtype)
        squares = (1 - root) ** 2 + 4 * root * jnp.sin(angles / 2) ** 2
        mass = jnp.sin(angles) ** 2 / jnp.where(squares > 0, squares, 1)
        # at ratio 1 the density in the angle does not vanish at the edge
        mass = mass.at[0].set(jnp.where(squares[0] > 0, 0, 1).astype(mass.dtype))
        cumulative = jnp.concatenate([jnp.zeros(1, mass.dtype), jnp.cumsum((mass[1:] + mass[:-1]) / 2)])
        moment = (angles - jnp.sin(angles) * jnp.cos(angles)) / jnp.pi
        ends = jnp.minimum(jnp.arange(size + 1, dtype=root.dtype) / rank, 1)
        means = size * jnp.diff(jnp.interp(ends, cumulative / cumulative[-1], moment))
        return mean * _with_mean_square(means, 1 + as_float(self.ratio))

    def edge_quadrature(
        self, num_nodes: int, correction_dim: Real | None = None, reach: float = 2.6, unit_rows: bool = False
    ) -> Quadrature:
        """Quadrature that resolves every scale at the edges of the support, also down to 0 at z = 1.

        In the angle θ of s = mean |1 + √z e^{iθ}|² the law is (2/π) sin²θ dθ / (s/mean), besides its atom, on
        [0, π]; the double-exponential substitution θ = π/(1 + e^{−π sinh u}) turns the trapezoidal rule in u into one
        that converges exponentially for integrands as sharp near an edge as 1/(1 + s e^{4t})². The node at 0 takes
        the mass that the others leave, so that constants are exact and the rule is smooth across z = 1.

        Arguments:
            num_nodes: nodes in the support.
            correction_dim: p, to stand for (1/p) E tr f(S) of the *real Gaussian* p × p matrix S to the next order in
                1/p: the signed measure (δ_a + δ_b)/4 − dθ/2π, of total mass 0, is added with weight 1/p. When
                p > N the zero eigenvalues are exact and the same measure serves.
            reach: the largest |u|. The rule stops at angles π e^{−π sinh(reach)} from an edge, 2e-9 for 2.6 (s within
                1e-18 of it) and 8e-4 for 1.7 (within 6e-7), where fewer nodes do.
            unit_rows: correct for p rows of X that are scaled to length √N each: their lengths, which are independent
                of their directions, are taken out of the Gaussian matrix, which adds −2 cos 2θ dθ/π to the measure
                (derived for this library; the second moment is then 1 + z − 1/N exactly).

        Returns:
            `num_nodes` + 1 nodes, the one at 0 first; with `correction_dim` two more, at the edges. Weights may then
            be negative.

        Source: H. Takahasi, M. Mori (1974) for the rule; Z. Bai, J. Silverstein (2004), "CLT for linear spectral
        statistics of large-dimensional sample covariance matrices", for the correction.
        """
        num_nodes = static_integer("num_nodes", num_nodes)
        root, mean = square_root(as_float(self.ratio)), as_float(self.mean)
        positions = jnp.linspace(-reach, reach, num_nodes, dtype=root.dtype)
        logits = jnp.pi * jnp.sinh(positions)
        # the distances to both ends of [0, π], each to full relative accuracy
        angles, supplements = jnp.pi * jax.nn.sigmoid(logits), jnp.pi * jax.nn.sigmoid(-logits)
        spacing = angles * supplements * jnp.cosh(positions)
        arcsine = spacing / jnp.sum(spacing)
        semicircle = jnp.sin(jnp.minimum(angles, supplements)) ** 2 * spacing
        nodes = (1 - root) ** 2 + 4 * root * jnp.sin(supplements / 2) ** 2
        weights = semicircle / jnp.sum(semicircle) / nodes
        rest = 1 - jnp.sum(weights)
        if correction_dim is None:
            return Quadrature(_with_zero(mean * nodes), jnp.concatenate([rest[None], weights]))
        shift = arcsine / 2 + (2 * jnp.cos(2 * angles) * arcsine if unit_rows else 0)
        weights = weights - shift / correction_dim
        ends = jnp.stack(self.edges)
        end_weights = jnp.full(2, 0.25, root.dtype) / correction_dim
        return Quadrature(
            jnp.concatenate([_with_zero(mean * nodes), ends]), jnp.concatenate([rest[None], weights, end_weights])
        )


def _with_mean_square(values: Float[Array, " size"], mean_square: Float[Array, ""]) -> Float[Array, " size"]:
    """The values s moved in proportion to s (s − Σs²/Σs), which keeps their mean and zeros, to this mean square.

    By a tenth of each value at most: where the rank is below that of the law, no values have that mean square.
    """
    squares = jnp.sum(values**2)
    relative = values - squares / jnp.sum(values)
    change = 2 * jnp.sum(values**2 * relative)
    varies = change > 1e-6 * squares  # not where all positive values are equal, up to the error of the table
    step = (len(values) * mean_square - squares) / jnp.where(varies, change, 1)
    longest = 0.1 / jnp.max(jnp.abs(relative))
    return jnp.where(varies, values + jnp.clip(step, -longest, longest) * values * relative, values)


def free_poisson(rate: Real, jump: Real) -> MarchenkoPastur:
    """Free Poisson law of a rate > 0 and a jump ≥ 0: jump · (sum of rate·p random projections), p → ∞.

    It is the Marchenko–Pastur law of ratio 1/rate and mean rate·jump.
    Source: as used in arXiv:2606.05335.
    """
    rate = real_array("rate", rate, "finite and positive", minimum=0.0, strict=True)
    jump = real_array("jump", jump, "finite and nonnegative", minimum=0.0)
    return MarchenkoPastur(ratio=1 / rate, mean=rate * jump)


def _with_zero(nodes: Float[Array, " nodes"]) -> Float[Array, " nodes_and_zero"]:
    return jnp.concatenate([jnp.zeros(1, nodes.dtype), nodes])


def _radau_zero_weight(ratio: Float[Array, ""], num_nodes: int) -> Float[Array, ""]:
    """zⁿ/(1 + z + … + zⁿ), without overflow for large z."""
    ones = jnp.ones(num_nodes + 1, ratio.dtype)
    # `where` and not `minimum`, whose derivative at the tie ratio = 1 is a half
    small = jnp.where(ratio > 1, 1, ratio)
    inverse = 1 / jnp.where(ratio > 1, ratio, 1)
    return jnp.where(ratio > 1, 1 / jnp.polyval(ones, inverse), small**num_nodes / jnp.polyval(ones, small))


def square_root(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """√value with derivative 0 at 0, because an infinite one times 0 is NaN."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)
