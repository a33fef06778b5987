"""What a limit of linear autoencoders is: the curves that it gives, and on which problems and options it gives them.

A limit is the flow of a simulation on a small deterministic ensemble, or an explicit curve where mathematics offers
one; both are tested against independent numerics.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_times, common_float_dtype, fail, is_concrete, static_integer
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished
from aetheory.core.theory import AbstractTheory
from aetheory.linear.data import check_data
from aetheory.linear.flow import Ensemble, evolve
from aetheory.linear.parameters import AbstractLinear, of_covariance
from aetheory.spectra.marchenko_pastur import Quadrature

Times = Float[Array, " times"]


class Estimate(NamedTuple):
    """Risks and the bracket around them, `None` where they are exact, each of shape (*batch, times)."""

    values: Values
    lower: Values | None = None
    upper: Values | None = None


class Solver(NamedTuple):
    """How flows are integrated."""

    rtol: Float[Array, ""]
    max_steps: int
    adjoint: diffrax.AbstractAdjoint | None


Solved = tuple[Estimate, SolverStats | None]
Limit = Callable[[Times, AbstractLinear, int, bool, Solver], Solved]
"""From times, ratios, the number of nodes, whether to correct in 1/p, and the solver: both risks, and their cost."""


@dataclass(frozen=True)
class Face:
    """A two-dimensional face of the prism of Pareto-optimal monomials xᵐ yⁿ zʲ.

    Arguments:
        holds: whether a monomial lies on it, from m, n, j, the order s and the largest j of the risk.
        scaling: how the dimensions grow where it dominates.
        time_unit: T such that the regime unfolds in T·t.
        error_per_share: error of its curve up to the natural time, per share of monomials off the face raised to
            `error_power`, beyond that at time 0; see `locate`.
        share: how that share is taken: by the "sizes" of monomials, "with samples" where powers of z off the face grow
            later and for longer, or "signed" where monomials of one order largely cancel each other.
    """

    holds: Callable[[int, int, int, int, int], bool]
    scaling: str
    time_unit: str
    error_per_share: float
    error_power: float = 0.8
    share: Literal["sizes", "with samples", "signed"] = "sizes"


class Accuracy(NamedTuple):
    """Where the default number of nodes was measured to hold 1e-6 of max(1, initial risk).

    Arguments:
        strength: the attribute that measures the initial scale, and its range.
        ratio: the ratio that matters, and its range.
        latest_time: in flow time.
        in_samples: that time is t·p/N.
        latest_decay: the same for γt, under weight decay.
    """

    strength: tuple[str, float, float]
    ratio: tuple[str, float, float]
    latest_time: float
    in_samples: bool = False
    latest_decay: float = math.inf


@dataclass(frozen=True)
class LinearTheory(AbstractTheory):
    """A limit that is explicit, or the flow of a small deterministic ensemble.

    Arguments:
        isotropic, general: the limit for Σ = I, and for any population covariance; `None` where it is not known.
        num_nodes, general_nodes: sizes of their default quadratures.
        of_spectrum: the limit on a data set's own spectrum, from the times, the ratios, the spectrum and, where it is
            measured on others, their variance along each eigenvector of S.
        is_explicit: whether no flow has to be solved for Σ = I.
        corrected: whether it has a first correction in 1/p.
        left_out: what the correction does not contain.
        penalised: whether weight decay and input noise are known.
        tied: whether it is of tied weights, W₁ = W₂ᵀ; otherwise of separate ones.
        face: the face of the prism, for a regime of one.
        accuracy: the range of the default quadrature.
    """

    isotropic: Limit | None = None
    general: Limit | None = None
    num_nodes: int = 0
    general_nodes: int = 0
    of_spectrum: Callable[[Times, AbstractLinear, Quadrature, Any], Values] | None = None
    is_explicit: bool = True
    corrected: bool = False
    left_out: str = ""
    penalised: bool = False
    tied: bool = True
    face: Face | None = None
    accuracy: Accuracy | None = None

    @property
    def is_special(self) -> bool:
        """Whether it is no face: an edge, a vertex, or known for anisotropic inputs only."""
        return self.face is None

    def curve(
        self,
        problem: AbstractLinear,
        times: Any,
        *,
        finite_size: bool = False,
        data: Any = None,
        held_out: Any = None,
        num_nodes: int | None = None,
        rtol: float | Float[Array, ""] = 1e-8,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Both risks in the limit.

        Arguments:
            problem: the dimensions and the initial variance (at 0, derivatives in it are reported as 0), or the ratios.
            times: flow times, shape (num_times,), nonnegative and in increasing order.
            finite_size: add the first correction in 1/p of real Gaussian data (mean-field; H still infinite) or
                weights (large-data). Other regimes have none and say so.
            data: samples, shape (num_samples, input_dim), whose own covariance spectrum replaces the Marchenko–Pastur
                law (mean-field only). They are centred first.
            held_out: other samples on which the population risk is measured; without them it is measured on isotropic
                inputs of unit variance.
            num_nodes: size of the quadrature. The default holds 1e-6 of max(1, initial risk) in float64 on the tested
                range; beyond, a warning says so unless the argument is given.
            rtol: relative tolerance of the flow; float32 raises it to 2e-6.
            max_steps: the most steps the solver may take.
            adjoint: how Diffrax differentiates the flow; reverse mode when omitted.
            throw: raise when the flow does not finish; otherwise `Curve.stats` says so.

        Raises:
            ValueError: an argument is out of its range, or not known to the regime.
            RuntimeError: the flow ran out of steps (with `throw`).
        """
        check_loss(problem, self.penalised, self.name, self.tied)
        self._check_choices(problem, finite_size, data, held_out)
        times, ratios, solver = prepared(problem, times, rtol, max_steps, adjoint, data)
        spectrum = None if data is None else _data_spectrum(problem, data, held_out)
        if num_nodes is None and spectrum is None:
            self._warn_outside_accuracy(ratios, times)
        default = self.num_nodes if problem.covariance is None else self.general_nodes
        size = default if num_nodes is None else static_integer("num_nodes", num_nodes)
        estimate, stats = over_batch(evaluate, ratios, self, times, spectrum, size, finite_size, solver)
        return as_curve(self, problem, times, estimate, stats, throw)

    def _check_choices(self, problem: AbstractLinear, finite_size: bool, data: Any, held_out: Any) -> None:
        if finite_size and not self.corrected:
            raise fail("finite_size", f"False for the {self.name} regime, which has no known correction", True)
        if data is not None and self.of_spectrum is None:
            raise ValueError(
                f"Argument `data` must be None for the {self.name} regime: only 'mean-field' takes a spectrum."
            )
        if data is not None and finite_size:
            raise fail("finite_size", "False with `data`, whose own spectrum has no size to correct for", True)
        if held_out is not None and data is None:
            raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
        ratio, covariance = problem.sample_ratio, problem.covariance
        if "small-data" in self.name and is_concrete(ratio) and np.any(np.asarray(ratio) == 0):
            raise fail("sample_ratio", f"positive (finitely many samples) for the {self.name} regime", ratio)
        if covariance is None and self.isotropic is None:
            raise fail("covariance", f"given (anisotropic inputs) for the {self.name} regime", None)
        if covariance is not None and self.general is None:
            raise fail("covariance", f"None (isotropic inputs) for the {self.name} regime", covariance)
        if covariance is not None and data is not None:
            raise fail("data", "None for a problem with a covariance of its own", data)

    def _warn_outside_accuracy(self, ratios: AbstractLinear, times: Times) -> None:
        if self.accuracy is None or not all(map(is_concrete, jax.tree.leaves((ratios, times)))):
            return
        outside = []
        for name, lower, upper in (self.accuracy.strength, self.accuracy.ratio):
            value = np.asarray(getattr(ratios, name), np.float64)
            if value.min() < lower or value.max() > upper:
                outside.append(f"`{name}` in [{value.min():.3g}, {value.max():.3g}], tested on [{lower:g}, {upper:g}]")
        last, unit = float(np.asarray(times)[-1]), 1.0
        if self.accuracy.in_samples:
            unit = float(np.max(ratios.sample_ratio))
        if (latest := last * unit) > self.accuracy.latest_time:
            name = "t p/N" if self.accuracy.in_samples else "t"
            outside.append(f"{name} up to {latest:.3g}, tested up to {self.accuracy.latest_time:g}")
        decay = 0.0 if ratios.penalty is None else float(np.max(ratios.penalty.weight_decay)) * last
        if decay > self.accuracy.latest_decay:
            outside.append(f"`weight_decay` t up to {decay:.3g}, tested up to {self.accuracy.latest_decay:g}")
        if outside:
            warnings.warn(
                f"The default `num_nodes` of the {self.name} regime is outside the range where it "
                f"was tested to hold 1e-6: {'; '.join(outside)}. Compare two values of `num_nodes`.",
                stacklevel=4,
            )


def check_loss(problem: AbstractLinear, known: bool, name: str, tied: bool = True) -> None:
    """Raise ValueError for a problem with weight decay, input noise or untied weights that a regime does not know."""
    if problem.tied is not tied:
        known_by = " (separate encoder and decoder weights: 'untied-modes')" if tied else ""
        raise fail("tied", f"{tied} for the {name} regime{known_by}", problem.tied)
    if problem.penalty is not None and not known:
        raise ValueError(
            f"Arguments `weight_decay` and `input_noise` must be None for the {name} regime; the interior, mean-field, "
            f"narrow-latent and large-data ones know them."
        )


def prepared(
    problem: AbstractLinear, times: Any, rtol: Any, max_steps: Any, adjoint: Any, *arrays: Any
) -> tuple[Times, AbstractLinear, Solver]:
    """Times, ratios and solver, checked, in the precision of all that is given."""
    check_solver_options(rtol, max_steps)
    times = check_times(times)
    dtype = common_float_dtype(times, *jax.tree.leaves(problem), *arrays)
    return times.astype(dtype), problem.ratios(dtype), Solver(as_float(rtol).astype(dtype), max_steps, adjoint)


def as_curve(
    theory: AbstractTheory, problem: AbstractLinear, times: Times, estimate: Estimate, stats: Any, throw: bool
) -> Curve:
    """The curve with its bracket, once its flow has finished and its risks are known to be nonnegative."""
    values, lower, upper = estimate
    if throw:
        values = require_finished(values, stats, values)
        values = _require_nonnegative(theory, values)
    return Curve.predicted(theory, problem, times, values, lower=lower, upper=upper, stats=stats)


def _require_nonnegative(theory: AbstractTheory, values: Values) -> Values:
    """The risks, or an error (at run time, under `jit`) where one is negative by more than rounding and quadrature."""
    message = (
        f"The {theory.name} curve becomes negative, which no mean square is: its formula does not hold for this "
        "problem at these times. Try earlier times or another theory; `throw=False` returns the curve as it is."
    )
    risks = (values.train, values.population)
    if all(map(is_concrete, risks)):
        if any(np.any(np.asarray(risk) < -_negligible(np, risk)) for risk in risks):
            raise RuntimeError(message)
        return values
    negative = jnp.stack([jnp.any(risk < -_negligible(jnp, risk)) for risk in risks])
    checked: Values = eqx.error_if(values, jnp.any(negative), message)
    return checked


def _negligible(array_library: Any, risk: Any) -> Any:
    """What a quadrature or the precision may leave below 0."""
    return 1e-4 * array_library.maximum(1, array_library.max(array_library.abs(risk)))


@eqx.filter_jit
def over_batch(function: Callable[..., Any], ratios: AbstractLinear, *arguments: Any, one_by_one: bool = False) -> Any:
    """`function(ratios, *arguments)` of one problem, or of each in a batch of any shape.

    By `vmap`, or `one_by_one`: on a CPU, 64 curves by rotations take a quarter of the time that way.
    """
    shape = ratios.init_scale.shape
    if not shape:
        return function(ratios, *arguments)
    shared = ratios.covariance
    flat = jax.tree.map(jnp.ravel, of_covariance(ratios, None))

    def single(one: AbstractLinear) -> Any:
        return function(of_covariance(one, shared), *arguments)

    found = jax.lax.map(single, flat) if one_by_one else jax.vmap(single)(flat)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]) if eqx.is_array(leaf) else leaf, found)


def evaluate(ratios: AbstractLinear, theory: LinearTheory, times: Times, spectrum: Any, *numerics: Any) -> Solved:
    """Both risks of one problem; `spectrum` is that of its data, and what is measured on others, where given."""
    if spectrum is not None:
        assert theory.of_spectrum is not None
        return Estimate(theory.of_spectrum(times, ratios, *spectrum)), None
    limit = theory.isotropic if ratios.covariance is None else theory.general
    assert limit is not None
    return limit(times, ratios, *numerics)


def _data_spectrum(problem: AbstractLinear, data: Any, held_out: Any) -> tuple[Quadrature, Any]:
    """The spectrum of a data set's covariance as a quadrature, once the data are known to fit the problem."""
    covariance = check_data(problem, data, held_out)
    input_dim, rank = static_integer("input_dim", problem.input_dim), covariance.spectrum.shape[0]
    nodes, weights = covariance.spectrum, jnp.full(rank, 1 / input_dim, covariance.spectrum.dtype)
    if rank < input_dim:
        nodes, weights = jnp.append(nodes, 0), jnp.append(weights, 1 - rank / input_dim)
    held = None if covariance.held_out is None else jnp.diagonal(covariance.held_out)
    return Quadrature(nodes, weights), held


def solved(ensemble: Ensemble, times: Times, solver: Solver) -> tuple[Estimate, SolverStats]:
    """Both risks along the flow of a deterministic ensemble."""
    values, stats = evolve(ensemble, times, **solver._asdict(), deterministic=True)
    return Estimate(values), stats


def same(risk: Times) -> Values:
    """Where train and population risk are one."""
    return Values(train=risk, population=risk)
