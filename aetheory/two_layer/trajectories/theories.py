"""The trainings on isotropic inputs as theories: what `predict` says of a problem by its method.

Source: derived for this library from the risk and the methods of arXiv:2212.13468.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_array, check_times, common_float_dtype, fail, is_concrete
from aetheory.core.checks import static_integer
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished, solve_flow
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.two_layer.network import normalised
from aetheory.two_layer.trajectories.descent import descend, require_bounded, whole_steps
from aetheory.two_layer.trajectories.isotropic import (
    Lengths,
    alternating_step,
    best_risk,
    joint_risk,
    joint_step,
    joint_velocity,
    tied_lengths,
    tied_risk,
)
from aetheory.two_layer.trajectories.start import Numbers, Start

NUM_NODES = 96
DERIVED = (Citation("shevchenko2023fundamental", derived=True),)
_TIED_DECODER = 1e-4
"""Share of A(0) that may be off (s/c₁) B(0)ᵀ."""
_HARD_EDGE = 4.0


class Task(eqx.Module):
    """One prediction, ready to be compiled.

    Arguments:
        times, last: when to record; the last number of steps, where it is known when the program is traced.
        encoder, decoder: B(0) and, as a multiple s of B(0)ᵀ/c₁, A(0); `None` for random rows, and for 0.
        levels: of the quantiles of K that are recorded too.
        rtol, max_steps, adjoint: of a flow.
        num_nodes: of the quadrature.
        finite_size: whether the law of random rows is corrected for their number.
    """

    times: Float[Array, " times"]
    encoder: Float[Array, "latent_dim input_dim"] | None
    decoder: Float[Array, ""] | None
    levels: Float[Array, " levels"] | None
    rtol: Float[Array, ""] | None = None
    adjoint: diffrax.AbstractAdjoint | None = None
    last: int | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=DEFAULT_MAX_STEPS)
    num_nodes: int = eqx.field(static=True, default=NUM_NODES)
    finite_size: bool = eqx.field(static=True, default=False)

    def start(self, numbers: Numbers) -> Start:
        """The spectrum at the start."""
        if self.encoder is not None:
            return Start.encoder(self.encoder)
        return Start.random_rows(numbers.rate, numbers.num_units if self.finite_size else None, self.num_nodes)

    def values(self, start: Start, lengths: Float[Array, " modes"], risk: Float[Array, ""]) -> Values:
        """What is recorded at one time."""
        moment, overlap = start.mean(lengths**4), start.mean(lengths * start.lengths)
        values = {"risk": risk, "second_moment": moment, "overlap": overlap}
        if self.levels is not None:
            values["spectrum"] = start.quantiles(lengths, self.levels)
        return Values(**values)


Outcome = tuple[Values, SolverStats | None]


def _tied(numbers: Numbers, task: Task) -> Outcome:
    start = task.start(numbers)
    lengths = tied_lengths(start, numbers, task.times)
    return jax.vmap(lambda one: task.values(start, one, tied_risk(start, numbers, one)))(lengths), None


def _alternating(numbers: Numbers, task: Task) -> Outcome:
    start = task.start(numbers)
    return descend(
        lambda lengths: alternating_step(start, numbers, lengths),
        lambda lengths: task.values(start, lengths, best_risk(start, numbers, lengths)),
        *(start.lengths, task.times, task.last),
    )


def _joint_start(start: Start, task: Task) -> Lengths:
    scale = jnp.zeros_like(start.inverse_units) if task.decoder is None else task.decoder
    return Lengths(scale * start.lengths, start.lengths)


def _joint_flow(numbers: Numbers, task: Task) -> Outcome:
    start = task.start(numbers)

    def velocity(_: Any, lengths: Lengths, numbers: Numbers) -> Lengths:
        return joint_velocity(start, numbers, lengths)

    def observe(_: Any, lengths: Lengths, numbers: Numbers) -> Values:
        return task.values(start, lengths.encoder, joint_risk(start, numbers, lengths))

    solver = {"rtol": task.rtol, "max_steps": task.max_steps, "adjoint": task.adjoint}
    values, _, stats = solve_flow(velocity, _joint_start(start, task), task.times, numbers, observe, **solver)
    return values, stats


def _joint_descent(numbers: Numbers, task: Task) -> Outcome:
    start = task.start(numbers)
    return descend(
        lambda lengths: joint_step(start, numbers, lengths),
        lambda lengths: task.values(start, lengths.encoder, joint_risk(start, numbers, lengths)),
        *(_joint_start(start, task), task.times, task.last),
    )


@eqx.filter_jit
def over_batch(training: Callable[..., Any], numbers: Numbers, *arguments: Any) -> Any:
    """A training of one problem, or of each in a batch of any shape."""
    shape = numbers.rate.shape
    if not shape:
        return training(numbers, *arguments)
    found = jax.vmap(lambda one: training(one, *arguments))(jax.tree.map(jnp.ravel, numbers))
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]) if eqx.is_array(leaf) else leaf, found)


@dataclass(frozen=True)
class Trajectory(AbstractTheory):
    """The training of random rows, or of one encoder, on isotropic inputs, through the spectrum of K = B Bᵀ.

    Arguments:
        method: of the problems that it speaks of.
        training: the curve of one problem.
    """

    method: str
    training: Callable[[Numbers, Task], Outcome]

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        finite_size: bool = False,
        quantiles: Sequence[float] | None = None,
        num_nodes: int = NUM_NODES,
        throw: bool = True,
    ) -> Curve:
        """The curve that a simulation of the problem would show: risk, second moment and overlap.

        With a `start`, of that encoder, from its own singular values and with all terms of order 1/n; otherwise the
        limit of random rows.

        Arguments:
            problem: of the theory's method, with isotropic inputs and an odd activation. Its numbers of units and
                dimensions, α and step size may be real, traced or arrays (a batch).
            times: flow times, or for a descent numbers of steps. Numbers of steps that are traced may be fractions,
                between which the curve is interpolated; derivatives are then in forward mode only.
            finite_size: add the terms of order 1/n of random rows: of their spectrum and of f(K). Not near r = 1, where
                the spectrum reaches down to 0 and the expansion fails at late times.
            quantiles: levels in [0, 1]; adds those of the eigenvalues of K as the value `spectrum`, shape
                (num_times, num_levels).
            num_nodes: size of the quadrature. The default holds 1e-6 in float64.
            throw: raise when a descent diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: an argument is out of its range, the theory does not speak of such a problem, or the step size
                lets the descent diverge (with `throw`; in a traced program a RuntimeError).

        Warns:
            UserWarning: `finite_size` near r = 1.
        """
        return self._predicted(self.training, problem, times, finite_size, quantiles, num_nodes, throw)

    def _predicted(
        self,
        training: Callable[[Numbers, Task], Outcome],
        problem: Any,
        times: Any,
        finite_size: bool,
        quantiles: Any,
        num_nodes: int,
        throw: bool,
        **solver: Any,
    ) -> Curve:
        self._check(problem, finite_size, quantiles)
        stepwise = problem.is_descent
        vector, last = whole_steps(times) if stepwise else (check_times(times), None)
        dtype = common_float_dtype(times, problem.encoder, *problem.numbers)
        numbers = Numbers.of(problem, dtype)
        encoder = None if problem.encoder is None else problem.encoder.astype(dtype)
        levels = None if quantiles is None else _levels(quantiles).astype(dtype)
        solver = {name: as_float(one).astype(dtype) if name == "rtol" else one for name, one in solver.items()}
        task = Task(
            *(vector.astype(dtype), encoder, _tied_decoder(problem, dtype), levels),
            **solver | {"last": last, "num_nodes": static_integer("num_nodes", num_nodes), "finite_size": finite_size},
        )
        values, stats = over_batch(training, numbers, task)
        if throw:
            values = (require_bounded if stepwise else require_finished)(values, stats, values)
        shown = jnp.asarray(times) if stepwise else task.times
        return Curve(shown, values, stats=stats, theory=self, problem_type=type(problem), label=self.name)

    def _check(self, problem: Any, finite_size: bool, quantiles: Any) -> None:
        require_method(self.name, self.method, problem)
        if not problem.is_isotropic:
            known = "'matrix descent'" if self.method == "alternating" else "'water-filling' for the end"
            raise fail("covariance", f"None or the identity for the {self.name}; see {known}", problem.covariance)
        if finite_size and problem.encoder is not None:
            raise fail("finite_size", "False with `start`, whose own spectrum has no size to correct for", True)
        if finite_size and quantiles is not None:
            raise fail("quantiles", "None with `finite_size`, which corrects means and knows no distribution", quantiles)
        if finite_size and is_concrete(problem.rate) and is_concrete(problem.num_units):
            edge = np.abs(1 - np.sqrt(np.asarray(problem.rate))) * np.sqrt(np.asarray(problem.num_units))
            if np.any(edge < _HARD_EDGE):
                message = "is near 1 for this size: the correction of order 1/n fails there at late times"
                warnings.warn(f"The rate {problem.rate} {message}.", stacklevel=5)


class JointTrajectory(Trajectory):
    """The same of A and B together: a flow, or a descent where the problem has a step size."""

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        finite_size: bool = False,
        quantiles: Sequence[float] | None = None,
        num_nodes: int = NUM_NODES,
        rtol: float | Float[Array, ""] = 1e-8,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """As `Trajectory.curve`, from A(0) = 0, or from A(0) ∝ B(0)ᵀ where the `start` is such an autoencoder.

        Another A(0) shares no singular vectors with B(0), and nothing closed is known then. A(0) = 0 in its place is
        off by about −.05 to −.11 ε² in R for A(0) = ε G/√d, G Gaussian: 1e-3 at ε = .1, .01 at .3, .08 at 1.

        Arguments:
            problem, times, finite_size, quantiles, num_nodes: as there.
            rtol, max_steps: relative tolerance of the flow and the most steps it may take.
            adjoint: how Diffrax differentiates the flow; reverse mode when omitted.
            throw: raise when the flow does not finish, or the descent diverges.

        Raises:
            ValueError: as there, or another A(0).
            RuntimeError: the flow ran out of steps (with `throw`).
        """
        check_solver_options(rtol, max_steps)
        common = (problem, times, finite_size, quantiles, num_nodes, throw)
        if problem.is_descent:
            return self._predicted(_joint_descent, *common)
        return self._predicted(self.training, *common, rtol=rtol, max_steps=max_steps, adjoint=adjoint)


def require_method(theory: str, method: str, problem: Any) -> None:
    """Raise unless the theory of that name, which is of this method, speaks of the problem."""
    if problem.method != method:
        raise fail("theory", f"one of the method {problem.method!r} of the problem, as None is", theory)


def _levels(quantiles: Any) -> Float[Array, " levels"]:
    levels = check_array("quantiles", quantiles, "a vector of levels between 0 and 1", 1)
    if is_concrete(levels) and ((levels < 0) | (levels > 1)).any():
        raise fail("quantiles", "a vector of levels between 0 and 1", quantiles)
    return levels


def _tied_decoder(problem: Any, dtype: Any) -> Float[Array, ""] | None:
    """s of A(0) = (s/c₁) B(0)ᵀ."""
    if problem.decoder is None:
        return None
    rows, decoder = normalised(problem.encoder.astype(dtype), None)[0], problem.decoder.astype(dtype).T
    scale = jnp.sum(decoder * rows) / len(rows)
    rest, whole = jnp.linalg.norm(decoder - scale * rows), jnp.linalg.norm(decoder)
    other = rest > _TIED_DECODER * whole
    requirement = (
        "an encoder (A(0) = 0), or an autoencoder with A(0) proportional to B(0)ᵀ: another A(0) shares no singular "
        "vectors with B(0), and its training has no closed prediction. That from A(0) = 0 is off by .05 to .11 of "
        "ε² = ‖A(0)‖²/n in R, for small ε"
    )
    if not is_concrete(other):
        scale = eqx.error_if(scale, other, f"Argument `start` must be {requirement}.")
    elif other:
        size = float(rest) / len(rows) ** 0.5
        raise ValueError(f"Argument `start` must be {requirement}, but got ε = {size:.2g}.")
    return scale * problem.activation.linear_coefficient


TIED = Trajectory(
    name="tied flow",
    formula="λ̇ = −4 λ(λ−m₂)/(m₂+α)², m₂ = ⟨λ²⟩, from the Marchenko–Pastur law of ratio r; R = 1 − r/(m₂+α)",
    citations=DERIVED,
    tested="",
    error="",
    method="tied",
    training=_tied,
)
"""B by gradient flow on spheres, A = β Bᵀ with the best β: explicit."""

ALTERNATING = Trajectory(
    name="alternating descent",
    formula="λ ← λ(1+2ηφ)²/⟨λ(1+2ηφ)²⟩, φ = α/(λ+α)² + ⟨λ/(λ+α)²⟩; R = 1 − r⟨λ/(λ+α)⟩",
    citations=DERIVED,
    tested="",
    error="",
    method="alternating",
    training=_alternating,
)
"""Steps of B, each after the best A: the exact map at the step size of the problem."""

JOINT = JointTrajectory(
    name="joint training",
    formula="ȧ = c₁²[b − a(b²+α)], ḃ = a − a²b − νb, ν = ⟨ab − a²b²⟩; R = 1 − r⟨2ab − a²(b²+α)⟩",
    citations=DERIVED,
    tested="",
    error="",
    method="joint",
    training=_joint_flow,
)
"""A and B by gradient flow from A(0) = 0 or ∝ B(0)ᵀ, or by steps of one size."""
