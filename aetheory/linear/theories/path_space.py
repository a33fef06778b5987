"""Path space: the finite matrices that stand for W and S when p, H and N are all large and comparable.

W (p × H, variance x/p) and X (p × N, variance 1/N), seen from one vertex of the chain H – p – N, act on the paths that
start there: they append an edge or take the last one away. In the state of the empty path the operators have all mixed
moments of the infinite matrices; cut at a path length L they have those of up to about L letters, so that the flow
run on them has that many exact Taylor coefficients.

Source: the planar limit of E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the operators are D. Voiculescu's free
Poisson elements on the full Fock space ("Lectures on free probability theory", 1998), over three vertices.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float, Int

from aetheory.core.curve import Risks
from aetheory.core.solve import SolverStats, solve_flow
from aetheory.linear.flow import Ensemble, vector_field
from aetheory.spectra.marchenko_pastur import square_root

ROOTS = ("input", "latent", "samples")
"""The vertices that paths can start from: p, H and N."""

# The edges that lead on from a vertex, and where they lead: W joins input and latent, X joins input and samples.
_EDGES = {"input": (("W", "latent"), ("X", "samples")), "latent": (("W", "input"),), "samples": (("X", "input"),)}


class PathSpace(eqx.Module):
    """W and S on the paths of bounded length, and the state in which they are looked at.

    Arguments:
        ensemble: W at time 0 and the tridiagonal S. Its rows are the paths that end at the input vertex, its columns
            those that end at the latent vertex; its offsets are the risks of the zero map.
        state: the root state, shape (rows,) for the roots "input" and "samples" (there: the edge X away from the
            root, where it is seen from first), (columns,) for "latent".
        latent_ratio: y = H/p.
        initial_population: the population risk at time 0.
        root: the vertex that the paths start from.
    """

    ensemble: Ensemble
    state: Float[Array, " states"]
    latent_ratio: Float[Array, ""]
    initial_population: Float[Array, ""]
    root: str = eqx.field(static=True)


class _Paths(NamedTuple):
    """Which entries of W and S are there, whatever x, y and z are.

    Arguments:
        shape: numbers of paths that end at the input and at the latent vertex. The former are ordered such that S is
            tridiagonal.
        appended, removed: (row, column) of the entries of W that append, or remove, an edge.
        samples_after, samples_before: for every row, 1 if an edge X can be appended, or removed.
        coupled: for every row but the last, 1 if two edges X lead from it to the next row.
        start: the row, or the column, of the root state.
    """

    shape: tuple[int, int]
    appended: Int[np.ndarray, "2 appended"]
    removed: Int[np.ndarray, "2 removed"]
    samples_after: Int[np.ndarray, " rows"]
    samples_before: Int[np.ndarray, " rows"]
    coupled: Int[np.ndarray, " rows_minus_one"]
    start: int


@lru_cache(maxsize=64)
def _paths(root: str, length: int) -> _Paths:
    ends: dict[str, list[str]] = {vertex: [] for vertex in ROOTS}

    def visit(path: str, vertex: str) -> None:
        ends[vertex].append(path)
        if len(path) < length:
            for edge, following in _EDGES[vertex]:
                visit(path + edge, following)

    visit("", root)
    # the rows u·X²ᵏ, k = 0, 1, …, that S couples follow each other
    rows = sorted(ends["input"], key=lambda path: (path.rstrip("X"), len(path)))
    row = {path: index for index, path in enumerate(rows)}
    column = {path: index for index, path in enumerate(ends["latent"])}
    appended = [(row[path + "W"], column[path]) for path in column if path + "W" in row]
    removed = [(row[path[:-1]], column[path]) for path in column if path.endswith("W")]
    return _Paths(
        shape=(len(row), len(column)),
        appended=np.array(appended, int).reshape(-1, 2).T,
        removed=np.array(removed, int).reshape(-1, 2).T,
        samples_after=np.array([len(path) < length for path in rows], int),
        samples_before=np.array([path.endswith("X") for path in rows], int),
        coupled=np.array([following == path + "XX" for path, following in pairwise(rows)], int),
        start=column[""] if root == "latent" else row["" if root == "input" else "X"],
    )


def path_space(
    root: str,
    length: int,
    init_scale: Float[Array, ""],
    latent_ratio: Float[Array, ""],
    sample_ratio: Float[Array, ""],
    *,
    target_free: bool = False,
) -> PathSpace:
    """The operators W and S on all paths of at most `length` edges.

    An edge W is appended with amplitude √(x · size of the vertex reached) and removed with √(x · size of the vertex
    left), an edge X with z in place of x, for sizes 1, y and 1/z of the vertices input, latent and samples.

    Arguments:
        root: where paths start: "input", "latent" or "samples".
        length: L, the most edges of a path. Even and odd ones cut W and S after a whole column or after a whole
            row, as Gauss–Radau and Gauss rules do, and are off in opposite directions while they are off by little.
        init_scale: x = pσ².
        latent_ratio: y = H/p.
        sample_ratio: z = p/N; 0 for S = I.
        target_free: leave out the target I.
    """
    paths = _paths(root, length)
    num_rows, num_columns = paths.shape
    dtype = init_scale.dtype
    weights = jnp.zeros(paths.shape, dtype)
    weights = weights.at[tuple(paths.appended)].set(square_root(init_scale))
    weights = weights.at[tuple(paths.removed)].set(square_root(init_scale) * square_root(latent_ratio))
    after, before = (jnp.asarray(count, dtype) for count in (paths.samples_after, paths.samples_before))
    target = 0.0 if target_free else 1.0
    spread = init_scale**2 * latent_ratio * (1 + latent_ratio)
    ensemble = Ensemble(
        weights=weights,
        spectrum=after + sample_ratio * before,
        scale=jnp.ones((), dtype),
        train_offset=jnp.full((), target, dtype),
        population_offset=jnp.full((), target, dtype),
        coupling=square_root(sample_ratio) * jnp.asarray(paths.coupled, dtype),
        target_free=target_free,
    )
    return PathSpace(
        ensemble,
        state=jnp.zeros(num_columns if root == "latent" else num_rows, dtype).at[paths.start].set(1),
        latent_ratio=latent_ratio,
        initial_population=target - 2 * target * init_scale * latent_ratio + spread,
        root=root,
    )


def path_risks(transposed: Float[Array, "columns rows"], paths: PathSpace) -> Risks:
    """The risks (1/p) tr (M−I)S(M−I) and (1/p) tr (M−I)² in the root state; from "samples", the second's derivative.

    From the latent vertex tr M S M = tr WᵀSW WᵀW is a trace over H. From the samples' vertex, which S = XXᵀ is needed
    to reach, only traces with an S in them can be seen: the population risk is then given by its derivative
    d/dt (1/p) tr (M−I)² = −(8/p) tr S M (M−I)², and its value here is that derivative.
    """
    ensemble, state = paths.ensemble, paths.state
    if paths.root == "latent":
        moved = state @ transposed
        weighted = transposed @ _covariance_times(moved, ensemble)
        gram = transposed @ moved
        linear_train, linear_population = state @ weighted, state @ gram
        if ensemble.target_free:
            linear_train = linear_population = jnp.zeros_like(linear_train)
        return Risks(
            ensemble.train_offset + paths.latent_ratio * (gram @ weighted - 2 * linear_train),
            ensemble.population_offset + paths.latent_ratio * (gram @ gram - 2 * linear_population),
        )
    error = transposed.T @ (transposed @ state)
    if not ensemble.target_free:
        error = error - state
    if paths.root == "samples":
        return Risks(error @ error, -8 * jnp.sum((transposed @ error) ** 2))
    return Risks(error @ _covariance_times(error, ensemble), error @ error)


def _covariance_times(vector: Float[Array, " rows"], ensemble: Ensemble) -> Float[Array, " rows"]:
    return ensemble.times_covariance(vector[None])[0]


def evolve_paths(
    paths: PathSpace,
    times: Float[Array, " times"],
    *,
    rtol: Float[Array, ""],
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None = None,
) -> tuple[Risks, SolverStats]:
    """The risks at `times` along the gradient flow of the truncated operators, and the cost.

    From the samples' vertex the population risk is integrated beside the flow.
    """

    def field(time: Any, state: Any, paths: PathSpace) -> Any:
        moved = vector_field(time, state[0], paths.ensemble)
        return (moved, path_risks(state[0], paths).population) if paths.root == "samples" else (moved,)

    def observe(_: Any, state: Any, paths: PathSpace) -> Risks:
        risks = path_risks(state[0], paths)
        return Risks(risks.train, state[1]) if paths.root == "samples" else risks

    transposed = paths.ensemble.weights.mT
    initial = (transposed, paths.initial_population) if paths.root == "samples" else (transposed,)
    with jax.default_matmul_precision("highest"):
        observed, _, stats = solve_flow(
            field,
            initial,
            times,
            paths,
            observe,
            rtol=rtol,
            max_steps=max_steps,
            adjoint=adjoint,
            norm=optimistix.max_norm,
        )
    return observed, stats
