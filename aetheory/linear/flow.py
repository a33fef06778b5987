"""The gradient flow of a weight-tied linear autoencoder on any ensemble, random or deterministic."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats, Stiffness, solve_flow
from aetheory.linear.modes import Penalty

_LOOSEST_FOLLOWED_MAP = 2.5e-5
"""The loosest tolerance of a flow of M: at 1e-2, 14 of 800 draws of p = 32, H = 48 got a negative eigenvalue, which
diverges."""

_SMALLEST_BLOCK = 96
"""Below this size a matrix product costs more in calls than symmetry saves in flops."""


class Bidiagonal(NamedTuple):
    """A lower bidiagonal matrix: its diagonal, shape (rank,), and what is below it, shape (rank − 1,)."""

    diagonal: Float[Array, " rank"]
    below: Float[Array, " rank_minus_one"]


class Ensemble(eqx.Module):
    """Weights W and a sample covariance S, with the linear functional that makes them a risk.

    The risks are, with M = W Wᵀ and the sum over independent blocks b,

        train      = train_offset      + Σ_b scale_b tr(M S M − 2 S M)_b
        population = population_offset + Σ_b scale_b tr(M P M − 2 P M)_b

    so that an offset is the risk of the zero map. A simulation is one block of scale 1/p in the eigenbasis of S; a
    limit is a few small deterministic blocks (1 × 1 where the eigenvectors of M and S decouple) weighted by a
    quadrature. Without the target I, the terms linear in M drop out of the risks and of the flow.

    Arguments:
        weights: W at time 0, shape (*blocks, rows, columns); its first `rank` rows are the range of S.
        spectrum: the diagonal of S on those rows, shape (*blocks, rank); S is 0 on the others.
        scale: shape (*blocks,).
        train_offset, population_offset: the risks of the zero map.
        population_covariance: P in the eigenbasis of S, shape (*blocks, rows, rows); `None` for the identity.
        coupling: the entries of S beside its diagonal, shape (*blocks, rank − 1), where S is tridiagonal; `None`
            where it is diagonal.
        factor: the bidiagonal B of S = B Bᵀ, where it is known (one block).
        target_free: leave out the target, as where the initial scale is infinite.
        follow_map: let the state of the flow be M in place of W (one block, with the target): cheaper where W has as
            many columns as rows, and as good where all eigenvalues of M are well above 0 (and without a penalty).
        penalty: weight decay and input noise, which act on all rows; `None` for none.
        tied: otherwise M = W₂ W₁, and `weights` holds W₂ and W₁ᵀ, shape (2, rows, columns) (one block, with a target).
    """

    weights: Float[Array, "*blocks_or_factors rows columns"]
    spectrum: Float[Array, "*blocks rank"]
    scale: Float[Array, "*blocks"]
    train_offset: Float[Array, ""]
    population_offset: Float[Array, ""]
    population_covariance: Float[Array, "*blocks rows rows"] | None = None
    coupling: Float[Array, "*blocks rank_minus_one"] | None = None
    factor: Bidiagonal | None = None
    target_free: bool = eqx.field(static=True, default=False)
    follow_map: bool = eqx.field(static=True, default=False)
    penalty: Penalty | None = None
    tied: bool = eqx.field(static=True, default=True)

    def target(self, num_rows: int) -> Float[Array, "*blocks num_rows rows"]:
        """The first rows of the identity, for each block."""
        *blocks, rows, _ = self.weights.shape
        return jnp.broadcast_to(jnp.eye(num_rows, rows, dtype=self.weights.dtype), (*blocks, num_rows, rows))

    def times_covariance(self, matrix: Float[Array, "*blocks rows columns"], axis: int = -1) -> Float[Array, "..."]:
        """A S for a matrix A of `rank` columns, or S A for one of `rank` rows where `axis` is −2."""

        def along(values: Float[Array, "*blocks rank"]) -> Float[Array, "..."]:
            return jnp.expand_dims(values, -3 - axis)

        product = matrix * along(self.spectrum)
        if self.coupling is None:
            return product
        # all neighbours in one pass over A; adding in place would take a pass for each
        edge = jnp.zeros_like(self.spectrum[..., :1])
        before = along(jnp.concatenate([edge, self.coupling], axis=-1))
        after = along(jnp.concatenate([self.coupling, edge], axis=-1))
        return product + _shifted(matrix, 1, axis) * before + _shifted(matrix, -1, axis) * after


def _shifted(matrix: Float[Array, "..."], by: int, axis: int) -> Float[Array, "..."]:
    """A matrix whose entries have moved by one place along `axis`, with zeros behind them."""
    moves = [(0, 0, 0)] * matrix.ndim
    moves[axis] = (by, -by, 0)
    return jax.lax.pad(matrix, jnp.zeros((), matrix.dtype), moves)


def vector_field(
    time: Any, transposed: Float[Array, "*blocks columns rows"], ensemble: Ensemble
) -> Float[Array, "*blocks columns rows"]:
    """dWᵀ/dt for dW/dt = −[(M−I)S + S(M−I)] W, and with a penalty − 2ε M W − γ W.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335, gradient flow of the tied linear autoencoder.
    """
    velocity = _reconstruction_field(transposed, ensemble)
    if ensemble.penalty is None:
        return velocity
    decay, noise = ensemble.penalty
    return velocity - 2 * noise * (_symmetric_product(transposed, transposed) @ transposed) - decay * transposed


def _reconstruction_field(
    transposed: Float[Array, "*blocks columns rows"], ensemble: Ensemble
) -> Float[Array, "*blocks columns rows"]:
    """2 S W − W (Wᵀ S W) − S W (Wᵀ W), transposed; without the target, no 2 S W.

    The state is Wᵀ: products of the form A Aᵀ run at full speed on every backend, those of the form Aᵀ A do not.
    Of three groupings the cheapest is taken: products with H × H matrices, with M, or (S of full rank) with the one
    matrix (M−I)S + S(M−I). They cost 4·columns²·(rows + rank), 6·columns·rows·rank and 4·columns·rows² flops, the
    first and the last a quarter less where symmetry is used.
    """
    rank, (columns, rows) = ensemble.spectrum.shape[-1], transposed.shape[-2:]
    if rank == rows and 5 * columns > 3 * rows:
        weights = transposed.mT
        error = _symmetric_product(weights, weights)
        if not ensemble.target_free:
            error = error - ensemble.target(rows)
        if ensemble.coupling is None:
            spectrum = ensemble.spectrum
            return -(transposed @ (error * (spectrum[..., :, None] + spectrum[..., None, :])))
        scaled = ensemble.times_covariance(error)
        return -(transposed @ (scaled + scaled.mT))
    inside = transposed[..., :rank]
    scaled = ensemble.times_covariance(inside)
    if 3 * rank * rows < 2 * columns * (rows + rank):
        overlap = inside.mT @ transposed
        cubic = scaled @ overlap
        inner = ensemble.times_covariance(transposed @ overlap.mT)
    else:
        cubic = _symmetric_product(scaled, inside) @ transposed
        inner = _symmetric_product(transposed, transposed) @ scaled
    moved = -inner if ensemble.target_free else 2 * scaled - inner
    if rank == rows:
        return moved - cubic
    return (-cubic).at[..., :rank].add(moved)


def untied_vector_field(
    time: Any, factors: Float[Array, "2 columns rows"], ensemble: Ensemble
) -> Float[Array, "2 columns rows"]:
    """d(W₂ᵀ, W₁)/dt, minus the gradients of ½ tr (M−I)S(M−I)ᵀ + (ε/2) ‖M‖² + (γ/2) (‖W₁‖² + ‖W₂‖²), M = W₂ W₁.

    With T = S + ε that is dW₂ᵀ = W₁ S − (W₁ T W₁ᵀ) W₂ᵀ − γ W₂ᵀ and dW₁ = W₂ᵀ S − (W₂ᵀ W₂) W₁ T − γ W₁.

    Source: A. Pretorius, S. Kroon, H. Kamper, arXiv:1806.05413, linear denoising autoencoders.
    """
    rank, rows = ensemble.spectrum.shape[-1], factors.shape[-1]
    seen = jnp.pad(jax.vmap(ensemble.times_covariance)(factors[..., :rank]), ((0, 0), (0, 0), (0, rows - rank)))
    decoder, encoder = factors
    driven = seen[1] if ensemble.penalty is None else seen[1] + ensemble.penalty.input_noise * encoder
    towards_decoder = seen[1] - _symmetric_product(driven, encoder) @ decoder
    velocity = jnp.stack([towards_decoder, seen[0] - _symmetric_product(decoder, decoder) @ driven])
    return velocity if ensemble.penalty is None else velocity - ensemble.penalty.weight_decay * factors


def untied_risks(time: Any, factors: Float[Array, "2 columns rows"], ensemble: Ensemble) -> Values:
    """Both risks at M = W₂ W₁, and `objective`, the train risk with the penalties (2L/p)."""
    product = factors[0].T @ factors[1]
    found = map_risks(time, product, ensemble)
    objective = found.train
    if ensemble.penalty is not None:
        decay, noise = ensemble.penalty
        objective = objective + ensemble.scale * (noise * jnp.sum(product**2) + decay * jnp.sum(factors**2))
    return Values(train=found.train, population=found.population, objective=objective)


def map_vector_field(time: Any, product: Float[Array, "rows rows"], ensemble: Ensemble) -> Float[Array, "rows rows"]:
    """dM/dt = −(A M + M A), A = (M−I)S + S(M−I), at M = W Wᵀ: the same flow, in 2·rank·rows·(2·rows − rank) flops.

    Source: as for `vector_field`.
    """
    rows, rank = product.shape[-1], ensemble.spectrum.shape[-1]
    error = product - ensemble.target(rows)
    # the first rows of A; below them there is only the transpose of what is beside their first columns
    first = ensemble.times_covariance(error[:rank], axis=-2)
    first = first + jnp.pad(ensemble.times_covariance(error[:rank, :rank]), ((0, 0), (0, rows - rank)))
    moved = first @ product
    if rank < rows:
        moved = jnp.concatenate([moved, ensemble.times_covariance(error[rank:, :rank]) @ product[:rank]])
    return -(moved + moved.T)


def train_error(
    initial: Float[Array, ""],
    transposed: Float[Array, "*blocks columns rows"],
    velocity: Float[Array, "*blocks columns rows"],
    error: Float[Array, "*blocks columns rows"],
    ensemble: Ensemble,
) -> Float[Array, ""]:
    """What errors of W change in twice the loss that the flow descends (the train risk, or with a penalty more)."""
    change = -2 * jnp.sum(ensemble.scale * jnp.sum(velocity * error, axis=(-2, -1)))
    return change / jnp.where(initial == 0, 1, initial)


def map_train_error(
    initial: Float[Array, ""],
    product: Float[Array, "rows rows"],
    velocity: Float[Array, "rows rows"],
    error: Float[Array, "rows rows"],
    ensemble: Ensemble,
) -> Float[Array, ""]:
    """What errors of M change in the train risk, 2 scale tr[(M−I) S δM], as a share of `initial`."""
    rows, rank = product.shape[-1], ensemble.spectrum.shape[-1]
    scaled = ensemble.times_covariance((product - ensemble.target(rows))[:, :rank])
    change = 2 * ensemble.scale * jnp.sum(scaled * error[:, :rank])
    return change / jnp.where(initial == 0, 1, initial)


def map_risks(time: Any, product: Float[Array, "rows rows"], ensemble: Ensemble) -> Values:
    """The train and population risk of one block with all p rows and the target at M, as sums of squares."""
    rank, rows = ensemble.spectrum.shape[-1], product.shape[-1]
    error = product - jnp.eye(rows, dtype=product.dtype)
    seen = error if ensemble.population_covariance is None else error @ ensemble.population_covariance
    train = ensemble.scale * _train_squares(error.T[:rank], ensemble)
    return Values(train=train, population=ensemble.scale * jnp.sum(seen * error))


def _train_squares(error: Float[Array, "*blocks rank rows"], ensemble: Ensemble) -> Float[Array, "*blocks"]:
    """tr (M−I) S (M−I) from the rows of M − I in the range of S."""
    if ensemble.factor is None:
        return jnp.sum(ensemble.spectrum * jnp.sum(error**2, axis=-1), axis=-1)
    diagonal, below = ensemble.factor
    after = jnp.concatenate([below, jnp.zeros_like(diagonal[:1])])
    return jnp.sum((error * diagonal[:, None] + _shifted(error, -1, -2) * after[:, None]) ** 2)


def risks(time: Any, transposed: Float[Array, "*blocks columns rows"], ensemble: Ensemble) -> Values:
    """The train and population risk of the ensemble at the weights W, given as Wᵀ.

    A risk that can reach 0 (columns ≥ rank of the covariance) is a sum of squares, so that it keeps its relative
    accuracy there; otherwise it is bounded below, and the cheaper traces of H × H matrices serve.
    """
    rank, (columns, rows) = ensemble.spectrum.shape[-1], transposed.shape[-2:]
    inside = transposed[..., :rank]
    gram = _symmetric_product(transposed, transposed)

    def traces(weighted_gram: Float[Array, "*blocks columns columns"]) -> Float[Array, "*blocks"]:
        quartic = jnp.sum(gram * weighted_gram, axis=(-2, -1))
        if ensemble.target_free:
            return quartic
        return quartic - 2 * jnp.trace(weighted_gram, axis1=-2, axis2=-1)

    def total(offset: Float[Array, ""], moved: Float[Array, "*blocks"]) -> Float[Array, ""]:
        return offset + jnp.sum(ensemble.scale * moved)

    squares_known = (ensemble.coupling is None or ensemble.factor is not None) and not ensemble.target_free
    if columns >= rank and squares_known:
        error = inside.mT @ transposed - ensemble.target(rank)
        fixed = ensemble.train_offset - jnp.sum(ensemble.scale * jnp.sum(ensemble.spectrum, axis=-1))
        train = total(fixed, _train_squares(error, ensemble))
    else:
        weighted = _symmetric_product(ensemble.times_covariance(inside), inside)
        train = total(ensemble.train_offset, traces(weighted))

    if ensemble.population_covariance is not None:
        weighted = transposed @ ensemble.population_covariance @ transposed.mT
        population = total(ensemble.population_offset, traces(weighted))
    elif columns >= rows and not ensemble.target_free:
        error = transposed.mT @ transposed - ensemble.target(rows)
        fixed = ensemble.population_offset - rows * jnp.sum(ensemble.scale)
        population = total(fixed, jnp.sum(error**2, axis=(-2, -1)))
    else:
        population = total(ensemble.population_offset, traces(gram))
    return Values(train=train, population=population)


def occupied_spectrum(
    state: Float[Array, "rows columns"], follow_map: bool, levels: Float[Array, " levels"]
) -> Float[Array, " levels"]:
    """Quantiles of the min(p, H) eigenvalues of M that are not 0 for good, from Wᵀ or M (one block)."""
    product = state if follow_map else _symmetric_product(state, state)
    return jnp.quantile(jnp.linalg.eigvalsh(product), levels)


def _symmetric_product(
    left: Float[Array, "*blocks columns rows"], right: Float[Array, "*blocks columns rows"]
) -> Float[Array, "*blocks columns columns"]:
    """left @ rightᵀ where that is symmetric: large blocks below the diagonal are copied from above it."""
    half = left.shape[-2] // 2
    if half < _SMALLEST_BLOCK:
        return left @ right.mT
    above = left[..., :half, :] @ right[..., half:, :].mT
    first = _symmetric_product(left[..., :half, :], right[..., :half, :])
    last = _symmetric_product(left[..., half:, :], right[..., half:, :])
    top = jnp.concatenate([first, above], axis=-1)
    return jnp.concatenate([top, jnp.concatenate([above.mT, last], axis=-1)], axis=-2)


def fastest_rate(transposed: Float[Array, "columns rows"], ensemble: Ensemble) -> Float[Array, ""]:
    """4.4 s_max max(1, |M|), which no rate of the flow exceeds: measured, 1.44 s_max at the start and 3.88 at M = I.

    s_max and |M| by Gershgorin's circles, |M| also by its Frobenius norm.
    """
    sides = jnp.zeros_like(ensemble.spectrum)
    if ensemble.coupling is not None:
        beside = jnp.abs(ensemble.coupling)
        sides = sides.at[:-1].add(beside).at[1:].add(beside)
    gram = transposed @ transposed.mT
    size = jnp.minimum(jnp.max(jnp.sum(jnp.abs(gram), axis=-1)), jnp.sqrt(jnp.sum(gram**2)))
    return 4.4 * jnp.max(ensemble.spectrum + sides) * jnp.maximum(1, size)


def evolve(
    ensemble: Ensemble,
    times: Float[Array, " times"],
    *,
    rtol: Float[Array, ""],
    step_size: Float[Array, ""] | None = None,
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None = None,
    deterministic: bool = False,
    turn: Float[Array, ""] | None = None,
    levels: Float[Array, " levels"] | None = None,
) -> tuple[Values, SolverStats]:
    """The risks of the ensemble at `times` along its gradient flow (or descent of `step_size`), and the cost.

    With `levels` these quantiles of M's spectrum are recorded too, as the value `spectrum`.

    Of a `deterministic` ensemble a step keeps the error of the worst entry below rtol, since a few of many may carry
    the risk. Of a random one it keeps that of the train risk below rtol as a share of the initial risk, and that of
    the weights, in the root mean square over their entries, below a few times as much: errors of all entries add up in
    the risk where it falls fast, and matter little later. From `turn` on a stiff flow of W is solved by a stabilised
    method.
    """
    # Euler's step of W is none of M, and under a penalty eigenvalues of M fall to 0
    follow_map = ensemble.follow_map and step_size is None and ensemble.penalty is None
    field: Any = map_vector_field if follow_map else vector_field if ensemble.tied else untied_vector_field
    observe: Any = map_risks if follow_map else risks if ensemble.tied else untied_risks
    state = _symmetric_product(ensemble.weights, ensemble.weights) if follow_map else ensemble.weights.mT
    goal_error = None
    if not deterministic:
        initial = observe(0, state, ensemble).train
        goal_error = eqx.Partial(map_train_error if follow_map else train_error, initial)

    def record(time: Any, state: Any, ensemble: Ensemble) -> Values:
        values: Values = observe(time, state, ensemble)
        if levels is None:
            return values
        return Values(**dict(values.items()), spectrum=occupied_spectrum(state, follow_map, levels))

    observed, _, stats = solve_flow(
        field,
        state,
        times,
        ensemble,
        record,
        rtol=jnp.minimum(rtol, _LOOSEST_FOLLOWED_MAP) if follow_map else rtol,
        step_size=step_size,
        max_steps=max_steps,
        adjoint=adjoint,
        norm=optimistix.max_norm if deterministic else optimistix.rms_norm,
        goal_error=goal_error,
        stiffness=None if turn is None or follow_map else Stiffness(turn, fastest_rate),
    )
    return observed, stats
