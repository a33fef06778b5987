"""Path space: the finite matrices that stand for W and S when p, H and N are all large and comparable.

W (p × H, variance x/p) and X (p × N, variance 1/N), seen from the input vertex of the chain H – p – N, act on the paths
that start there: they append an edge or take the last one away. In the state of the empty path the operators have all
mixed moments of the infinite matrices; cut at a path length L they have those of up to about L letters, so that the
flow run on them has that many exact Taylor coefficients.

Source: the planar limit of E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the operators are D. Voiculescu's free
Poisson elements on the full Fock space (Invent. Math. 104, 1991), over three vertices; derived here.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float, Int

from aetheory.core.checks import fail, static_integer
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats, solve_flow, together
from aetheory.linear.flow import Ensemble, vector_field
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.bracket import Estimate
from aetheory.linear.theories.theory import Solver, Times
from aetheory.spectra.marchenko_pastur import square_root

_COLUMN_CUT_SHARE = 2 / 3

_SHORTEST_MOVED = 4
"""The shortest truncation that has one before it."""

# The edges that lead on from a vertex, and where they lead: W joins input and latent, X joins input and samples.
_EDGES = {"input": (("W", "latent"), ("X", "samples")), "latent": (("W", "input"),), "samples": (("X", "input"),)}


@dataclass(frozen=True)
class PathSpace:
    """Two consecutive truncations of path space, exact at early times, which bracket the curve.

    Arguments:
        length: L, the shorter of the two, in edges, between 2 and 20; a state for each path, 2^(L/2) of them. `None`
            tries 9, 11 and 13 in turn until the bracket meets the tolerance.

    Raises:
        ValueError: a length out of its range.
    """

    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is not None and not 2 <= static_integer("length", self.length) <= 20:
            raise fail("length", "between 2 and 20 (which has 2047 + 1023 states), or None", self.length)

    def estimate(
        self, ratios: AbstractLinear, times: Times, target_free: bool, solver: Solver
    ) -> tuple[Estimate, SolverStats]:
        """The curve from the truncations at `length` and `length` + 1, in a bracket twice as wide as they are apart.

        The bracket is wider by L/2 times how far the curve moved from that of the two truncations before, which is what
        remains of an error that falls like 1/L: at late times and H/p ≈ 1 all of them lie on one side of the curve.
        """
        length = 11 if self.length is None else self.length
        middle, pair, stats = _pair(length, ratios, times, target_free, solver)
        # both can lie on one side: of eight random problems at H/p > 1/2 one left the curve out, by .001 of R(0)
        reach = jax.tree.map(lambda one, other: jnp.abs(one - other) / 2, *pair)
        if length >= _SHORTEST_MOVED:
            before, _, more = _pair(length - 2, ratios, times, target_free, solver)
            reach = jax.tree.map(lambda own, one, other: own + length / 2 * jnp.abs(one - other), reach, middle, before)
            stats = together(stats, more)
        lower, upper = (jax.tree.map(end, *pair) for end in (jnp.minimum, jnp.maximum))
        lower, upper = jax.tree.map(jnp.subtract, lower, reach), jax.tree.map(jnp.add, upper, reach)
        return Estimate(middle, lower, upper), stats


def _pair(
    length: int, ratios: AbstractLinear, times: Times, target_free: bool, solver: Solver
) -> tuple[Values, tuple[Values, Values], SolverStats]:
    """Between two consecutive truncations, and both.

    The one that cuts W and S after a whole column weighs 2/3: where the two are far apart it is the closer one by a
    factor of up to ten, where they are close the farther one by two.
    """
    cuts = [evolve_paths(path_ensemble(cut, ratios, target_free), times, solver) for cut in (length, length + 1)]
    first, second = (values for values, _ in cuts)
    row_cut, column_cut = (first, second) if length % 2 == 1 else (second, first)
    middle = jax.tree.map(lambda row, column: row + _COLUMN_CUT_SHARE * (column - row), row_cut, column_cut)
    return middle, (first, second), together(*(stats for _, stats in cuts))


class _Paths(NamedTuple):
    """Which entries of W and S are there, whatever x, y and z are.

    Arguments:
        shape: numbers of paths that end at the input and at the latent vertex. The former are ordered such that S is
            tridiagonal; the empty path comes first.
        appended, removed: (row, column) of the entries of W that append, or remove, an edge.
        samples_after, samples_before: for every row, 1 if an edge X can be appended, or removed.
        coupled: for every row but the last, 1 if two edges X lead from it to the next row.
    """

    shape: tuple[int, int]
    appended: Int[np.ndarray, "2 appended"]
    removed: Int[np.ndarray, "2 removed"]
    samples_after: Int[np.ndarray, " rows"]
    samples_before: Int[np.ndarray, " rows"]
    coupled: Int[np.ndarray, " rows_minus_one"]


@lru_cache(maxsize=64)
def _paths(length: int) -> _Paths:
    ends: dict[str, list[str]] = {vertex: [] for vertex in _EDGES}

    def visit(path: str, vertex: str) -> None:
        ends[vertex].append(path)
        if len(path) < length:
            for edge, following in _EDGES[vertex]:
                visit(path + edge, following)

    visit("", "input")
    # the rows u·X²ᵏ, k = 0, 1, …, that S couples follow each other
    rows = sorted(ends["input"], key=lambda path: (path.rstrip("X"), len(path)))
    row = {path: index for index, path in enumerate(rows)}
    column = {path: index for index, path in enumerate(ends["latent"])}
    appended = [(row[path + "W"], column[path]) for path in column if path + "W" in row]
    removed = [(row[path[:-1]], column[path]) for path in column]
    return _Paths(
        shape=(len(row), len(column)),
        appended=np.array(appended, int).reshape(-1, 2).T,
        removed=np.array(removed, int).reshape(-1, 2).T,
        samples_after=np.array([len(path) < length for path in rows], int),
        samples_before=np.array([path.endswith("X") for path in rows], int),
        coupled=np.array([following == path + "XX" for path, following in pairwise(rows)], int),
    )


def path_ensemble(length: int, ratios: AbstractLinear, target_free: bool = False) -> Ensemble:
    """The operators W and S on all paths of at most `length` edges; the first row is the empty path.

    An edge W is appended with amplitude √(x · size of the vertex reached) and removed with √(x · size of the vertex
    left), an edge X with z in place of x, for sizes 1, y and 1/z of the vertices input, latent and samples.

    Arguments:
        length: L, the most edges of a path. Even and odd ones cut W and S after a whole column or after a whole
            row, as Gauss–Radau and Gauss rules do, and are off in opposite directions while they are off by little.
        ratios: x, y and z; z = 0 for S = I.
        target_free: leave out the target I.
    """
    paths = _paths(length)
    x, y, z = (jnp.asarray(ratio) for ratio in (ratios.init_scale, ratios.latent_ratio, ratios.sample_ratio))
    weights = jnp.zeros(paths.shape, x.dtype)
    weights = weights.at[tuple(paths.appended)].set(square_root(x))
    weights = weights.at[tuple(paths.removed)].set(square_root(x) * square_root(y))
    after, before = (jnp.asarray(count, x.dtype) for count in (paths.samples_after, paths.samples_before))
    offset = jnp.full((), 0.0 if target_free else 1.0, x.dtype)
    return Ensemble(
        weights=weights,
        spectrum=after + z * before,
        scale=jnp.ones((), x.dtype),
        train_offset=offset,
        population_offset=offset,
        coupling=square_root(z) * jnp.asarray(paths.coupled, x.dtype),
        target_free=target_free,
        penalty=ratios.penalty,
    )


def path_risks(time: Any, transposed: Float[Array, "columns rows"], ensemble: Ensemble) -> Values:
    """The risks (1/p) tr (M−I)S(M−I) and (1/p) tr (M−I)² in the state of the empty path."""
    start = jnp.zeros(transposed.shape[1], transposed.dtype).at[0].set(1)
    error = transposed.T @ transposed[:, 0]
    if not ensemble.target_free:
        error = error - start
    return Values(train=error @ ensemble.times_covariance(error[None])[0], population=error @ error)


def evolve_paths(ensemble: Ensemble, times: Times, solver: Solver) -> tuple[Values, SolverStats]:
    """The risks at `times` along the gradient flow of the truncated operators, and the cost."""
    observed, _, stats = solve_flow(
        vector_field, ensemble.weights.mT, times, ensemble, path_risks, **solver._asdict(), norm=optimistix.max_norm
    )
    return observed, stats
