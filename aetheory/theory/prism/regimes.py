"""`predict`: the risk curves of a learning regime, as the flow of a small deterministic ensemble.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory._checks import as_float, check_times, common_float_dtype, fail, is_concrete, static_integer
from aetheory.theory.prism import closed_forms, ensembles
from aetheory.theory.prism.flow import Ensemble, evolve
from aetheory.theory.prism.problem import LinearProblem
from aetheory.theory.spectra import MarchenkoPastur, Quadrature
from aetheory.training.curve import Curve, Risks
from aetheory.training.flow import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished

Regime = Literal["large-data", "small-data", "mean-field", "narrow-latent"]
Method = Literal["flow", "closed-form"]

REGIMES: tuple[Regime, ...] = get_args(Regime)
"""The learning regimes that `predict` knows."""

_CLOSED_FORM = ("large-data", "mean-field")
_FINITE_SIZE = ("large-data", "mean-field")


class _Accuracy(NamedTuple):
    """Where the default number of nodes was measured to hold 1e-6 of max(1, initial risk)."""

    num_nodes: int
    strength: tuple[float, float]
    ratio: tuple[float, float]
    latest_time: float


_ACCURACY: dict[str, _Accuracy] = {
    "large-data": _Accuracy(64, (1e-3, 10.0), (0.02, 50.0), math.inf),
    "mean-field": _Accuracy(192, (1e-2, 10.0), (0.0, 50.0), 100.0),
    "narrow-latent": _Accuracy(128, (1e-3, 10.0), (0.0, 50.0), 20.0),
    "small-data": _Accuracy(32, (1e-3, 10.0), (0.02, 50.0), 100.0),
}


class _Parameters(NamedTuple):
    """The four numbers of a problem that a limit can depend on, in one precision."""

    init_scale: Float[Array, "*batch"]
    latent_ratio: Float[Array, "*batch"]
    sample_ratio: Float[Array, "*batch"]
    input_dim: Float[Array, "*batch"]


class _DataLaw(NamedTuple):
    """A data set's own spectrum in place of the Marchenko–Pastur law."""

    spectrum: Quadrature
    held_out: Float[Array, " nodes"] | None


def predict(
    problem: LinearProblem,
    times: Any,
    regime: str,
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
    """Train and population risk of a linear autoencoder in the large-size limit of one learning regime.

    The regimes, in terms of x = pσ², y = H/p, z = p/N and c = Hσ²:

    - ``"large-data"`` (N/p → ∞): the eigenvalues of W Wᵀ move alone; train = population.
    - ``"mean-field"`` (H/p → ∞): W Wᵀ stays a function of the sample covariance.
    - ``"narrow-latent"`` (H/p → 0): the columns of W move alone. Fails late, when they align with the top of the
      spectrum.
    - ``"small-data"`` (N/p → 0): each sample moves W alone, at t of order N/p.

    All but the closed forms are the gradient flow of `simulate` on a deterministic ensemble. One program serves
    every problem of a regime: the fields of `problem` may be scalars, arrays (a batch) or traced.

    Arguments:
        problem: the dimensions and the initial variance (at 0, derivatives with respect to it are reported as 0).
        times: flow times, shape (num_times,), nonnegative and in increasing order.
        regime: which limit to take.
        method: ``"flow"``, or ``"closed-form"`` where the regime has one (large-data, mean-field); by default the
            closed form where there is one, which has no solver error and is far faster in batches.
        finite_size: add the first correction in 1/p of real Gaussian data (large-data) and weights (mean-field: of
            the data only, H still infinite). Other regimes have none and say so.
        data: samples, shape (num_samples, input_dim), whose own covariance spectrum replaces the Marchenko–Pastur
            law (mean-field only). They are centred first.
        held_out: other samples, shape (any, input_dim), on which the population risk is then measured; without them
            it is measured on isotropic inputs of unit variance.
        num_nodes: size of the quadrature (64, 192, 128 and 32 for large-data, mean-field, narrow-latent and
            small-data). The defaults hold 1e-6 of max(1, initial risk) in float64 for 1e-3 ≤ x ≤ 10 (mean-field:
            .01 ≤ c ≤ 10), ratios between .02 and 50 (z = 0 included) and times up to 100 (mean-field), 20
            (narrow-latent), 100/z (small-data) and any (large-data); beyond, a warning says so unless the argument
            is given.
        rtol: relative tolerance of the flow; float32 raises it to 2e-6.
        max_steps: the most steps the solver may take.
        adjoint: how Diffrax differentiates the flow; reverse mode when omitted, `diffrax.ForwardMode()` for forward.
        throw: raise when the flow does not finish; otherwise `Curve.stats` says so.

    Returns:
        A `Curve`, with shape (*batch, num_times) for a batch of problems.

    Raises:
        ValueError: an argument is out of its range, or not known to the regime.
        RuntimeError: the flow ran out of steps (with `throw`).

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the correction: Z. Bai, J. Silverstein (2004).
    """
    _check_choices(problem, regime, method, finite_size, data, held_out)
    times = check_times(times)
    check_solver_options(rtol, max_steps)
    law = None if data is None else _data_law(problem, data, held_out)
    dtype = common_float_dtype(times, problem.init_variance, data)
    parameters = _parameters(problem, dtype)
    if num_nodes is None:
        num_nodes = _ACCURACY[regime].num_nodes
        if law is None:
            _warn_outside_accuracy(regime, parameters, times)
    else:
        num_nodes = static_integer("num_nodes", num_nodes)
    if method is None:
        method = "closed-form" if regime in _CLOSED_FORM else "flow"

    times = times.astype(dtype)
    shape = jnp.broadcast_shapes(*(field.shape for field in parameters))
    flat = _Parameters(*(jnp.broadcast_to(field, shape).ravel() for field in parameters))
    if shape == ():
        flat = _Parameters(*(field[0] for field in flat))
    options = (regime, num_nodes, finite_size)
    stats: SolverStats | None = None
    if method == "closed-form":
        risks = _closed_form(flat, times, law, options)
    else:
        risks, stats = _limit_flow(flat, times, law, as_float(rtol).astype(dtype), options, max_steps, adjoint)
    risks, stats = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[min(len(shape), 1) :]), (risks, stats))
    if throw:
        risks = require_finished(risks, stats, risks, max_steps)
    return Curve(times, risks.train, risks.population, stats=stats, label=regime)


@eqx.filter_jit
def _limit_flow(
    parameters: _Parameters,
    times: Float[Array, " times"],
    law: _DataLaw | None,
    rtol: Float[Array, ""],
    options: tuple[str, int, bool],
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None,
) -> tuple[Risks, SolverStats]:
    def one(parameters: _Parameters) -> tuple[Risks, SolverStats]:
        ensemble = limit_ensemble(parameters, law, options)
        return evolve(ensemble, times, rtol=rtol, max_steps=max_steps, adjoint=adjoint, deterministic=True)

    return one(parameters) if parameters.init_scale.ndim == 0 else jax.vmap(one)(parameters)


@eqx.filter_jit
def _closed_form(
    parameters: _Parameters, times: Float[Array, " times"], law: _DataLaw | None, options: tuple[str, int, bool]
) -> Risks:
    regime, _, finite_size = options

    def one(parameters: _Parameters) -> Risks:
        if regime == "mean-field":
            spectrum, held_out = _spectrum(parameters, law, options)
            return closed_forms.mean_field(times, parameters.init_scale * parameters.latent_ratio, spectrum, held_out)
        if finite_size:
            eigenvalues = _initial_eigenvalues(parameters, options)
            risk = closed_forms.large_data_spectral(times, eigenvalues)
        else:
            risk = closed_forms.large_data(times, parameters.init_scale, parameters.latent_ratio)
        return Risks(risk, risk)

    return one(parameters) if parameters.init_scale.ndim == 0 else jax.vmap(one)(parameters)


def limit_ensemble(parameters: _Parameters, law: _DataLaw | None, options: tuple[str, int, bool]) -> Ensemble:
    """The deterministic ensemble whose flow is the limit of one regime."""
    regime, num_nodes, _ = options
    init_scale, latent_ratio, sample_ratio, _ = parameters
    if regime == "large-data":
        return ensembles.large_data(_initial_eigenvalues(parameters, options))
    if regime == "mean-field":
        return ensembles.mean_field(init_scale * latent_ratio, *_spectrum(parameters, law, options))
    if regime == "narrow-latent":
        return ensembles.narrow_latent(
            init_scale, latent_ratio, MarchenkoPastur(sample_ratio).radau_quadrature(num_nodes)
        )
    return ensembles.small_data(init_scale, latent_ratio, sample_ratio, num_nodes)


def _initial_eigenvalues(parameters: _Parameters, options: tuple[str, int, bool]) -> Quadrature:
    """The law of the eigenvalues of M(0) = W Wᵀ: free Poisson of rate y and jump x."""
    _, num_nodes, finite_size = options
    law = MarchenkoPastur(1 / parameters.latent_ratio, parameters.init_scale * parameters.latent_ratio)
    return law.edge_quadrature(num_nodes, parameters.input_dim if finite_size else None)


def _spectrum(parameters: _Parameters, law: _DataLaw | None, options: tuple[str, int, bool]) -> _DataLaw:
    """The spectrum of S: Marchenko–Pastur of ratio z, or the data's own."""
    if law is not None:
        return law
    _, num_nodes, finite_size = options
    correction_dim = parameters.input_dim if finite_size else None
    return _DataLaw(MarchenkoPastur(parameters.sample_ratio).edge_quadrature(num_nodes, correction_dim), None)


def _data_law(problem: LinearProblem, data: Any, held_out: Any) -> _DataLaw:
    covariance = ensembles.check_data(problem, data, held_out)
    input_dim, rank = static_integer("input_dim", problem.input_dim), covariance.spectrum.shape[0]
    nodes, weights = covariance.spectrum, jnp.full(rank, 1 / input_dim, covariance.spectrum.dtype)
    if rank < input_dim:
        nodes = jnp.append(nodes, 0)
        weights = jnp.append(weights, 1 - rank / input_dim)
    return _DataLaw(
        Quadrature(nodes, weights), None if covariance.held_out is None else jnp.diagonal(covariance.held_out)
    )


def _parameters(problem: LinearProblem, dtype: jnp.dtype) -> _Parameters:
    fields = (problem.init_scale, problem.latent_ratio, problem.sample_ratio, problem.input_dim)
    return _Parameters(*(jnp.asarray(field).astype(dtype) for field in fields))


def _check_choices(
    problem: LinearProblem, regime: Any, method: Any, finite_size: bool, data: Any, held_out: Any
) -> None:
    def quoted(names: tuple[str, ...]) -> str:
        return ", ".join(map(repr, names))

    if regime not in REGIMES:
        raise fail("regime", f"one of {quoted(REGIMES)}", regime)
    if method not in (None, *get_args(Method)):
        raise fail("method", f"one of {quoted(get_args(Method))} or None", method)
    if method == "closed-form" and regime not in _CLOSED_FORM:
        raise fail("method", f"'flow' for the {regime} regime (closed forms: {quoted(_CLOSED_FORM)})", method)
    if finite_size and regime not in _FINITE_SIZE:
        raise fail("finite_size", f"False for the {regime} regime (corrections: {quoted(_FINITE_SIZE)})", True)
    if data is not None and regime != "mean-field":
        raise ValueError(f"Argument `data` must be None for the {regime} regime: only 'mean-field' takes a spectrum.")
    if data is not None and finite_size:
        raise fail("finite_size", "False with `data`, whose own spectrum has no size to correct for", True)
    if held_out is not None and data is None:
        raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
    if regime == "small-data" and is_concrete(problem.num_samples) and np.isinf(np.asarray(problem.num_samples)).any():
        raise fail("num_samples", "finite for the small-data regime", problem.num_samples)


def _warn_outside_accuracy(regime: str, parameters: _Parameters, times: Float[Array, " times"]) -> None:
    values: Any = (*parameters, times)
    if not all(is_concrete(value) for value in values):
        return
    init_scale, latent_ratio, sample_ratio, _ = (np.asarray(field, np.float64) for field in parameters)
    accuracy = _ACCURACY[regime]
    mean_field = regime == "mean-field"
    strength = init_scale * latent_ratio if mean_field else init_scale
    ratio = latent_ratio if regime in ("large-data", "small-data") else sample_ratio
    latest = float(times[-1]) * (float(np.max(sample_ratio)) if regime == "small-data" else 1.0)
    outside = []
    for name, value, (lower, upper) in (
        ("H σ²" if mean_field else "p σ²", strength, accuracy.strength),
        ("H/p" if regime in ("large-data", "small-data") else "p/N", ratio, accuracy.ratio),
    ):
        if value.min() < lower or value.max() > upper:
            outside.append(f"{name} in [{value.min():.3g}, {value.max():.3g}], tested on [{lower:g}, {upper:g}]")
    if latest > accuracy.latest_time:
        name = "t p/N" if regime == "small-data" else "t"
        outside.append(f"{name} up to {latest:.3g}, tested up to {accuracy.latest_time:g}")
    if outside:
        warnings.warn(
            f"The default `num_nodes` = {accuracy.num_nodes} of the {regime} regime is outside the range where it was "
            f"tested to hold 1e-6: {'; '.join(outside)}. Compare two values of `num_nodes`.",
            stacklevel=3,
        )
