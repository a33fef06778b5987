"""The theories of dictionary recovery, each as one object."""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aetheory.core.checks import check_real, check_steps, fail, is_concrete
from aetheory.core.curve import Curve, Values
from aetheory.core.schedule import Schedule
from aetheory.core.solve import SolverStats
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.group_sparse.convergence import contraction_factor, fixed_point_norm, neighbourhood_drift
from aetheory.group_sparse.trajectories import Process, Training, descent, follow, follow_flow, single_entries

_FLOW_RTOL = 1e-7

Steps = Int[Array, " times"]
Bracketed = tuple[Values, Values | None, Values | None]


@dataclass(frozen=True)
class RecoveryTheory(AbstractTheory):
    """A closed-form result on the dictionaries of group-sparse autoencoders of one iteration.

    Arguments:
        values: predicted values of a problem of one precision at these steps, and their bracket.
    """

    values: Callable[[Any, Steps], Bracketed]

    @property
    def is_explicit(self) -> bool:
        """True: no training is followed."""
        return True

    def curve(self, problem: Any, times: Any) -> Curve:
        """Predicted values of a problem after these numbers of steps.

        Raises:
            ValueError: bad numbers of steps, or a network without groups or of several iterations.
        """
        steps = jnp.asarray(check_steps(times))
        check_network(problem, self.name, ("group",))
        arrays, names = problem.as_arrays(), problem.free_numbers
        numbers = jnp.broadcast_arrays(*(getattr(arrays, name) for name in names))
        arrays = dataclasses.replace(arrays, **dict(zip(names, numbers, strict=True)))
        values, lower, upper = self.values(arrays, steps)
        return Curve.predicted(self, problem, steps, values, lower=lower, upper=upper)


@dataclass(frozen=True)
class TrajectoryTheory(AbstractTheory):
    """A predicted training by order parameters, for the optimisers that it describes.

    Arguments:
        process: how a step changes the order parameters; see `trajectories`.
        optimizers: names of the optimisers that it describes; `None` for all.
    """

    process: Callable[..., Process]
    optimizers: tuple[str, ...] | None = None

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        flow: bool = False,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Values that a simulation would record after these numbers of steps, and false positives.

        `false_positives` is the number of inactive groups that a signal activates for each of its active groups.

        Arguments:
            problem: a `RecoveryProblem`; its numbers may be arrays (a batch) or traced.
            times: numbers of steps, shape (num_times,). Traced ones need not be whole, and are differentiated in
                forward mode only.
            flow: predict the flow that plain descent follows for small steps and large batches, at times η · steps.
            adjoint: how Diffrax differentiates the flow; reverse mode when omitted.
            throw: raise where training diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: bad numbers of steps; a network, optimiser or start that the theory does not describe; a
                learning rate with which training diverges; a flow of another optimiser.
            RuntimeError: training diverges for a traced number, or a flow ran out of steps.

        Warns:
            UserWarning: more false positives than active groups, where the predicted curve is too fast.
        """
        if flow and self.process is not descent:
            raise fail("flow", f"False for {self.name!r}, which has steps alone", flow)
        start = _start_norm(problem, self)
        if is_concrete(times) and not flow:
            check_steps(times)
        arrays, names = dataclasses.replace(problem, given=None).as_arrays(), problem.free_numbers
        dtype = arrays.threshold.dtype
        schedule = Schedule.of(times, not flow, dtype, _FLOW_RTOL, adjoint=adjoint)
        numbers = jnp.broadcast_arrays(*(getattr(arrays, name) for name in names), start.astype(dtype))
        if all(map(is_concrete, numbers)):
            schedule = dataclasses.replace(schedule, last=None)  # one program for all numbers of steps

        def one(*numbers: Array) -> tuple[Values, SolverStats]:
            single = dataclasses.replace(arrays, **dict(zip(names, numbers[:-1], strict=True)))
            training = Training.of(single, numbers[-1])
            return follow_flow(training, schedule) if flow else follow(self.process, training, schedule)

        if shape := numbers[0].shape:
            found = jax.vmap(one)(*map(jnp.ravel, numbers))
            values, stats = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)
        else:
            values, stats = one(*numbers)
        if throw:
            correlation = numbers[names.index("start_correlation")]
            wrong = (correlation <= 0) | (correlation > 1)
            if not is_concrete(wrong):
                values = eqx.error_if(values, wrong, "Argument `start_correlation` must be in (0, 1].")
            rate = problem.learning_rate if isinstance(problem.optimizer, str) else problem.optimizer
            values = schedule.require(values, stats, "learning_rate", rate)
            _warn_of_false_positives(values.false_positives)
        return Curve.predicted(self, problem, jnp.asarray(times), values, stats=stats)


def _warn_of_false_positives(found: Float[Array, "*batch times"]) -> None:
    if is_concrete(found) and (most := float(jnp.max(found))) > 1:
        message = f"Up to {most:.2g} false positives for each active group: the predicted curve is too fast."
        warnings.warn(message, UserWarning, stacklevel=4)


def check_network(problem: Any, name: str, networks: tuple[str, ...]) -> None:
    """Raise unless the network is one of these, of one iteration and with one threshold."""
    plain = problem.given is None or (problem.given[1].num_iterations == 1 and jnp.ndim(problem.threshold) == 0)
    if problem.network not in networks or not plain:
        kinds = "with groups" if networks == ("group",) else "with groups or the soft threshold (not one-sided)"
        requirement = f"{kinds}, one iteration and one threshold for {name!r}"
        raise fail("network", requirement, problem.network if plain else problem.given[1])


def _start_norm(problem: Any, theory: TrajectoryTheory) -> Float[Array, ""]:
    """Norm of the columns at the start; raises unless the theory describes the problem."""
    check_network(problem, theory.name, ("group", "sparse"))
    if theory.optimizers is not None and problem.optimizer not in theory.optimizers:
        known = " or ".join(map(repr, theory.optimizers))
        raise fail("optimizer", f"{known} for {theory.name!r}", problem.optimizer)
    requirement = f"in (0, 1] for {theory.name!r}"
    check_real("start_correlation", problem.start_correlation, requirement, minimum=0.0, maximum=1.0, strict=True)
    if problem.given is None:
        return jnp.ones(())
    source, network = problem.given
    if network.unit_norm or network.group_size not in (1, source.group_size):
        raise fail("network", f"with free columns, in groups of 1 or {source.group_size}", network)
    norms = jnp.linalg.norm(source.dictionary, axis=0)
    if is_concrete(norms) and not np.allclose(norms, 1, atol=1e-3):
        raise fail("source", f"one whose dictionary has columns of norm 1 for {theory.name!r}", source)
    return jnp.mean(jnp.linalg.norm(network.dictionary, axis=0))


def final_norms(problem: Any, steps: Steps) -> Bracketed:
    """Column norm at the end of training, for the middle norm of a code and, as bracket, its extremes."""

    def at(code_norm: Float[Array, "*batch"]) -> Values:
        norm = fixed_point_norm(problem.threshold, code_norm)
        return Values(column_norm=jnp.broadcast_to(norm[..., None], (*norm.shape, len(steps))))

    return at((problem.min_norm + problem.max_norm) / 2), at(problem.max_norm), at(problem.min_norm)


def published_bound(problem: Any, steps: Steps) -> Bracketed:
    """Squared distance Γ e_k by the published recurrence e ← (1 − ρ)e + log³n/Γ².

    At the start α = c, δ² = e = 2d(1−c) and ‖z‖ = c‖x‖ for each group, as for n → ∞; ρ is largest for equal groups.
    Source: arXiv:2102.07003, Theorem 2.
    """
    correlation, size = problem.start_correlation, problem.group_size
    start = 2 * size * (1 - correlation)
    preactivation = correlation * (problem.min_norm + problem.max_norm) / 2
    factor = contraction_factor(
        step_size=problem.learning_rate,
        shrinkage=jnp.clip(1 - problem.threshold / preactivation, 0, 1),
        active_probability=jnp.full_like(start, problem.num_active / problem.num_groups),
        alpha_min=correlation,
        alpha_max=correlation,
        group_size=size,
        closeness=jnp.sqrt(start),
    )
    factor, start = factor[..., None], start[..., None]
    count = steps.astype(start.dtype).reshape((1,) * (start.ndim - 1) + (-1,))
    # (1 − ρ)^k − 1 without cancellation, ρ ≤ 0
    growth = jnp.expm1(count * jnp.log1p(-factor))
    drifts = jnp.where(factor == 0, count, growth / jnp.where(factor == 0, 1, -factor))
    drift = neighbourhood_drift(problem.input_dim, problem.num_groups)
    bound = Values(distance=problem.num_groups * (start * (1 + growth) + drift * drifts))
    return bound, None, bound


def _derived(place: str) -> tuple[Citation, ...]:
    return (Citation("theodosis2021convergence", place, derived=True),)


_TESTED = "n = 950, 475 and 190, d = 1, 2 and 4, 1 to 10 dB, γ = 3, λ = 2, from a correlation of .56"
_ALL: tuple[AbstractTheory, ...] = (
    RecoveryTheory(
        name="fixed-point norm",
        formula="column norm s = λ/(2‖x‖) + √(1 + λ²/(4‖x‖²)), where training ends: s²(1 − λ/(s‖x‖)) = 1",
        citations=_derived("of the encoder (11) and decoder (12)"),
        tested="λ = 2, 4 ≤ ‖x‖ ≤ 5: n = 950 at 1 dB and n = 190 at 10 dB, one step of Adam an epoch",
        error="1.240 simulated at n = 950, 1.247 predicted at the middle norm; the end point only",
        values=final_norms,
    ),
    RecoveryTheory(
        name="published bound",
        formula="‖A_g − A*_g‖² ≤ (1 − ρ)‖A_g − A*_g‖² + log³n/Γ² a step of gradient descent, its constant set to 1",
        citations=(Citation("theodosis2021convergence", "Theorem 2"),),
        tested="against its recurrence; ρ against its formula at random arguments",
        error="ρ is never positive: the bound grows and never binds, where training contracts by .03 to .06 a step",
        values=published_bound,
    ),
    TrajectoryTheory(
        name="order-parameter map",
        formula="q ← q + η(pY + qh), e² ← e²(1 + ηh)² + η²S/b: plain stochastic descent, A = qA* + E, ‖E_i‖ = e",
        citations=_derived("of the loss (13) and descent (14)"),
        tested=_TESTED,
        error="of the distance, as a share of its start: .006 at n = 950, .006–.007 at 475; at 190 .02, .04 and .25 "
        "with 1.0, 1.8 and 4.4 false positives for each active group",
        process=descent,
        optimizers=("sgd",),
    ),
    TrajectoryTheory(
        name="single-entry process",
        formula="an entry of A has the gradient −(pY a* + hA + ξ); q and e² are averages over entries, each with its "
        "Adam",
        citations=_derived("of the loss (13), Adam as in Fig. 3"),
        tested=f"{_TESTED}; Adam",
        error="of the distance, as a share of its start: .006 at n = 950, also for the soft threshold on groups, "
        ".010–.016 at 475; at 190 .03, .06 and .32 with 1.3, 2.4 and 5.3 false positives for each active group",
        process=single_entries,
    ),
)
THEORIES = {theory.name: theory for theory in _ALL}
"""The theories by name."""
