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

from aetheory.core.checks import check_array, common_float_dtype, fail, is_concrete, static_integer
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.two_layer.network import normalised
from aetheory.two_layer.trajectories.isotropic import (
    Lengths,
    alternating_step,
    alternating_velocity,
    best_risk,
    joint_risk,
    joint_step,
    joint_velocity,
    tied_lengths,
    tied_risk,
    tied_velocity,
)
from aetheory.two_layer.trajectories.schedule import Schedule
from aetheory.two_layer.trajectories.start import Numbers, Start

NUM_NODES = 48
DERIVED = (Citation("shevchenko2023fundamental", derived=True),)
_TIED_DECODER = 1e-4
"""Share of A(0) that may be off (s/c₁) B(0)ᵀ."""
_HARD_EDGE = 0.1
"""d (1−√r)², below which the lowest eigenvalue lies within the fluctuations at a hard edge. At d = 50 the correction is
right to its noise at r = .9 and 1.1 (.13), and wrong by all of it at r = 1."""


class Task(eqx.Module):
    """One prediction, ready to be compiled.

    Arguments:
        schedule: when to record.
        encoder, decoder: B(0) and, as a multiple s of B(0)ᵀ/c₁, A(0); `None` for random rows, and for 0.
        levels: of the quantiles of K that are recorded too.
        num_nodes: of the quadrature.
        finite_size: whether the law of random rows is corrected for their number.
    """

    schedule: Schedule
    encoder: Float[Array, "latent_dim input_dim"] | None
    decoder: Float[Array, ""] | None
    levels: Float[Array, " levels"] | None
    num_nodes: int = eqx.field(static=True)
    finite_size: bool = eqx.field(static=True)

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


def _tied(numbers: Numbers, task: Task) -> tuple[Values, SolverStats | None]:
    """Explicit in the limit; at finite n a flow."""
    start = task.start(numbers)
    if task.encoder is not None or task.finite_size:
        return task.schedule.run(
            lambda lengths, _: lengths,  # has no steps
            lambda lengths, numbers: tied_velocity(start, numbers, lengths),
            lambda lengths, numbers: task.values(start, lengths, tied_risk(start, numbers, lengths)),
            *(start.lengths, numbers),
        )
    lengths = tied_lengths(start, numbers, task.schedule.times)
    return jax.vmap(lambda one: task.values(start, one, tied_risk(start, numbers, one)))(lengths), None


def _alternating(numbers: Numbers, task: Task) -> tuple[Values, SolverStats]:
    start = task.start(numbers)
    return task.schedule.run(
        lambda lengths, numbers: alternating_step(start, numbers, lengths),
        lambda lengths, numbers: alternating_velocity(start, numbers, lengths),
        lambda lengths, numbers: task.values(start, lengths, best_risk(start, numbers, lengths)),
        *(start.lengths, numbers),
    )


def _joint(numbers: Numbers, task: Task) -> tuple[Values, SolverStats]:
    start = task.start(numbers)
    scale = jnp.zeros_like(start.inverse_units) if task.decoder is None else task.decoder
    return task.schedule.run(
        lambda lengths, numbers: joint_step(start, numbers, lengths),
        lambda lengths, numbers: joint_velocity(start, numbers, lengths),
        lambda lengths, numbers: task.values(start, lengths.encoder, joint_risk(start, numbers, lengths)),
        *(Lengths(scale * start.lengths, start.lengths), numbers),
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
    training: Callable[[Numbers, Task], tuple[Values, SolverStats | None]]

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        flow: bool = False,
        finite_size: bool = False,
        quantiles: Sequence[float] | None = None,
        num_nodes: int = NUM_NODES,
        rtol: float | Float[Array, ""] = 1e-8,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """The curve that a simulation of the problem would show: risk, second moment and overlap.

        With a `start`, of that encoder, from its own singular values and with all terms of order 1/n; otherwise the
        limit of random rows. Joint training starts from A(0) = 0, or from that of a `start` where it is proportional to
        B(0)ᵀ. Another A(0) shares no singular vectors with B(0), and nothing closed is known then: A(0) = 0 in its
        place is off by .05 to .11 of ε² in R for A(0) = ε G/√d, G Gaussian (1e-3 at ε = .1, .01 at .3, .08 at 1).

        Arguments:
            problem: of the theory's method, with isotropic inputs and an odd activation. Its numbers of units and
                dimensions, α and step size may be real, traced or arrays (a batch).
            times: flow times; for a problem of steps their numbers, between which the curve is interpolated. Where
                these are traced it is differentiated in forward mode only.
            flow: of a problem of steps the flow that small ones follow, at these flow times: step_size · steps of joint
                training, twice that of the alternating one.
            finite_size: add the terms of order 1/n of random rows, of their spectrum and of f(K). Not for d (1−√r)²
                below .1, where the spectrum reaches down to 0 and the expansion fails at late times.
            quantiles: levels in [0, 1]; adds those of the eigenvalues of K as the value `spectrum`, shape
                (num_times, num_levels).
            num_nodes: size of the quadrature. The default holds 1e-6 in float64, .2 ≤ r ≤ 5.
            rtol: relative tolerance of a flow that is not explicit.
            max_steps: the most steps it may take.
            adjoint: how Diffrax differentiates it; reverse mode when omitted.
            throw: raise when a flow does not finish, or a descent diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: an argument is out of its range, the theory does not speak of such a problem, or the step size
                lets the descent diverge (with `throw`; in a traced program a RuntimeError).
            RuntimeError: a flow ran out of steps (with `throw`).

        Warns:
            UserWarning: `finite_size` near r = 1.
        """
        self._check(problem, finite_size, quantiles)
        stepwise = problem.is_descent and not flow
        dtype = common_float_dtype(times, problem.encoder, problem.decoder, *problem.numbers)
        task = Task(
            schedule=Schedule.of(times, stepwise, dtype, rtol, max_steps, adjoint),
            encoder=None if problem.encoder is None else problem.encoder.astype(dtype),
            decoder=_tied_decoder(problem, dtype),
            levels=None if quantiles is None else _levels(quantiles).astype(dtype),
            num_nodes=static_integer("num_nodes", num_nodes),
            finite_size=finite_size,
        )
        values, stats = over_batch(self.training, Numbers.of(problem, dtype), task)
        if throw:
            values = task.schedule.require(values, stats)
        shown = jnp.asarray(times) if stepwise else task.schedule.times
        return Curve.predicted(self, problem, shown, values, stats=stats)

    def _check(self, problem: Any, finite_size: bool, quantiles: Any) -> None:
        require_method(self.name, self.method, problem)
        if not problem.is_isotropic:
            known = "'matrix descent'" if self.method == "alternating" else "'water-filling' for the end"
            raise fail("covariance", f"None or the identity for the {self.name}; see {known}", problem.covariance)
        if not finite_size:
            return
        if problem.encoder is not None:
            raise fail("finite_size", "False with `start`, whose own spectrum has no size to correct for", True)
        if quantiles is not None:
            raise fail("quantiles", "None with `finite_size`, which corrects means alone", quantiles)
        if is_concrete(problem.rate) and is_concrete(problem.input_dim):
            edge = np.asarray(problem.input_dim) * (1 - np.sqrt(np.asarray(problem.rate))) ** 2
            if np.any(edge < _HARD_EDGE):
                message = "is near 1 for this size: the correction of order 1/n fails there at late times"
                warnings.warn(f"The rate {problem.rate} {message}.", stacklevel=4)


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
    rest = jnp.linalg.norm(decoder - scale * rows) / len(rows) ** 0.5
    other = rest > _TIED_DECODER * jnp.linalg.norm(decoder) / len(rows) ** 0.5
    requirement = (
        "an encoder (A(0) = 0), or an autoencoder with A(0) proportional to B(0)ᵀ: another A(0) shares no singular "
        "vectors with B(0), and its training has no closed prediction; that from A(0) = 0 is off by .05 to .11 of "
        "ε² in R for a small ε = ‖A(0)‖/√n"
    )
    if not is_concrete(other):
        scale = eqx.error_if(scale, other, f"Argument `start` must be {requirement}.")
    elif other:
        raise ValueError(f"Argument `start` must be {requirement}, but got ε = {float(rest):.2g}.")
    found: Array = scale * problem.activation.linear_coefficient
    return found


TIED = Trajectory(
    name="tied flow",
    formula="λ̇ = −4 λ(λ−m₂)/(m₂+α)², m₂ = ⟨λ²⟩, from the Marchenko–Pastur law of ratio r; R = 1 − r/(m₂+α)",
    citations=DERIVED,
    tested="sign, erf and tanh, r from .5 to 2, d = 200, one or two starts; one encoder: sign and erf, d = 100",
    error="limit: R off by ≤ .0026 (sign), .0046 (erf, tanh), mostly as m₂(0) of a draw is; one encoder: by ≤ 4.3e-4",
    method="tied",
    training=_tied,
)
"""B by gradient flow on spheres, A = β Bᵀ with the best β: explicit."""

ALTERNATING = Trajectory(
    name="alternating descent",
    formula="λ ← λ(1+2ηφ)²/⟨λ(1+2ηφ)²⟩, φ = α/(λ+α)² + ⟨λ/(λ+α)²⟩; R = 1 − r⟨λ/(λ+α)⟩",
    citations=DERIVED,
    tested="sign, η = .1 and .5, and erf, r from .5 to 2, d = 200, one or two starts; one encoder: the same at d = 100",
    error="limit: R off by ≤ .0018 (sign), .0029 (erf), mostly at the start; one encoder: by ≤ 4.5e-5",
    method="alternating",
    training=_alternating,
)
"""Steps of B, each after the best A: the exact map at the step size of the problem."""

JOINT = Trajectory(
    name="joint training",
    formula="ȧ = c₁²[b − a(b²+α)], ḃ = a − a²b − νb, ν = ⟨ab − a²b²⟩; R = 1 − r⟨2ab − a²(b²+α)⟩",
    citations=DERIVED,
    tested="sign, erf and tanh, r from .5 to 2, d = 200, one or two starts; one encoder: sign and erf, d = 100",
    error="limit: R off by ≤ .0014 (sign), .0043 (erf, tanh; at d = 100 .0047); one encoder: by ≤ 7.2e-5",
    method="joint",
    training=_joint,
)
"""A and B by gradient flow from A(0) = 0 or ∝ B(0)ᵀ, or by steps of one size."""
