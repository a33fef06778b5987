"""Predicted training of group-sparse autoencoders, step by step, by order parameters.

Source: derived for this library in the limit n → ∞; no paper has it. See `order_parameters`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
from jaxtyping import Array, Bool, Float64, Int, PyTree

from aetheory.core.curve import Values
from aetheory.core.schedule import Schedule
from aetheory.core.solve import SolverStats
from aetheory.group_sparse.convergence import fixed_point_norm
from aetheory.group_sparse.order_parameters import Drift, MeanField
from aetheory.group_sparse.preactivation import Scalar
from aetheory.group_sparse.simulation import transformation

_NUM_ENTRIES = 20_000
_MAX_RELATIVE_NORM = 100.0
"""Column norm, relative to the one at the end of training, beyond which training is taken to diverge."""


class OrderParameters(NamedTuple):
    """The state of training.

    Attributes:
        overlap: q, the component of a column along the true column.
        excess: e², the squared norm of the rest of the column.
        memory: the share of the start in that rest, 1 at the start.
    """

    overlap: Scalar
    excess: Scalar
    memory: Scalar

    @property
    def norm(self) -> Scalar:
        """Norm √N of a column."""
        return jnp.sqrt(self.overlap**2 + self.excess)


class Process(NamedTuple):
    """How an optimiser moves a state: first state, its order parameters, and the next state by a drift."""

    start: PyTree
    read: Callable[[Any], OrderParameters]
    move: Callable[[Any, Drift, Int[Array, ""]], PyTree]


class Training(eqx.Module):
    """The numbers of one training: one compiled program serves all problems of a group size.

    Arguments:
        field: the mean field of the network.
        optimizer: the optimiser of the problem.
        learning_rate, batch_size: η and b.
        correlation, norm: correlation c₀ and norm of the columns at the start.
    """

    field: MeanField
    optimizer: str | optax.GradientTransformation = eqx.field(static=True)
    learning_rate: Scalar
    batch_size: Scalar
    correlation: Scalar
    norm: Scalar

    @classmethod
    def of(cls, problem: Any, norm: Scalar) -> "Training":
        """The training of a `RecoveryProblem` with arrays of one precision in its fields."""
        size = jnp.asarray(problem.batch_size, problem.threshold.dtype)
        numbers = (problem.learning_rate, size, problem.start_correlation, norm)
        return cls(MeanField.of(problem), problem.optimizer, *numbers)


def descent(training: Training) -> Process:
    """Plain stochastic gradient descent, q ← q + η(pY + qh) and e² ← e²(1 + ηh)² + η²S/b.

    The noise of a batch of b samples only adds to e², because its component along A* averages out.
    """
    eta, correlation, norm = training.learning_rate, training.correlation, training.norm

    def move(now: OrderParameters, drift: Drift, _: Int[Array, ""]) -> OrderParameters:
        factor, noise = 1 + eta * drift.growth, eta**2 * drift.noise / training.batch_size
        overlap = factor * now.overlap + eta * drift.alignment
        return OrderParameters(overlap, factor**2 * now.excess + noise, factor * now.memory)

    start = OrderParameters(correlation * norm, (1 - correlation**2) * norm**2, jnp.ones_like(norm))
    return Process(start, lambda now: now, move)


def single_entries(training: Training) -> Process:
    """Any optimiser that treats entries one by one, on a sample of entries of the dictionary.

    Each entry A = c₀a + √(1−c₀²) z, with independent a, z of variance 1/n, has the gradient −(pY a + hA + ξ), ξ of
    variance S/(bn). Optimisers that normalise entries, such as Adam, change the direction of E, so that q and e do not
    determine their own change. The sample is the same in each call, which makes curves smooth in the parameters.
    """
    n, correlation, dtype = training.field.input_dim, training.correlation, training.norm.dtype
    optimizer, key = transformation(training.optimizer, training.learning_rate), jax.random.key(0)
    true, other = (jnp.asarray(one, dtype) / jnp.sqrt(n) for one in entry_grid(_NUM_ENTRIES))
    rest = jnp.sqrt(jnp.maximum(1 - correlation**2, float(np.finfo(dtype).eps)))
    first = training.norm * (correlation * true + rest * other)

    def read(state: Any) -> OrderParameters:
        overlap = n * jnp.mean(true * state[0])
        excess = n * jnp.mean((state[0] - overlap * true) ** 2)
        return OrderParameters(overlap, excess, n * jnp.mean(other * state[0]) / (rest * training.norm))

    def move(state: Any, drift: Drift, number: Int[Array, ""]) -> Any:
        entries, optimizer_state = state
        # drawn in one precision, so that curves agree in both
        normal = jax.random.normal(jax.random.fold_in(key, number), entries.shape, jnp.float32).astype(dtype)
        noise = jnp.sqrt(drift.noise / (training.batch_size * n)) * normal
        gradient = -(drift.alignment * true + drift.growth * entries + noise)
        with jax.numpy_dtype_promotion("standard"):  # Optax mixes types
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, entries)
        return entries + updates.astype(dtype), optimizer_state

    with jax.numpy_dtype_promotion("standard"):
        return Process((first, optimizer.init(first)), read, move)


def entry_grid(count: int) -> Float64[np.ndarray, "2 count"]:
    """Two standard normal numbers for each entry, from a lattice, exactly orthogonal.

    Source: M. Roberts (2018), the R₂ sequence.
    """
    plastic = 1.324717957244746
    lattice = (0.5 + np.outer((plastic**-1, plastic**-2), np.arange(1, count + 1))) % 1
    first, second = scipy.special.ndtri(lattice)
    first = first / np.sqrt(np.mean(first**2))
    second = second - np.mean(second * first) * first
    return np.stack([first, second / np.sqrt(np.mean(second**2))])


@eqx.filter_jit
def follow(make: Callable[[Training], Process], training: Training, schedule: Schedule) -> tuple[Values, SolverStats]:
    """Values along a descent by steps."""
    field, process = training.field, make(training)
    floor, final_norm = distance_floor(field), final_shrinkage(field)[0]

    def step(state: Any, number: Int[Array, ""]) -> tuple[Values, Bool[Array, ""], Any]:
        now = process.read(state)
        drift = field.drift(now.overlap, now.excess)
        bounded = (now.overlap > 0) & (now.excess >= 0) & (now.norm < _MAX_RELATIVE_NORM * final_norm)
        return measured(training, now, drift, floor), bounded, process.move(state, drift, number)

    return schedule.descend(step, process.start)


@eqx.filter_jit
def follow_flow(training: Training, schedule: Schedule) -> tuple[Values, SolverStats]:
    """Values along the flow q̇ = pY + qh, ė = he of small steps without noise, at times η · steps."""
    field, start = training.field, descent(training).start
    floor = distance_floor(field)

    def read(state: tuple[Scalar, Scalar]) -> tuple[OrderParameters, Drift]:
        now = OrderParameters(state[0], jnp.maximum(start.excess, 0) * state[1] ** 2, state[1])
        return now, field.drift(now.overlap, now.excess)

    def velocity(state: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        drift = read(state)[1]
        return drift.alignment + drift.growth * state[0], drift.growth * state[1]

    return schedule.follow(
        velocity, lambda state: measured(training, *read(state), floor), (start.overlap, start.memory)
    )


def measured(training: Training, now: OrderParameters, drift: Drift, floor: Scalar) -> Values:
    """Values that a simulation would record, and the number of false positives for each active group.

    ‖A − A*‖² of m normalised columns is m[2 − 2c(1 − θ²/2)] at the correlation c = q/√N, where
    θ² = (d−1)(1 − c₀²)/(2n c₀²): rotations inside a group are symmetries, so that the angle of the start c₀ stays. The
    other floors rise to their value as the start is forgotten.
    """
    field, norm = training.field, now.norm
    columns = field.num_groups * field.group_size
    gap = now.excess / (norm * (norm + now.overlap))
    angle = (field.group_size - 1) / (2 * field.input_dim) * (training.correlation**-2 - 1)
    distance = columns * (2 * gap + (1 - gap) * angle) + (1 - now.memory) ** 2 * floor
    return Values(
        distance=distance,
        correlation=1 - distance / (2 * columns),
        column_norm=norm,
        found=drift.found,
        invented=drift.invented,
        false_positives=(field.num_groups / field.num_active - 1) * drift.invented,
    )


def final_shrinkage(field: MeanField) -> tuple[Scalar, Scalar]:
    """Column norm s at which a code of the mean energy is reproduced, and its shrinkage τ = 1/s²."""
    norm = fixed_point_norm(field.threshold, jnp.sqrt(field.energy))
    return norm, norm**-2


def distance_floor(field: MeanField) -> Scalar:
    """Squared distance at the end of training without noise, besides the rotation of the start.

    It has two parts, to leading order in 1/n. Columns of a true group are not orthogonal, A* = Q(I + C/2), and the best
    A = qQ(I + kC/2) has k = −l(1+τ)/(2(d+2)τ² + l(1+3τ)), l = 1 − τ: (m/n)(d−1)(1−k)²/4. And A*A*ᵀ is not a multiple
    of I, which a group experiences through the other active groups: (m²/n) [((γ−1)/Γ)(τ⟨J⟩ + ⟨J²⟩)/τ²]².
    """
    n, d, columns = field.input_dim, field.group_size, field.group_size * field.num_groups
    tau = final_shrinkage(field)[1]
    lost = 1 - tau
    k = -lost * (1 + tau) / (2 * (d + 2) * tau**2 + lost * (1 + 3 * tau))
    symmetric = columns / n * (d - 1) * (1 - k) ** 2 / 4
    slope, square = tau + lost / d, tau**2 + (1 - tau**2) / d
    share = (field.num_active - 1) / field.num_groups * (tau * slope + square) / tau**2
    return symmetric + columns**2 / n * share**2
