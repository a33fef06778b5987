"""Alternating descent on inputs of any covariance: a closed map of d × d matrices, whatever n is.

With B̃ = B D of unit rows, D² the variances, and M = B̃ᵀB̃: f(K) ≈ c₁²(K + αI) makes every step of the rows a linear map
from the right, B̃ ← B̃ T, with T a function of M and D alone,

    Q = (M+α)⁻¹ D² (M+α)⁻¹,   T = I + (2η/mean D²) [αQ + (1/n) tr(QM)],   M ← T M T · n/tr(·),
    R = (α/d) tr D² (M+α)⁻¹.

M and D do not commute, and no spectrum evolves by itself. Random rows are D W D with W free from D: here W is
Marchenko–Pastur quantiles, rotated at random.

Source: derived for this library from the risk and the method of arXiv:2212.13468.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import common_float_dtype, fail, is_concrete, static_integer
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import SolverStats
from aetheory.core.theory import AbstractTheory
from aetheory.spectra.marchenko_pastur import MarchenkoPastur
from aetheory.two_layer.network import normalised
from aetheory.two_layer.trajectories.descent import descend, require_bounded, whole_steps
from aetheory.two_layer.trajectories.start import Numbers
from aetheory.two_layer.trajectories.theories import DERIVED, over_batch, require_method

Square = Float[Array, "dim dim"]


class Inputs(eqx.Module):
    """What the map acts on.

    Arguments:
        variances: D², shape (dim,).
        rows: B̃ of the start in those coordinates, or any rows of the same M.
    """

    variances: Float[Array, " dim"]
    rows: Float[Array, "rows dim"]


def descended(
    inputs: Inputs, numbers: Numbers, times: Float[Array, " times"], last: int | None
) -> tuple[Values, SolverStats]:
    """Risk, tr M²/n and the overlap of the rows with their start after these numbers of steps."""
    dim, power = len(inputs.variances), jnp.mean(inputs.variances)
    units = numbers.rate * dim

    def scaled(rows: Float[Array, "rows dim"]) -> Float[Array, "rows dim"]:
        return rows * jnp.sqrt(units / jnp.sum(rows**2))

    start = scaled(inputs.rows)

    def inverse(rows: Float[Array, "rows dim"]) -> Square:
        factor = jax.lax.linalg.cholesky(rows.T @ rows + numbers.alpha * jnp.eye(dim, dtype=rows.dtype))
        found: Square = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(dim, dtype=rows.dtype))
        return found

    def observe(rows: Float[Array, "rows dim"]) -> Values:
        risk = numbers.alpha * jnp.mean(jnp.diagonal(inverse(rows)) * inputs.variances)
        moment, overlap = jnp.sum((rows.T @ rows) ** 2) / units, jnp.sum(rows * start) / units
        return Values(risk=risk, second_moment=moment, overlap=overlap)

    def advance(rows: Float[Array, "rows dim"]) -> Float[Array, "rows dim"]:
        resolvent = inverse(rows)
        pulled = (resolvent * inputs.variances[None, :]) @ resolvent
        seen = rows @ pulled
        pull = numbers.alpha * seen + jnp.sum(seen * rows) / units * rows
        return scaled(rows + 2 * numbers.step_size / power * pull)

    return descend(advance, observe, start, times, last, power)


def equal_shares(variances: Float[Array, " dim"], size: int) -> Float[Array, " size"]:
    """The means of equal shares of the sorted variances, or these themselves where they are no more."""
    if len(variances) <= size:
        return variances
    ordered = jnp.sort(variances)
    cumulative = jnp.concatenate([jnp.zeros_like(ordered[:1]), jnp.cumsum(ordered)]) * size / len(ordered)
    places, ends = (jnp.linspace(0, 1, number + 1, dtype=ordered.dtype) for number in (len(ordered), size))
    return jnp.diff(jnp.interp(ends, places, cumulative))


def random_rows(
    key: Any, variances: Float[Array, " dim"], rate: Float[Array, ""], rank: Float[Array, ""]
) -> Float[Array, "dim dim"]:
    """W^{1/2} D of independent rows: W with `rank` eigenvalues from the Marchenko–Pastur law, rotated at random."""
    dim = len(variances)
    shares = MarchenkoPastur(1 / rate, rate).shares(dim, rank)
    rotation = jax.random.orthogonal(key, dim, dtype=variances.dtype)
    roots = jnp.where(shares > 0, jnp.sqrt(jnp.where(shares > 0, shares, 1)), 0)
    return roots[:, None] * rotation * jnp.sqrt(variances)[None, :]


def _of_encoder(numbers: Numbers, inputs: Inputs, times: Any, last: Any) -> tuple[Values, SolverStats]:
    with jax.default_matmul_precision("highest"):
        return descended(inputs, numbers, times, last)


def _of_random_rows(
    numbers: Numbers, variances: Float[Array, " dim"], times: Any, last: Any, rotations: int, seed: int
) -> tuple[Values, Values, SolverStats]:
    """Mean and deviation over rotations; linear in the rank between whole ones, for n is any real number."""
    dim = len(variances)
    rank = dim * jnp.minimum(numbers.rate, 1)
    lower = jax.lax.stop_gradient(jnp.clip(jnp.floor(rank), 1, dim - 1))
    ends, share = jnp.stack([lower, lower + 1]), rank - lower

    def one(key: Any) -> tuple[Values, SolverStats]:
        def at(end: Float[Array, ""]) -> tuple[Values, SolverStats]:
            rows = random_rows(key, variances, numbers.rate, end)
            return descended(Inputs(variances, rows), numbers, times, last)

        found, stats = jax.lax.map(at, ends)
        return jax.tree.map(lambda both: (1 - share) * both[0] + share * both[1], found), stats

    with jax.default_matmul_precision("highest"):
        found, stats = jax.lax.map(one, jax.random.split(jax.random.key(seed), rotations))
    mean = jax.tree.map(lambda values: jnp.mean(values, axis=0), found)
    spread = jax.tree.map(lambda values: jnp.std(jax.lax.stop_gradient(values), axis=0, ddof=1), found)
    return mean, spread, jax.tree.map(lambda leaf: jnp.min(leaf), stats)


def _encoder_rows(problem: Any, dtype: Any) -> Inputs:
    """B̃ in the eigenbasis of Σ; no more rows than dimensions."""
    encoder, covariance = problem.encoder.astype(dtype), problem.covariance
    if covariance is None:
        covariance = jnp.ones(encoder.shape[1], dtype)
    covariance = covariance.astype(dtype)
    rows = normalised(encoder, covariance)[0]
    if covariance.ndim == 2:
        variances, axes = jnp.linalg.eigh(covariance)
        covariance, rows = jnp.maximum(variances, 0), rows @ axes
    rows = rows * jnp.sqrt(covariance)[None, :]
    return Inputs(covariance, jnp.linalg.qr(rows, mode="r") if rows.shape[0] > rows.shape[1] else rows)


@dataclass(frozen=True)
class MatrixDescent(AbstractTheory):
    """Alternating descent on inputs of any covariance, through a small d × d matrix, or that of one encoder."""

    is_approximate: ClassVar[bool] = True

    def curve(
        self, problem: Any, times: Any, *, size: int = 64, rotations: int = 4, seed: int = 0, throw: bool = True
    ) -> Curve:
        """Risk, second moment and overlap after these numbers of steps.

        With a `start`, of that encoder, by its own d × d matrix and without a bracket. Otherwise the mean over random
        rotations of small matrices, with two deviations of a rotation as the bracket `lower`, `upper`.

        Arguments:
            problem: alternating, with an activation that is odd and not linear.
            times: numbers of steps.
            size: of the matrices; variances are those of the inputs where these have no more dimensions, and means of
                equal shares of them otherwise.
            rotations: how many, at least 2.
            seed: of the rotations, which are the same in every call, so that curves are smooth in their parameters.
            throw: raise when the descent diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: an argument is out of its range, the theory does not speak of such a problem, or the step size
                lets the descent diverge (with `throw`; in a traced program a RuntimeError).
        """
        require_method(self.name, "alternating", problem)
        size, rotations = static_integer("size", size), static_integer("rotations", rotations)
        if rotations < 2:
            raise fail("rotations", "at least 2, for their spread is the bracket", rotations)
        vector, last = whole_steps(times)
        dtype = common_float_dtype(times, problem.encoder, problem.covariance, *problem.numbers)
        numbers, vector = Numbers.of(problem, dtype), vector.astype(dtype)
        if is_concrete(numbers.alpha) and (np.asarray(numbers.alpha) <= 0).any():
            raise fail("activation", f"one that is not linear for the {self.name}", problem.activation.name)
        lower = upper = None
        if problem.encoder is not None:
            values, stats = over_batch(_of_encoder, numbers, _encoder_rows(problem, dtype), vector, last)
        else:
            variances = equal_shares(problem.deviations.astype(dtype) ** 2, size)
            values, spread, stats = over_batch(_of_random_rows, numbers, variances, vector, last, rotations, seed)
            lower = jax.tree.map(lambda value, one: value - 2 * one, values, spread)
            upper = jax.tree.map(lambda value, one: value + 2 * one, values, spread)
        if throw:
            values = require_bounded(values, stats, values)
        return Curve(
            *(jnp.asarray(times), values, None, lower, upper),
            **{"stats": stats, "theory": self, "problem_type": type(problem), "label": self.name},
        )


MATRIX = MatrixDescent(
    name="matrix descent",
    formula="M ← T M T · n/tr(·), T = I + (2η/mean D²)[αQ + tr(QM)/n], Q = (M+α)⁻¹D²(M+α)⁻¹; R = (α/d) tr D²(M+α)⁻¹",
    citations=DERIVED,
    tested="",
    error="",
)
"""Alternating descent on Gaussian inputs of any covariance."""
