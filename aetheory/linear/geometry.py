"""The triangular prism of Pareto-optimal monomials: computed, and then named.

At every order of the loss expansion, the monomials in p, H and N that no other exceeds at the same power of σ² span a
triangular prism in the plane of their exponents. Which of its faces, edges or vertices carries the monomials that
dominate decides the learning regime. Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Int

from aetheory.core.checks import fail
from aetheory.linear.expansion.series import coefficients
from aetheory.linear.faces import FACES, lies_on

Monomial = tuple[int, int, int]


@dataclass(frozen=True)
class Face:
    """A face, an edge or a vertex of the prism.

    Arguments:
        names: the two-dimensional faces that meet in it: one for a face, two for an edge, three for a vertex.
        monomials: exponents (m, n, j) of the monomials xᵐ yⁿ zʲ on it.
    """

    names: tuple[str, ...]
    monomials: tuple[Monomial, ...]

    @property
    def label(self) -> str:
        """Its name, such as "large-data ∩ free"."""
        return " ∩ ".join(self.names)

    @property
    def scaling(self) -> str:
        """How the dimensions grow where it dominates, face by face."""
        return " and ".join(FACES[name].scaling for name in self.names)

    @property
    def time_unit(self) -> str:
        """T such that its regime unfolds in T·t."""
        units = [FACES[name].time_unit for name in self.names]
        return " · ".join(unit for unit in units if unit != "1") or "1"


@dataclass(frozen=True)
class Prism:
    """The convex hull of the Pareto-optimal monomials of one order and risk, and its faces of every dimension.

    Arguments:
        order: s.
        risk: "train" or "population".
        monomials: exponents (m, n, j) of all Pareto-optimal monomials xᵐ yⁿ zʲ, in increasing order.
        faces, edges, vertices: those of the hull.
    """

    order: int
    risk: str
    monomials: tuple[Monomial, ...]
    faces: tuple[Face, ...]
    edges: tuple[Face, ...]
    vertices: tuple[Face, ...]


def pareto_monomials(order: int, risk: str = "train") -> tuple[Monomial, ...]:
    """The monomials of E R^{(s)}(0) that no other exceeds in p, H and N at the same power of σ².

    They are found by comparing all monomials of the exact coefficient: one is as large as another when none of its
    exponents of p, H and N is smaller.

    Arguments:
        order: s, from 0 to 10.
        risk: "train" or "population".

    Returns:
        Exponents (m, n, j) of xᵐ yⁿ zʲ = (pσ²)ᵐ (H/p)ⁿ (p/N)ʲ, in increasing order; the constant 1 of order 0 is
        left out, since it has no power of σ² to be compared at.

    Raises:
        ValueError: an order outside its range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the triangle: arXiv:2602.04548, Theorem 4.1.
    """
    by_power: dict[int, list[Monomial]] = {}
    for (p, latent, variance, inverse_samples), _ in coefficients(order, risk).polynomial.terms:
        by_power.setdefault(variance, []).append((p, latent, -inverse_samples))
    kept = [
        (power, latent, -samples)
        for power, terms in by_power.items()
        for _, latent, samples in _maximal(np.array(terms))
        if power > 0
    ]
    return tuple(sorted(kept))


def _maximal(terms: Int[np.ndarray, "terms 3"]) -> list[list[int]]:
    """The rows that no other row exceeds."""
    no_smaller = (terms[:, None] >= terms[None]).all(axis=-1)
    maximal: list[list[int]] = terms[~(no_smaller & ~no_smaller.T).any(axis=0)].tolist()
    return maximal


@lru_cache(maxsize=32)
def prism(order: int, risk: str = "train") -> Prism:
    """The prism of one order: the hull of the computed monomials, each facet named by the face that all of it lies on.

    Arguments:
        order: s, from 1 (train) or 2 (population), where the prism is no longer flat, to 10.
        risk: "train" or "population".

    Returns:
        A `Prism` with 5 faces, 9 edges and 6 vertices.

    Raises:
        ValueError: an order at which the prism is flat, or outside the range of the exact coefficients.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; its triangle: arXiv:2602.04548, Section 5.
    """
    monomials = pareto_monomials(order, risk)
    points = np.array(monomials)
    if np.linalg.matrix_rank(points - points[0]) < 3:
        least = 1 if risk == "train" else 2
        raise fail("order", f"at least {least} for the {risk} risk, for the prism is flat below", order)
    facets = dict(_named(facet, order, risk) for facet in _facets(points))
    faces, edges, vertices = (
        tuple(
            Face(names, tuple(sorted(members)))
            for names in combinations([name for name in FACES if name in facets], count)
            if (members := frozenset.intersection(*(facets[name] for name in names)))
        )
        for count in (1, 2, 3)
    )
    return Prism(order, risk, monomials, faces, edges, vertices)


def _facets(points: Int[np.ndarray, "points 3"]) -> list[frozenset[Monomial]]:
    """The points on each supporting plane of the hull."""
    from scipy.spatial import ConvexHull

    planes = np.unique(ConvexHull(points).equations.round(9), axis=0)
    on_plane = np.abs(points @ planes[:, :3].T + planes[:, 3]) < 1e-6
    return [frozenset(map(tuple, points[on].tolist())) for on in on_plane.T]


def _named(facet: frozenset[Monomial], order: int, risk: str) -> tuple[str, frozenset[Monomial]]:
    [name] = [name for name in FACES if all(lies_on((name,), monomial, order, risk) for monomial in facet)]
    return name, facet
