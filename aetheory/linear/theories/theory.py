"""What a regime of the prism is: its face, the law it stands on, its explicit curve, its deterministic ensemble.

A limit is the flow of a simulation on a small deterministic ensemble, or an explicit curve where mathematics offers
one; both are tested against each other.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from aetheory.linear.theories.bracket import Estimate
from aetheory.spectra.marchenko_pastur import Quadrature, square_root

Times = Float[Array, " times"]


@dataclass(frozen=True)
class Face:
    """A two-dimensional face of the prism of Pareto-optimal monomials xᵐ yⁿ zʲ.

    Arguments:
        name: of its regime.
        holds: whether a monomial lies on it, from m, n, j, the order s and the largest j of the risk.
        monomials: the same in words.
        scaling: how the dimensions grow where it dominates.
        time_unit: T such that the regime unfolds in T·t.
        small: the ratio that vanishes there.
        error_per_share: error of its curve up to the natural time, per share of monomials off the face; see `locate`.
    """

    name: str
    holds: Callable[[int, int, int, int, int], bool]
    monomials: str
    scaling: str
    time_unit: str
    small: str
    error_per_share: float


class Law(NamedTuple):
    """The measure that a curve integrates over.

    Arguments:
        spectrum: of S, or of M(0), as a quadrature.
        held_out: variance of other samples along each eigenvector of S, in place of 1 in the population risk.
    """

    spectrum: Quadrature
    held_out: Float[Array, " nodes"] | None = None


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
        faces: the names of the faces that meet in it: one, or two for an edge, three for a vertex.
        num_nodes, general_nodes: size of the default quadrature, and of that for any population covariance.
        law: the law it stands on, from the ratios, the number of nodes and p (for the correction) or None.
        explicit: the curve as an integral over that law; `None` where there is none.
        closed_form: the curve without one, where there is such a form.
        ensemble: the deterministic ensemble whose flow it is, from the ratios, the law and the number of nodes.
        general: the curve for any population covariance, from the times, the ratios, the number of nodes, whether to
            correct in 1/p and the solver; `None` where it is known for Σ = I only.
        corrected: whether the law has a first correction in 1/p.
        penalised: whether weight decay and input noise are known.
        tied: whether it is of tied weights, W₁ = W₂ᵀ; otherwise of separate ones.
        face: the face of the prism, for a regime of one.
        accuracy: the range of the default quadrature.
    """

    faces: tuple[str, ...] = ()
    num_nodes: int = 0
    general_nodes: int = 0
    law: Callable[[AbstractLinear, int, Any], Law] | None = None
    explicit: Callable[[Times, AbstractLinear, Any], Values] | None = None
    closed_form: Callable[[Times, AbstractLinear], Values] | None = None
    ensemble: Callable[[AbstractLinear, Any, int], Ensemble] | None = None
    general: Callable[..., tuple[Estimate, SolverStats | None]] | None = None
    corrected: bool = False
    penalised: bool = False
    tied: bool = True
    face: Face | None = None
    accuracy: Accuracy | None = None

    @property
    def is_special(self) -> bool:
        """Whether it is no face: an edge, a vertex, or known for anisotropic inputs only."""
        return len(self.faces) != 1

    @property
    def is_explicit(self) -> bool:
        """Whether no flow has to be solved."""
        return self.explicit is not None or self.closed_form is not None

    def curve(
        self,
        problem: AbstractLinear,
        times: Any,
        *,
        method: str | None = None,
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
            method: "closed-form", the default where there is one (no solver error, far faster in batches), or "flow".
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
        self._check_choices(problem, method, finite_size, data, held_out)
        self._check_covariance(problem, method, data)
        check_solver_options(rtol, max_steps)
        times = check_times(times)
        dtype = common_float_dtype(times, *jax.tree.leaves(problem), data)
        times, ratios = times.astype(dtype), problem.ratios(dtype)
        law = None if data is None else _data_law(problem, data, held_out)
        if num_nodes is None and law is None:
            self._warn_outside_accuracy(ratios, times)
        default = self.num_nodes if problem.covariance is None else self.general_nodes
        size = default if num_nodes is None else static_integer("num_nodes", num_nodes)
        flow = method == "flow" or not self.is_explicit or problem.covariance is not None
        solver = Solver(as_float(rtol).astype(dtype), max_steps, adjoint) if flow else None
        (values, lower, upper), stats = over_batch(evaluate, ratios, self, times, law, size, finite_size, solver)
        if throw:
            values = require_finished(values, stats, values)
        return Curve.predicted(self, problem, times, values, lower=lower, upper=upper, stats=stats)

    def _check_choices(self, problem: AbstractLinear, method: Any, finite_size: bool, data: Any, held_out: Any) -> None:
        allowed = [
            name for name, can in (("closed-form", self.is_explicit), ("flow", self.ensemble is not None)) if can
        ]
        if method not in (None, *allowed):
            raise fail("method", f"one of {', '.join(map(repr, allowed))} or None for the {self.name} regime", method)
        if finite_size and not self.corrected:
            raise fail("finite_size", f"False for the {self.name} regime, which has no known correction", True)
        if data is not None and self.name != "mean-field":
            raise ValueError(
                f"Argument `data` must be None for the {self.name} regime: only 'mean-field' takes a spectrum."
            )
        if data is not None and finite_size:
            raise fail("finite_size", "False with `data`, whose own spectrum has no size to correct for", True)
        if held_out is not None and data is None:
            raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
        if (
            "small-data" in self.faces
            and is_concrete(problem.sample_ratio)
            and np.any(np.asarray(problem.sample_ratio) == 0)
        ):
            raise fail(
                "sample_ratio", f"positive (finitely many samples) for the {self.name} regime", problem.sample_ratio
            )

    def _check_covariance(self, problem: AbstractLinear, method: Any, data: Any) -> None:
        if problem.covariance is None:
            if not self.is_explicit and self.ensemble is None:
                raise fail("covariance", f"given (anisotropic inputs) for the {self.name} regime", None)
            return
        if self.general is None:
            raise fail("covariance", f"None (isotropic inputs) for the {self.name} regime", problem.covariance)
        if method is not None or data is not None:
            name, value = ("method", method) if method is not None else ("data", data)
            raise fail(name, "None for a problem with a covariance of its own", value)

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


class Solver(NamedTuple):
    """How flows are integrated."""

    rtol: Float[Array, ""]
    max_steps: int
    adjoint: diffrax.AbstractAdjoint | None


@eqx.filter_jit
def over_batch(function: Callable[..., Any], ratios: AbstractLinear, *arguments: Any) -> Any:
    """`function(ratios, *arguments)` of one problem, or of each in a batch of any shape."""
    shape = ratios.init_scale.shape
    if not shape:
        return function(ratios, *arguments)
    shared = ratios.covariance
    flat = jax.tree.map(jnp.ravel, of_covariance(ratios, None))
    found = jax.vmap(lambda one: function(of_covariance(one, shared), *arguments))(flat)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]) if eqx.is_array(leaf) else leaf, found)


def evaluate(
    ratios: AbstractLinear,
    theory: LinearTheory,
    times: Times,
    law: Law | None,
    num_nodes: int,
    finite_size: bool,
    solver: Solver | None,
) -> tuple[Estimate, SolverStats | None]:
    """Both risks of one problem: explicit without a `solver`, along the flow of the limit's ensemble with one."""
    if ratios.covariance is not None:
        assert theory.general is not None
        return theory.general(times, ratios, num_nodes, finite_size, solver)
    if solver is None and theory.closed_form is not None and not finite_size and ratios.penalty is None:
        return Estimate(theory.closed_form(times, ratios)), None
    if law is None and theory.law is not None:
        law = theory.law(ratios, num_nodes, ratios.input_dim if finite_size else None)
    if solver is None:
        assert theory.explicit is not None
        return Estimate(theory.explicit(times, ratios, law)), None
    assert theory.ensemble is not None
    ensemble = replace(theory.ensemble(ratios, law, num_nodes), penalty=ratios.penalty)
    values, stats = evolve(ensemble, times, **solver._asdict(), deterministic=True)
    return Estimate(values), stats


def _data_law(problem: AbstractLinear, data: Any, held_out: Any) -> Law:
    """The spectrum of a data set's covariance as a quadrature, once the data are known to fit the problem."""
    covariance = check_data(problem, data, held_out)
    input_dim, rank = static_integer("input_dim", problem.input_dim), covariance.spectrum.shape[0]
    nodes, weights = covariance.spectrum, jnp.full(rank, 1 / input_dim, covariance.spectrum.dtype)
    if rank < input_dim:
        nodes, weights = jnp.append(nodes, 0), jnp.append(weights, 1 - rank / input_dim)
    held = None if covariance.held_out is None else jnp.diagonal(covariance.held_out)
    return Law(Quadrature(nodes, weights), held)


def decoupled(
    initial: Float[Array, " nodes"],
    spectrum: Float[Array, " nodes"],
    law: Law,
) -> Ensemble:
    """A 1 × 1 block for each node, with M(0) = `initial` and S = `spectrum` there."""
    weights, held_out = law.spectrum.weights, law.held_out
    return Ensemble(
        weights=square_root(initial)[:, None, None],
        spectrum=spectrum[:, None],
        scale=weights,
        train_offset=weights @ spectrum,
        population_offset=jnp.sum(weights) if held_out is None else weights @ held_out,
        population_covariance=None if held_out is None else held_out[:, None, None],
    )


def same(risk: Times) -> Values:
    """Where train and population risk are one."""
    return Values(train=risk, population=risk)
