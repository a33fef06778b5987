"""The free face and the interior of the prism, where W and S do not commute in the limit and no closed form is known.

Two approximations stand side by side, each with an error bar: truncated path space (exact at early times) and random
rotations of the limiting spectra (as accurate at all times). Source of the regimes: E. Golikov, Y. Gusev, D. Yarotsky,
arXiv:2606.05335.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.curve import Risks
from aetheory.core.solve import SolverStats
from aetheory.linear.flow import evolve
from aetheory.linear.parameters import LimitParameters
from aetheory.linear.theories.path_space import evolve_paths, path_space
from aetheory.linear.theories.rotations import rotated

PATH_LENGTHS = (9, 11, 13)
"""Shorter lengths of the truncation pairs that are tried in turn; the last has 127 + 255 states."""

_ROTATION_SIZE = 128
_NUM_ROTATIONS = 8
_ROTATION_SEED = 0
_COLUMN_CUT_SHARE = 2 / 3


class Estimate(NamedTuple):
    """Risks and the bracket around them, each of shape (times,)."""

    risks: Risks
    lower: Risks
    upper: Risks


class Solver(NamedTuple):
    """How the flows are integrated."""

    rtol: Float[Array, ""]
    max_steps: int
    adjoint: diffrax.AbstractAdjoint | None


def by_paths(
    parameters: LimitParameters,
    times: Float[Array, " times"],
    root: str,
    length: int,
    target_free: bool,
    solver: Solver,
) -> tuple[Estimate, SolverStats]:
    """The curve from the truncations of path space at `length` and `length` + 1, which bracket it.

    The one that cuts W and S after a whole column weighs 2/3: where the two are far apart it is the closer one by a
    factor of up to ten, where they are close the farther one by two.
    """
    pair, stats = [], []
    for cut in (length, length + 1):
        paths = path_space(root, cut, *parameters[:3], target_free=target_free)
        risks, solve_stats = evolve_paths(paths, times, **solver._asdict())
        pair.append(risks)
        stats.append(solve_stats)
    row_first = (length % 2 == 1) == (root == "input")
    row_cut, column_cut = pair if row_first else reversed(pair)
    middle = jax.tree.map(lambda row, column: row + _COLUMN_CUT_SHARE * (column - row), row_cut, column_cut)
    estimate = Estimate(middle, jax.tree.map(jnp.minimum, *pair), jax.tree.map(jnp.maximum, *pair))
    return estimate, _together(jax.tree.map(lambda *leaves: jnp.stack(leaves), *stats))


def by_rotations(
    parameters: LimitParameters, times: Float[Array, " times"], target_free: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """The mean over a few random rotations of the limiting spectra, with its bracket.

    The ranks of M(0) and S are whole numbers in a finite matrix: the curve is interpolated linearly in both, which
    leaves an error of second order in 1/rank and the derivatives in y and z. The bracket is two standard errors and
    1/rank² of the initial risk, added in squares. The rotations are the same in every call, so that curves are
    smooth functions of their parameters.
    """
    size = _ROTATION_SIZE
    share = jnp.stack([parameters.latent_ratio, 1 / jnp.maximum(parameters.sample_ratio, 1)])
    ranks = size * jnp.minimum(share, 1)
    nearest = jax.lax.stop_gradient(jnp.clip(jnp.round(ranks), 1, size))
    downwards = ((ranks < nearest) & (nearest > 1)) | (nearest == size)
    step = jnp.where(downwards, -jnp.ones_like(nearest), jnp.ones_like(nearest))
    directions = jnp.asarray([[0, 0], [1, 0], [0, 1]], ranks.dtype)
    corners = nearest[None] + step[None] * directions
    moved = (ranks - nearest) / step
    shares = jnp.concatenate([1 - jnp.sum(moved, keepdims=True), moved])

    def one(inputs: tuple[PRNGKeyArray, Float[Array, " two"]]) -> tuple[Risks, SolverStats]:
        key, corner = inputs
        ensemble = rotated(key, size, *parameters[:3], corner, target_free=target_free)
        return evolve(ensemble, times, **solver._asdict())

    keys = jax.random.split(jax.random.key(_ROTATION_SEED), _NUM_ROTATIONS)
    every_key, every_corner = jnp.repeat(keys, 3), jnp.tile(corners, (_NUM_ROTATIONS, 1))
    risks, stats = jax.lax.map(one, (every_key, every_corner))

    def interpolate(values: Float[Array, "runs times"]) -> Float[Array, "rotations times"]:
        return jnp.einsum("rct,c->rt", values.reshape(_NUM_ROTATIONS, 3, -1), shares)

    draws = jax.tree.map(interpolate, risks)
    mean = jax.tree.map(lambda values: jnp.mean(values, axis=0), draws)
    rounding = jax.lax.stop_gradient(parameters.initial_risk(target_free)) / jnp.min(nearest) ** 2
    width = jax.tree.map(lambda values: jnp.hypot(2 * _standard_error(values), rounding), draws)
    lower = jax.tree.map(jnp.subtract, mean, width)
    return Estimate(mean, lower, jax.tree.map(jnp.add, mean, width)), _together(stats)


def combine(first: Estimate, second: Estimate) -> Estimate:
    """At every time the mean of two estimates, weighted by the inverse squares of their half-widths."""

    def one(a: Any, b: Any, width_a: Any, width_b: Any) -> tuple[Any, Any]:
        square_a, square_b = width_a**2, width_b**2 + float(np.finfo(width_b.dtype).tiny)
        total = square_a + square_b
        return (a * square_b + b * square_a) / total, jnp.sqrt(square_a * square_b / total)

    risks, lower, upper = {}, {}, {}
    for name in ("train", "population"):
        widths = [
            jax.lax.stop_gradient(getattr(estimate.upper, name) - getattr(estimate.lower, name)) / 2
            for estimate in (first, second)
        ]
        value, width = one(getattr(first.risks, name), getattr(second.risks, name), *widths)
        risks[name], lower[name], upper[name] = value, value - width, value + width
    return Estimate(Risks(**risks), Risks(**lower), Risks(**upper))


def half_width(estimate: Estimate, initial_risk: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The largest half-width of the bracket over both risks and all times, as a share of the initial risk."""
    widths = [
        jnp.max(getattr(estimate.upper, name) - getattr(estimate.lower, name), axis=-1) / 2
        for name in ("train", "population")
    ]
    return jnp.maximum(*widths) / initial_risk


def _standard_error(values: Float[Array, "rotations times"]) -> Float[Array, " times"]:
    # the deviation is an error bar, and its derivative at 0 would be infinite
    deviation = jnp.std(jax.lax.stop_gradient(values), axis=0, ddof=1)
    error: Float[Array, " times"] = deviation / values.shape[0] ** 0.5
    return error


def _together(stats: SolverStats) -> SolverStats:
    """The cost of several solves as one: total steps, and success if all succeeded, with the first failure's code."""
    worst = jnp.argmin(stats.succeeded)
    return SolverStats(
        num_steps=jnp.sum(stats.num_steps),
        num_rejected_steps=jnp.sum(stats.num_rejected_steps),
        succeeded=jnp.all(stats.succeeded),
        result=jax.tree.map(lambda code: code[worst], stats.result),
    )


@eqx.filter_jit
def estimate(
    parameters: LimitParameters,
    times: Float[Array, " times"],
    solver: Solver,
    method: str,
    root: str,
    length: int,
    target_free: bool,
) -> tuple[Estimate, SolverStats]:
    """The curve of one problem, or of a batch of them, by "path-space", "rotations" or "combined"."""

    def one(parameters: LimitParameters) -> tuple[Estimate, SolverStats]:
        if method == "path-space":
            return by_paths(parameters, times, root, length, target_free, solver)
        rotations, stats = by_rotations(parameters, times, target_free, solver)
        if method == "rotations":
            return rotations, stats
        paths, path_stats = by_paths(parameters, times, root, length, target_free, solver)
        stats = _together(jax.tree.map(lambda *leaves: jnp.stack(leaves), path_stats, stats))
        return combine(paths, rotations), stats

    return one(parameters) if parameters.init_scale.ndim == 0 else jax.vmap(one)(parameters)
