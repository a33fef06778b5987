"""Limits without a closed form: finite matrices with the spectra of M(0) and S, rotated against each other.

The eigenvectors of M(0) and of S are in random relative position, so that in the limit both are free. A rotation of
size n stands for that up to terms of order 1/n² where its lowest mixed moments are right (`balanced_rotations`).

Source: D. Voiculescu, "Limit laws for random matrices and free products", Invent. Math. 104 (1991); derived here.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import fail, static_integer
from aetheory.core.curve import Values
from aetheory.core.memory import require_memory
from aetheory.core.solve import SolverStats, combine_stats
from aetheory.linear.flow import Ensemble, evolve, risks, untied_risks
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.balanced_rotations import balanced_rotations, rotation_sizes
from aetheory.linear.theories.decoupled_modes import decoupled_risks, sample_covariance
from aetheory.linear.theories.theory import Estimate, Solver, Times
from aetheory.spectra.covariance import SpectrumTable
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, free_poisson, square_root

_FINEST = 1024
"""Shares of a spectrum that stand for all of it in decoupled modes."""

_NUM_NEIGHBOURS = 2
"""Rotations on which the change of the curve with a rank is measured: it hardly differs between rotations."""

_STATES_IN_FLOW = 24
"""Matrices of the size of W that an integration holds at a time."""

_LARGEST_SIZE = 4096


@dataclass(frozen=True)
class Rotations:
    """Equal shares of the spectra of M(0) and S, one rotated against the other; the mean over several rotations.

    A larger size reduces the systematic error like 1/size², more rotations the statistical one. A curve takes time
    proportional to number · size³.

    Arguments:
        size: rows of the matrices: 4, 8, 12, 16, 20, 24, 28, 32, 40, 44, 48, … (a prime 4k + 3 plus one, or twice,
            four times, … that).
        number: how many rotations, at least 2: their spread is the error bar.
        seed: of the rotations, which are the same in every call, so that curves are smooth in their parameters.

    Raises:
        ValueError: a size that is not among these, a number below 2, or more memory than there is.
    """

    size: int = 48
    number: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        size, number = static_integer("size", self.size), static_integer("number", self.number)
        known = rotation_sizes(_LARGEST_SIZE)
        if size not in known:
            place = int(np.searchsorted(known, size))
            near = ", ".join(map(str, known[max(place - 2, 0) : place + 1]))
            raise fail("size", f"a known size of a Hadamard matrix, such as {near}", self.size)
        if number < 2:
            raise fail("number", "at least 2, for the spread of the rotations is the error bar", self.number)
        needed = 8.0 * size**2 * (number + _STATES_IN_FLOW)
        require_memory(needed, f"{number} rotations of {size} rows", "Reduce `size` or `number`.")

    def matrices(self) -> Float[np.ndarray, "number size size"]:
        """The rotations, computed once for each process."""
        return balanced_rotations(self.size, self.number, self.seed)


def default_rotations(problem: AbstractLinear) -> Rotations:
    """Larger ones for inputs with a covariance of their own, whose spectrum has more detail, and for untied weights."""
    return Rotations() if problem.covariance is None and problem.tied else Rotations(96, 8)


class _Ranks(NamedTuple):
    """Integer ranks of M(0) and S near the wanted ones, and the weights of interpolation between them.

    Arguments:
        pairs: the ranks of M(0) and S: nearest ones, the next rank of M(0), the next rank of S.
        weights: of the two changes to the next ranks.
    """

    pairs: Float[Array, "three two"]
    weights: Float[Array, " two"]


def rotated_risks(
    ratios: AbstractLinear,
    rotations: Float[Array, "number size size"],
    times: Times,
    target_free: bool,
    solver: Solver,
) -> tuple[Estimate, SolverStats]:
    """Both risks as the mean over rotations, with an error bar of two standard errors and of what finite size leaves.

    The ranks of M(0) and S are whole numbers in a finite matrix: the curve is interpolated linearly in both, which
    leaves an error of second order in 1/rank and gives the derivatives in H/p and p/N. For inputs of any covariance,
    what the shares miss at the top of the spectrum is added as far as decoupled modes know it, and a quarter of it to
    the error bar.
    """
    number, size, _ = rotations.shape
    rows = size if ratios.tied else size // 2
    resolved = _resolve(ratios, size)
    ranks = _integer_ranks(resolved.ratios, size)
    table = None if ratios.covariance is None else sample_covariance(resolved.ratios).tabulate()
    initial = jax.lax.map(lambda rank: initial_shares(size, resolved.ratios, rank), ranks.pairs[:, 0])
    spectra = jax.lax.map(lambda rank: sample_shares(rows, resolved.ratios, rank, table), ranks.pairs[:, 1])
    neighbours = min(_NUM_NEIGHBOURS, number // 2)

    def one(inputs: tuple[Array, Array]) -> tuple[Values, SolverStats]:
        rotation, pair = inputs
        own = jax.tree.map(lambda leaf: leaf[pair], spectra)
        make = partial(rotated, target_free=target_free) if ratios.tied else rotated_untied
        ensemble = make(rotations[rotation], resolved.ratios, initial[pair], own)
        values, stats = evolve(ensemble, resolved.time_scale * times, **solver._asdict())
        return resolved.restore(values, ensemble), stats

    which = jnp.concatenate([jnp.arange(number), jnp.tile(jnp.arange(neighbours), 2)])
    pairs = jnp.concatenate([jnp.zeros(number, int), jnp.repeat(jnp.asarray([1, 2]), neighbours)])
    found, stats = jax.lax.map(one, (which, pairs))
    start = jax.lax.stop_gradient(ratios.initial_risk(target_free))

    def combine(curves: Float[Array, "runs times"]) -> tuple[Times, Times]:
        nearest, next_ranks = curves[:number], curves[number:].reshape(2, neighbours, -1)
        changes = jnp.mean(next_ranks - nearest[None, :neighbours], axis=1)
        mean = jnp.mean(nearest, axis=0) + ranks.weights @ changes
        return mean, jax.lax.stop_gradient(_half_width(nearest, changes, ranks, start, rows))

    combined = {name: combine(curves) for name, curves in found.items()}
    mean = Values(**{name: curve for name, (curve, _) in combined.items()})
    width = Values(**{name: half for name, (_, half) in combined.items()})
    if table is not None and ratios.penalty is None and ratios.tied:
        sizes = (min(_FINEST, len(ratios.covariance)), size)
        own_times = resolved.time_scale * times
        (whole, shared), _ = decoupled_risks(own_times, resolved.ratios, sizes, table, solver, target_free)
        missed = Values(
            train=resolved.latent_share * (whole.train - shared.train),
            population=resolved.latent_share * (whole.population - shared.population) / resolved.time_scale,
        )
        mean = jax.tree.map(jnp.add, mean, missed)
        width = jax.tree.map(lambda own, more: jnp.hypot(own, jax.lax.stop_gradient(more) / 4), width, missed)
    mean = jax.tree.map(lambda risk: jnp.maximum(risk, 0), mean)
    lower = jax.tree.map(lambda risk, own: jnp.maximum(risk - own, 0), mean, width)
    return Estimate(mean, lower, jax.tree.map(jnp.add, mean, width)), combine_stats(stats)


class _Resolved(NamedTuple):
    """A problem with at least one rank of M(0) and of S, and how its risks are those of the problem asked for.

    Arguments:
        ratios: of that problem.
        time_scale: its time for each unit of the time asked for.
        latent_share: H/p asked for, as a share of its own.
    """

    ratios: AbstractLinear
    time_scale: Float[Array, ""]
    latent_share: Float[Array, ""]

    def restore(self, values: Values, ensemble: Ensemble) -> Values:
        """The risks asked for, from those of an ensemble of this problem; their changes are smaller."""
        population = values.population
        if self.ratios.penalty is None:
            observe = risks if ensemble.tied else untied_risks
            start = observe(0.0, ensemble.weights.mT, ensemble).population
            population = start + (population - start) / self.time_scale

        def scaled(risk: Times, zero_map: Float[Array, ""]) -> Times:
            return zero_map + self.latent_share * (risk - zero_map)

        trained = {name: scaled(risk, ensemble.train_offset) for name, risk in values.items() if name != "population"}
        return Values(**trained, population=scaled(population, ensemble.population_offset))


def _resolve(ratios: AbstractLinear, size: int) -> _Resolved:
    """The problem itself, but with H/p of at least 1/size and p/N of at most `size`.

    Below H/p = 1/size the change of the risks is proportional to H/p, as for narrow latents. Beyond p/N = size the
    train risk is a function of tp/N, and the change of the population risk proportional to N/p, as for small data.
    Untied, half the size stands for p.
    """
    rows = size if ratios.tied else size // 2
    latent_ratio, sample_ratio = jnp.maximum(ratios.latent_ratio, 1 / rows), jnp.minimum(ratios.sample_ratio, rows)
    time_scale = jnp.where(ratios.sample_ratio > rows, ratios.sample_ratio / rows, 1)
    resolved: AbstractLinear = eqx.tree_at(
        lambda one: (one.latent_ratio, one.sample_ratio), ratios, (latent_ratio, sample_ratio)
    )
    if ratios.weight_decay is not None:
        resolved = eqx.tree_at(lambda one: one.weight_decay, resolved, ratios.weight_decay / time_scale)
    if ratios.input_noise is not None:
        resolved = eqx.tree_at(lambda one: one.input_noise, resolved, ratios.input_noise / time_scale)
    return _Resolved(resolved, time_scale, ratios.latent_ratio / latent_ratio)


def _half_width(
    nearest: Float[Array, "number times"],
    changes: Float[Array, "two times"],
    ranks: _Ranks,
    start: Float[Array, ""],
    size: int,
) -> Times:
    """Two standard errors, the curvature that interpolation in a rank leaves, and the error of a finite size.

    They are added in squares. The last is 2R(0)/(size·rank), as measured between ranks of 2 and 48.
    """
    number = len(nearest)
    statistical = 2 * jnp.std(nearest, axis=0, ddof=1) / number**0.5
    own_ranks = ranks.pairs[0]
    curvature = jnp.abs(ranks.weights * (1 - ranks.weights) / own_ranks) @ jnp.abs(changes)
    finite_size = 2 * start / (size * jnp.min(own_ranks))
    return jnp.sqrt(statistical**2 + curvature**2 + finite_size**2)


def _integer_ranks(ratios: AbstractLinear, size: int) -> _Ranks:
    """Integer ranks of M(0) and S near size·min(1, H/p) and size·(1 − the share of 0 in S).

    Untied, those of both factors side by side, size·min(1, H/2p), and of S in half the size.
    """
    occupied = 1 / jnp.maximum(ratios.sample_ratio, 1)
    if ratios.covariance is not None:
        occupied = 1 - sample_covariance(ratios).atom
    if ratios.tied:
        latent_ratio, largest = jnp.asarray(ratios.latent_ratio), jnp.full(2, float(size))
    else:
        latent_ratio, largest = ratios.latent_ratio / 2, jnp.asarray([float(size), size // 2])
    largest = largest.astype(latent_ratio.dtype)
    wanted = largest * jnp.minimum(jnp.stack([latent_ratio, occupied]), 1)
    nearest = jax.lax.stop_gradient(jnp.clip(jnp.round(wanted), 1, largest))
    downwards = ((wanted < nearest) & (nearest > 1)) | (nearest == largest)
    step = jnp.where(downwards, -jnp.ones_like(nearest), jnp.ones_like(nearest))
    pairs = nearest[None] + step[None] * jnp.asarray([[0, 0], [1, 0], [0, 1]], wanted.dtype)
    return _Ranks(pairs, (wanted - nearest) / step)


def initial_shares(size: int, ratios: AbstractLinear, rank: Float[Array, ""]) -> Float[Array, " size"]:
    """Equal shares of the law of M(0), free Poisson of rate H/p and jump pσ².

    Untied, of both factors of W₂ and W₁ᵀ side by side: rate H/2p, and a jump of 2p times the variance of a weight.

    Arguments:
        size: number of entries.
        ratios: x and y.
        rank: how many of them are not 0; a whole number near size·min(1, rate).
    """
    rate, jump = ratios.latent_ratio, ratios.init_scale
    law = free_poisson(rate, jump) if ratios.tied else free_poisson(rate / 2, 2 * jump)
    return law.shares(size, rank)


def sample_shares(
    size: int, ratios: AbstractLinear, rank: Float[Array, ""], table: SpectrumTable | None = None
) -> tuple[Float[Array, " size"], Float[Array, " size"] | None]:
    """Equal shares of the law of S, and of the population's variance beside them: `None` for Σ = I.

    Arguments:
        size: number of entries.
        ratios: z, and Σ.
        rank: how many eigenvalues of S are not 0; a whole number near size·min(1, 1/z).
        table: of the law of S, for any Σ; computed where omitted.
    """
    if ratios.covariance is None:
        return MarchenkoPastur(ratios.sample_ratio).shares(size, rank), None
    atoms: tuple[Array, Array] = sample_covariance(ratios).atoms(size, rank, table)
    return atoms


def rotated(
    rotation: Float[Array, "size size"],
    ratios: AbstractLinear,
    eigenvalues: Float[Array, " size"],
    measured: tuple[Float[Array, " size"], Float[Array, " size"] | None],
    target_free: bool = False,
) -> Ensemble:
    """M(0) = U diag(λ) Uᵀ and S = diag(s): equal shares of their two laws, U a rotation.

    For inputs of any covariance Σ is diag δ(s) beside S: it enters the population risk once, and linearly.

    Arguments:
        rotation: U.
        ratios: their penalty.
        eigenvalues: the `initial_shares` λ.
        measured: the `sample_shares`.
        target_free: leave out the target I.
    """
    size, dtype, (spectrum, seen) = len(rotation), eigenvalues.dtype, measured
    offset = jnp.full((), 0.0 if target_free else 1.0, dtype)
    return Ensemble(
        weights=rotation * square_root(eigenvalues)[None, :],
        spectrum=spectrum,
        scale=jnp.asarray(1 / size, dtype),
        train_offset=offset * jnp.mean(spectrum),
        population_offset=offset if seen is None else offset * jnp.mean(seen),
        population_covariance=None if seen is None else jnp.diag(seen),
        target_free=target_free,
        penalty=ratios.penalty,
    )


def rotated_untied(
    rotation: Float[Array, "size size"],
    ratios: AbstractLinear,
    squares: Float[Array, " size"],
    measured: tuple[Float[Array, " rows"], Float[Array, " rows"] | None],
) -> Ensemble:
    """Both factors of untied weights from one rotation, half of whose rows stand for each.

    The flow does not change where W₂ and W₁ᵀ are multiplied by one orthogonal matrix from the right. So the Gaussian
    2p × H matrix of both, one above the other, may be U diag(√λ) with its singular values √λ and a rotation U.

    Arguments:
        rotation: U.
        ratios: their penalty.
        squares: the `initial_shares` λ.
        measured: the `sample_shares`, half as many as the rotation has rows.
    """
    rows, (spectrum, seen) = len(rotation) // 2, measured
    factors = rotation * square_root(squares)[None, :]
    one = jnp.ones((), squares.dtype)
    return Ensemble(
        weights=factors.reshape(2, rows, 2 * rows),
        spectrum=spectrum,
        scale=one / rows,
        train_offset=jnp.mean(spectrum),
        population_offset=one if seen is None else jnp.mean(seen),
        population_covariance=None if seen is None else jnp.diag(seen),
        penalty=ratios.penalty,
        tied=False,
    )
