"""Theories of the training methods on isotropic inputs.

Source: derived for this library from the risk and the methods of arXiv:2212.13468.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import check_levels, common_float_dtype, fail, is_concrete
from aetheory.core.curve import Curve, Values
from aetheory.core.schedule import Schedule
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.two_layer.network import normalised
from aetheory.two_layer.trajectories import isotropic
from aetheory.two_layer.trajectories.spectrum import Numbers, Spectrum, checked_step

_NUM_NODES = 48
"""Nodes of the quadrature over the spectrum: 1e-6 in float64, .2 ≤ r ≤ 5."""
DERIVED = (Citation("shevchenko2023fundamental", derived=True),)
_TIED_TOLERANCE = 1e-4
"""Largest relative distance of A(0) from (s/c₁) B(0)ᵀ."""
_MIN_EDGE = 0.1
"""Least d (1−√r)² for the correction of order 1/n: below it the lowest eigenvalue lies within the fluctuations at the
edge 0. At d = 50 the correction is right to its noise at r = .9 and 1.1 (.13), and wrong by all of it at r = 1."""


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
    """The training of random rows, or of one encoder, on isotropic inputs, by the spectrum of K.

    Arguments:
        method: the method of the problems that it describes.
        velocity, risk, step: functions of the spectrum at the start, the numbers and the singular values (those of B,
            or `SingularValues` for the joint method); no `step` for a method that is a flow.
    """

    method: str
    velocity: Callable[[Spectrum, Numbers, Any], Any]
    risk: Callable[[Spectrum, Numbers, Any], Float[Array, "..."]]
    step: Callable[[Spectrum, Numbers, Any], Any] | None = None

    def curve(
        self,
        problem: Any,
        times: Any,
        *,
        flow: bool = False,
        finite_size: bool = False,
        quantiles: Sequence[float] | None = None,
        rtol: float | Float[Array, ""] = 1e-8,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Risk, second moment and overlap that a simulation of the problem would show.

        With a `start`, for that encoder, from its own singular values and with all terms of order 1/n; otherwise in the
        limit of random rows. Joint training starts from A(0) = 0, or from the A(0) of a `start` where it is
        proportional to B(0)ᵀ. Another A(0) shares no singular vectors with B(0), and no closed prediction is known:
        A(0) = 0 in its place is off by .05 to .11 of ε² in R for A(0) = ε G/√d, G Gaussian.

        Arguments:
            problem: of the theory's method, with isotropic inputs and an odd activation. Its numbers of units and
                dimensions, α and step size may be real, traced or arrays (a batch).
            times: flow times; for a descent numbers of steps, between which the curve is interpolated. A descent at
                traced numbers of steps is differentiated in forward mode only.
            flow: predict the flow that a descent follows for small steps, at these flow times: step_size · steps of
                joint training, twice that of the alternating one.
            finite_size: add the terms of order 1/n of random rows, of their spectrum and of f(K). Not for d (1−√r)²
                below .1, where the spectrum reaches down to 0 and the expansion fails at late times.
            quantiles: levels in [0, 1] of quantiles of the eigenvalues of K, which are added as the value `spectrum`,
                shape (num_times, num_levels).
            rtol: relative tolerance of a flow.
            max_steps: largest number of solver steps.
            adjoint: how Diffrax differentiates a flow; reverse mode when omitted.
            throw: raise when a flow does not finish or a descent diverges; otherwise `Curve.stats` says where.

        Raises:
            ValueError: the theory does not describe such a problem, or the descent diverges at this step size (with
                `throw`; in a traced program a RuntimeError).
            RuntimeError: a flow ran out of steps (with `throw`).

        Warns:
            UserWarning: `finite_size` near r = 1.
        """
        self._check(problem, finite_size, quantiles)
        stepwise = problem.is_descent and not flow
        dtype = common_float_dtype(times, problem.encoder, problem.decoder, *problem.numbers)
        schedule = Schedule.of(times, stepwise, dtype, rtol, max_steps, adjoint)
        encoder = None if problem.encoder is None else problem.encoder.astype(dtype)
        levels = None if quantiles is None else check_levels(quantiles).astype(dtype)
        start = (encoder, _tied_decoder(problem, dtype), finite_size)
        values, stats = over_batch(_trained, Numbers.of(problem, dtype), self, schedule, start, levels)
        if throw:
            values = schedule.require(values, stats, "step_size", problem.step_size)
        shown = jnp.asarray(times) if stepwise else schedule.times
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
            if np.any(edge < _MIN_EDGE):
                message = "is near 1 for this size: the correction of order 1/n fails there at late times"
                warnings.warn(f"The rate {problem.rate} {message}.", stacklevel=4)


def _trained(
    numbers: Numbers, theory: Trajectory, schedule: Schedule, given: tuple[Any, Any, bool], levels: Any
) -> tuple[Values, SolverStats]:
    """Values along the flow, or along the descent where the method has steps.

    The start is `given` by B(0) (`None` for random rows), the factor s of A(0) = (s/c₁) B(0)ᵀ (`None` for 0) and
    whether the law of random rows is corrected for their number; quantiles of K are recorded at the `levels`.
    """
    encoder, decoder, finite_size = given
    if encoder is None:
        start = Spectrum.random_rows(numbers.rate, numbers.num_units if finite_size else None, _NUM_NODES)
    else:
        start = Spectrum.encoder(encoder)
    first: Any = start.lengths
    if theory.method == "joint":
        scale = jnp.zeros_like(start.inverse_units) if decoder is None else decoder
        first = isotropic.SingularValues(scale * first, first)

    def observe(state: Any) -> Values:
        encoder = state.encoder if theory.method == "joint" else state
        moment, overlap = start.mean(encoder**4), start.mean(encoder * start.lengths)
        spectrum = {} if levels is None else {"spectrum": start.quantiles(encoder, levels)}
        return Values(risk=theory.risk(start, numbers, state), second_moment=moment, overlap=overlap, **spectrum)

    if schedule.rtol is None and theory.step is not None:
        return schedule.descend(checked_step(partial(theory.step, start, numbers), observe), first)
    return schedule.follow(partial(theory.velocity, start, numbers), observe, first)


def require_method(theory: str, method: str, problem: Any) -> None:
    """Raise unless the theory of that name and method describes the problem."""
    if problem.method != method:
        raise fail("theory", f"one of the method {problem.method!r} of the problem, as None is", theory)


def _tied_decoder(problem: Any, dtype: Any) -> Float[Array, ""] | None:
    """s of A(0) = (s/c₁) B(0)ᵀ; raises for another A(0)."""
    if problem.decoder is None:
        return None
    rows, decoder = normalised(problem.encoder.astype(dtype), None)[0], problem.decoder.astype(dtype).T
    scale = jnp.sum(decoder * rows) / len(rows)
    rest = jnp.linalg.norm(decoder - scale * rows) / len(rows) ** 0.5
    other = rest > _TIED_TOLERANCE * jnp.linalg.norm(decoder) / len(rows) ** 0.5
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
    velocity=isotropic.tied_velocity,
    risk=isotropic.tied_risk,
)
"""B by gradient flow on spheres, A = β Bᵀ with the best β."""

ALTERNATING = Trajectory(
    name="alternating descent",
    formula="λ ← λ(1+2ηφ)²/⟨λ(1+2ηφ)²⟩, φ = α/(λ+α)² + ⟨λ/(λ+α)²⟩; R = 1 − r⟨λ/(λ+α)⟩",
    citations=DERIVED,
    tested="sign, η = .1 and .5, and erf, r from .5 to 2, d = 200, one or two starts; one encoder: the same at d = 100",
    error="limit: R off by ≤ .0018 (sign), .0029 (erf), mostly at the start; one encoder: by ≤ 4.5e-5",
    method="alternating",
    velocity=isotropic.alternating_velocity,
    risk=isotropic.best_risk,
    step=isotropic.alternating_step,
)
"""Steps of B, each after the best A: the exact map at the step size of the problem."""

JOINT = Trajectory(
    name="joint training",
    formula="ȧ = c₁²[b − a(b²+α)], ḃ = a − a²b − νb, ν = ⟨ab − a²b²⟩; R = 1 − r⟨2ab − a²(b²+α)⟩",
    citations=DERIVED,
    tested="sign, erf and tanh, r from .5 to 2, d = 200, one or two starts; one encoder: sign and erf, d = 100",
    error="limit: R off by ≤ .0014 (sign), .0043 (erf, tanh; at d = 100 .0047); one encoder: by ≤ 7.2e-5",
    method="joint",
    velocity=isotropic.joint_velocity,
    risk=isotropic.joint_risk,
    step=isotropic.joint_step,
)
"""A and B by gradient flow from A(0) = 0 or ∝ B(0)ᵀ, or by steps of one size."""
