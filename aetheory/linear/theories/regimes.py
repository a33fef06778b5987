"""The limits of the learning regimes: closed forms, and the flows of small deterministic ensembles.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

import math
import warnings
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import is_concrete, static_integer
from aetheory.core.curve import Risks
from aetheory.core.solve import SolverStats
from aetheory.linear import ensembles
from aetheory.linear.flow import Ensemble, evolve
from aetheory.linear.parameters import LimitParameters
from aetheory.linear.problem import LinearProblem
from aetheory.linear.theories import closed_forms, edges
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, Quadrature

FINITE_SIZE = ("large-data", "mean-field")
"""The regimes whose first correction in 1/p is known."""


class _Accuracy(NamedTuple):
    """Where the default number of nodes was measured to hold 1e-6 of max(1, initial risk)."""

    num_nodes: int
    strength: tuple[float, float]
    ratio: tuple[float, float]
    latest_time: float


ACCURACY: dict[str, _Accuracy] = {
    "large-data": _Accuracy(64, (1e-3, 10.0), (0.02, 50.0), math.inf),
    "mean-field": _Accuracy(103, (1e-2, 10.0), (0.0, 50.0), 100.0),
    "narrow-latent": _Accuracy(128, (1e-3, 10.0), (0.0, 50.0), 20.0),
    "small-data": _Accuracy(32, (1e-3, 10.0), (0.02, 50.0), 100.0),
}

_MEAN_FIELD_REACH = 1.7
"""Of the mean-field quadrature: e^{−4st} is constant closer to an edge, up to t = 100. With the node at 0, its nodes
fill whole vectors of the processor."""

_MEAN_FIELD_EDGE_NODES = 192
"""On its edges, which are not bounded in time, the rule goes all the way."""


class LimitOptions(NamedTuple):
    """What a compiled limit depends on.

    Arguments:
        faces: the faces that meet in the regime: one, or two for an edge, three for a vertex.
        num_nodes: size of the quadrature.
        finite_size: add the first correction in 1/p.
    """

    faces: tuple[str, ...]
    num_nodes: int
    finite_size: bool = False


class SpectralLaw(NamedTuple):
    """A data set's own spectrum in place of the Marchenko–Pastur law."""

    spectrum: Quadrature
    held_out: Float[Array, " nodes"] | None


def has_closed_form(faces: tuple[str, ...]) -> bool:
    """Whether the limit is explicit, up to a quadrature."""
    return faces in (("large-data",), ("mean-field",)) or frozenset(faces) in edges.CLOSED_FORMS


def num_nodes_of(faces: tuple[str, ...]) -> int:
    """The default size of the quadrature: on an edge, the largest of its faces', more next to mean-field."""
    if len(faces) > 1 and "mean-field" in faces:
        return _MEAN_FIELD_EDGE_NODES
    return max(ACCURACY[face].num_nodes for face in faces if face in ACCURACY)


@eqx.filter_jit
def limit_flow(
    parameters: LimitParameters,
    times: Float[Array, " times"],
    law: SpectralLaw | None,
    rtol: Float[Array, ""],
    options: LimitOptions,
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None,
) -> tuple[Risks, SolverStats]:
    """The risks of one problem, or of a batch, along the flow of its limit ensemble."""

    def one(parameters: LimitParameters) -> tuple[Risks, SolverStats]:
        ensemble = limit_ensemble(parameters, law, options)
        return evolve(ensemble, times, rtol=rtol, max_steps=max_steps, adjoint=adjoint, deterministic=True)

    return one(parameters) if parameters.init_scale.ndim == 0 else jax.vmap(one)(parameters)


@eqx.filter_jit
def closed_form(
    parameters: LimitParameters, times: Float[Array, " times"], law: SpectralLaw | None, options: LimitOptions
) -> Risks:
    """The risks of one problem, or of a batch, where the limit is explicit."""

    def one(parameters: LimitParameters) -> Risks:
        if len(options.faces) > 1:
            spectrum, _ = _spectrum(parameters, law, options)
            return edges.CLOSED_FORMS[frozenset(options.faces)](times, parameters, spectrum)
        if options.faces == ("mean-field",):
            return closed_forms.mean_field(times, parameters.init_strength, *_spectrum(parameters, law, options))
        if options.finite_size:
            risk = closed_forms.large_data_spectral(times, _initial_eigenvalues(parameters, options))
        else:
            risk = closed_forms.large_data(times, parameters.init_scale, parameters.latent_ratio)
        return Risks(risk, risk)

    return one(parameters) if parameters.init_scale.ndim == 0 else jax.vmap(one)(parameters)


def limit_ensemble(parameters: LimitParameters, law: SpectralLaw | None, options: LimitOptions) -> Ensemble:
    """The deterministic ensemble whose flow is the limit of one regime."""
    init_scale, latent_ratio, sample_ratio, _ = parameters
    target_free = "free" in options.faces
    if "small-data" in options.faces:
        return ensembles.small_data(init_scale, latent_ratio, sample_ratio, options.num_nodes, target_free=target_free)
    if "narrow-latent" in options.faces:
        spectrum = MarchenkoPastur(sample_ratio).radau_quadrature(options.num_nodes)
        return ensembles.narrow_latent(init_scale, latent_ratio, spectrum, target_free=target_free)
    if "large-data" in options.faces:
        return ensembles.large_data(_initial_eigenvalues(parameters, options))
    return ensembles.mean_field(parameters.init_strength, *_spectrum(parameters, law, options))


def _initial_eigenvalues(parameters: LimitParameters, options: LimitOptions) -> Quadrature:
    """The law of the eigenvalues of M(0) = W Wᵀ: free Poisson of rate y and jump x."""
    law = MarchenkoPastur(1 / parameters.latent_ratio, parameters.init_strength)
    return law.edge_quadrature(options.num_nodes, parameters.input_dim if options.finite_size else None)


def _spectrum(parameters: LimitParameters, law: SpectralLaw | None, options: LimitOptions) -> SpectralLaw:
    """The spectrum of S: Marchenko–Pastur of ratio z, or the data's own."""
    if law is not None:
        return law
    correction_dim = parameters.input_dim if options.finite_size else None
    marchenko_pastur = MarchenkoPastur(parameters.sample_ratio)
    if options.faces == ("mean-field",):
        return SpectralLaw(marchenko_pastur.edge_quadrature(options.num_nodes, correction_dim, _MEAN_FIELD_REACH), None)
    return SpectralLaw(marchenko_pastur.edge_quadrature(options.num_nodes, correction_dim), None)


def data_law(problem: LinearProblem, data: Any, held_out: Any) -> SpectralLaw:
    """The spectrum of a data set's covariance as a quadrature, once the data are known to fit the problem."""
    covariance = ensembles.check_data(problem, data, held_out)
    input_dim, rank = static_integer("input_dim", problem.input_dim), covariance.spectrum.shape[0]
    nodes, weights = covariance.spectrum, jnp.full(rank, 1 / input_dim, covariance.spectrum.dtype)
    if rank < input_dim:
        nodes = jnp.append(nodes, 0)
        weights = jnp.append(weights, 1 - rank / input_dim)
    return SpectralLaw(
        Quadrature(nodes, weights), None if covariance.held_out is None else jnp.diagonal(covariance.held_out)
    )


def warn_outside_accuracy(regime: str, parameters: LimitParameters, times: Float[Array, " times"]) -> None:
    """Warn where the default number of nodes of a face was not tested."""
    values: Any = (*parameters, times)
    if not all(is_concrete(value) for value in values):
        return
    init_scale, latent_ratio, sample_ratio, _ = (np.asarray(field, np.float64) for field in parameters)
    accuracy = ACCURACY[regime]
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
            stacklevel=4,
        )
