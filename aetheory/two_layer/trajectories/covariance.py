"""Alternating descent on inputs of any covariance, predicted by a map of d × d matrices.

With B̃ = B D of unit rows, D² the variances, and M = B̃ᵀB̃: f(K) ≈ c₁²(K + αI) makes every step of the rows a linear map
from the right, B̃ ← B̃ T, with T a function of M and D alone,

    Q = (M+α)⁻¹ D² (M+α)⁻¹,   T = I + (2η/mean D²) [αQ + (1/n) tr(QM)],   M ← T M T · n/tr(·),
    R = (α/d) tr D² (M+α)⁻¹.

M and D do not commute, so that the spectrum of M does not determine its own change. For random rows M = D W D with W
free from D; here W has Marchenko–Pastur quantiles as eigenvalues and a random rotation.
Source: derived for this library from the risk and the method of arXiv:2212.13468.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import common_float_dtype, fail, is_concrete
from aetheory.core.curve import Curve, Values
from aetheory.core.schedule import Schedule
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats
from aetheory.core.theory import AbstractTheory
from aetheory.spectra.covariance import equal_shares
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, square_root
from aetheory.two_layer.network import normalised
from aetheory.two_layer.trajectories.spectrum import Numbers, checked_step
from aetheory.two_layer.trajectories.theories import DERIVED, over_batch, require_method

_SIZE, _NUM_ROTATIONS = 64, 4
"""Dimension of the matrices of random rows, and number of their rotations, the same in every call."""
_SIZE_ERROR = 4.0
"""Error that the size of the matrices leaves where rotations agree, in units of 1/size² of the zero map's risk."""


def trained(
    numbers: Numbers, variances: Float[Array, " dim"], rows: Float[Array, "rows dim"], schedule: Schedule
) -> tuple[Values, SolverStats]:
    """Risk, tr M²/n and overlap with the start, for rows B̃ (or any rows of the same M) and D²."""
    dim, power, alpha = len(variances), jnp.mean(variances), numbers.alpha
    units = numbers.rate * dim

    def scaled(rows: Float[Array, "rows dim"]) -> Float[Array, "rows dim"]:
        return rows * jnp.sqrt(units / jnp.sum(rows**2))

    def inverse(rows: Float[Array, "rows dim"]) -> Any:
        factor = jax.lax.linalg.cholesky(rows.T @ rows + alpha * jnp.eye(dim, dtype=rows.dtype))
        return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(dim, dtype=rows.dtype))

    def observe(rows: Float[Array, "rows dim"]) -> Values:
        # relative to the risk of the zero map
        risk = alpha * jnp.mean(jnp.diagonal(inverse(rows)) * variances) / power
        moment, overlap = jnp.sum((rows.T @ rows) ** 2) / units, jnp.sum(rows * start) / units
        return Values(risk=risk, second_moment=moment, overlap=overlap)

    def ascent(rows: Float[Array, "rows dim"]) -> Any:
        resolvent = inverse(rows)
        product = rows @ ((resolvent * variances[None, :]) @ resolvent)
        return (alpha * product + jnp.sum(product * rows) / units * rows) / power

    def advance(rows: Float[Array, "rows dim"]) -> Float[Array, "rows dim"]:
        return scaled(rows + 2 * numbers.step_size * ascent(rows))

    def velocity(rows: Float[Array, "rows dim"]) -> Float[Array, "rows dim"]:
        direction: Array = ascent(rows)
        return direction - jnp.sum(direction * rows) / units * rows

    start = scaled(rows)
    if schedule.rtol is None:
        values, stats = schedule.descend(checked_step(advance, observe), start)
    else:
        values, stats = schedule.follow(velocity, observe, start)
    return Values(**dict(values.items()) | {"risk": power * values.risk}), stats


def random_rows(
    key: Any, variances: Float[Array, " dim"], rate: Float[Array, ""], rank: Float[Array, ""]
) -> Float[Array, "dim dim"]:
    """W^{1/2} D with `rank` eigenvalues of W from the Marchenko–Pastur law and a random rotation."""
    dim = len(variances)
    shares = MarchenkoPastur(1 / rate, rate).shares(dim, rank)
    # drawn in one precision for both; the signs of the axes cancel in RᵀWR
    axes = jnp.linalg.qr(jax.random.normal(key, (dim, dim), jnp.float32).astype(variances.dtype))[0]
    return square_root(shares)[:, None] * axes.T * jnp.sqrt(variances)[None, :]


def _random_rows_trained(
    numbers: Numbers, variances: Float[Array, " dim"], schedule: Schedule, rotations: int, whole: bool
) -> tuple[Values, Values, SolverStats]:
    """Mean and deviation over rotations, interpolated between integer ranks unless `whole`."""
    dim = len(variances)
    rank = dim * jnp.minimum(numbers.rate, 1)
    below = jax.lax.stop_gradient(jnp.clip(jnp.floor(rank), 1, max(dim - 1, 1)))
    ends, shares = jnp.stack([below, below + 1]), jnp.stack([1 - (rank - below), rank - below])
    if whole:
        ends, shares = rank[None], jnp.ones_like(rank)[None]

    def one(key: Any) -> tuple[Values, SolverStats]:
        def at(end: Float[Array, ""]) -> tuple[Values, SolverStats]:
            return trained(numbers, variances, random_rows(key, variances, numbers.rate, end), schedule)

        found, stats = jax.lax.map(at, ends)
        return jax.tree.map(lambda each: jnp.tensordot(shares, each, 1), found), stats

    found, stats = jax.lax.map(one, jax.random.split(jax.random.key(0), rotations))
    mean = jax.tree.map(lambda values: jnp.mean(values, axis=0), found)
    spread = jax.tree.map(lambda values: jnp.std(jax.lax.stop_gradient(values), axis=0, ddof=1), found)
    return mean, spread, jax.tree.map(lambda leaf: jnp.min(leaf), stats)


def _encoder_coordinates(problem: Any, dtype: Any) -> tuple[Float[Array, " dim"], Float[Array, "rows dim"]]:
    """D² and B̃ in the eigenbasis of Σ, with at most as many rows as dimensions."""
    encoder, covariance = problem.encoder.astype(dtype), problem.covariance
    if covariance is None:
        covariance = jnp.ones(encoder.shape[1], dtype)
    covariance = covariance.astype(dtype)
    rows = normalised(encoder, covariance)[0]
    if covariance.ndim == 2:
        variances, axes = jnp.linalg.eigh(covariance)
        covariance, rows = jnp.maximum(variances, 0), rows @ axes
    rows = rows * jnp.sqrt(covariance)[None, :]
    return covariance, jnp.linalg.qr(rows, mode="r") if rows.shape[0] > rows.shape[1] else rows


@dataclass(frozen=True)
class MatrixDescent(AbstractTheory):
    """Alternating descent on inputs of any covariance, of random rows or of one encoder."""

    is_approximate: ClassVar[bool] = True

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        flow: bool = False,
        rtol: float | Float[Array, ""] = 1e-6,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Risk, second moment and overlap after these numbers of steps.

        With a `start`, for that encoder, by its own d × d matrix and without a bracket. Otherwise the mean over four
        random rotations of matrices of dimension at most 64, whose variances are means of equal shares; the bracket
        `lower`, `upper` is two standard deviations of a rotation and, added in squares, the error of their size.

        Arguments:
            problem: alternating, with an activation that is odd and not linear.
            times: numbers of steps.
            flow: predict the flow that small steps follow, at these times t = 2 · step_size · steps.
            rtol: relative tolerance of the flow.
            max_steps: largest number of solver steps of the flow.
            adjoint: how Diffrax differentiates the flow; reverse mode when omitted.
            throw: raise when the descent diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: the theory does not describe such a problem, or the descent diverges at this step size (with
                `throw`; in a traced program a RuntimeError).
            RuntimeError: the flow ran out of steps (with `throw`).
        """
        require_method(self.name, "alternating", problem)
        dtype = common_float_dtype(times, problem.encoder, problem.covariance, *problem.numbers)
        numbers = Numbers.of(problem, dtype)
        schedule = Schedule.of(times, not flow, dtype, rtol, max_steps, adjoint)
        if is_concrete(numbers.alpha) and (np.asarray(numbers.alpha) <= 0).any():
            raise fail("activation", f"one that is not linear for the {self.name}", problem.activation.name)
        lower = upper = None
        if problem.encoder is not None:
            values, stats = over_batch(trained, numbers, *_encoder_coordinates(problem, dtype), schedule)
        else:
            variances = problem.deviations.astype(dtype) ** 2
            variances = equal_shares(variances, _SIZE) if len(variances) > _SIZE else variances
            rank = len(variances) * np.asarray(numbers.rate) if is_concrete(numbers.rate) else 0.5
            whole = bool(np.all((rank == np.floor(rank)) | (rank > len(variances))))
            values, spread, stats = over_batch(
                _random_rows_trained, numbers, variances, schedule, _NUM_ROTATIONS, whole
            )
            error = _SIZE_ERROR / len(variances) ** 2
            errors = Values(risk=error * jnp.mean(variances), second_moment=error, overlap=error)
            width = jax.tree.map(lambda one, error: jnp.hypot(2 * one, error), spread, errors)
            lower, upper = (jax.tree.map(change, values, width) for change in (jnp.subtract, jnp.add))
        if throw:
            values = schedule.require(values, stats, "step_size", problem.step_size)
        shown = schedule.times if flow else jnp.asarray(times)
        return Curve.predicted(self, problem, shown, values, lower=lower, upper=upper, stats=stats)


MATRIX = MatrixDescent(
    name="matrix descent",
    formula="M ← T M T · n/tr(·), T = I + (2η/mean D²)[αQ + tr(QM)/n], Q = (M+α)⁻¹D²(M+α)⁻¹; R = (α/d) tr D²(M+α)⁻¹",
    citations=DERIVED,
    tested="sign, d = 200, η = .1: three blocks, r = .5 and 1.5, and variances 1/(u+.02), r = .5 and 1, 1 or 2 starts",
    error="R off by ≤ .0025 (blocks), .0041 (power law), mostly at the start, in the bracket; one encoder: ≤ .0018",
)
"""Alternating descent on Gaussian inputs of any covariance."""
