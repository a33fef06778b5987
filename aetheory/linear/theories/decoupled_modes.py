"""Decoupled modes: so anisotropic inputs that each direction of S is learnt like one sample on the small-data face."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.core.theory import Citation
from aetheory.linear.parameters import AbstractLinear, of_covariance
from aetheory.linear.theories.small_data import SMALL_DATA
from aetheory.linear.theories.small_data import isotropic_risks as one_sample
from aetheory.linear.theories.theory import Estimate, LinearTheory, Solver, Times
from aetheory.spectra.covariance import SampleCovariance, SpectrumTable

_LATEST = 100.0
"""In time s·t of one mode, by which it is learnt."""

_ROOM = 16
"""Dimensions for each direction that carries variance, from which the modes count as decoupled."""

_TABLE = 1024
"""Times at which the curve of one mode is tabulated: linear interpolation is off by less than 10⁻⁵."""


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """With as many shares of the spectrum of S as there are dimensions, up to a number."""
    size, table = min(num_nodes, len(ratios.covariance)), sample_covariance(ratios).tabulate()
    [values], stats = decoupled_risks(times, ratios, [size], table, solver)
    return Estimate(values), stats


def sample_covariance(ratios: AbstractLinear) -> SampleCovariance:
    """The law of S."""
    return SampleCovariance(ratios.covariance, ratios.sample_ratio)


def decoupled_risks(
    times: Times,
    ratios: AbstractLinear,
    sizes: Sequence[int],
    table: SpectrumTable,
    solver: Solver,
    target_free: bool = False,
) -> tuple[list[Values], SolverStats]:
    """R_tr = ∫ s R̂(st) dF and R = ∫ δ(s) R̂(st) dF, R̂ the train curve of isotropic small data at the same x and y.

    While few modes are learnt (far fewer than p and H), e_iᵀ M(0)ᵏ e_j → 0 for i ≠ j: every eigenvector e_i of S moves
    M on a Krylov space of its own, as a single sample does. H/p → ∞ gives mean-field back. The limit to H modes of what
    can be learnt, and what modes take from each other, are missing.

    Arguments:
        times: flow times.
        ratios: x, y, z and Σ.
        sizes: numbers of shares of the spectrum; one result for each.
        table: of the law of S.
        solver: of the curve of one mode.
        target_free: leave out the target I.

    Source: derived here from arXiv:2606.05335, small-data regime.
    """
    law = sample_covariance(ratios)
    shares = [law.atoms(size, law.rank(size), table) for size in sizes]
    latest = jnp.minimum(jnp.max(jnp.stack([jnp.max(spectrum) for spectrum, _ in shares])) * times[-1], _LATEST)
    knots, learnt, stats = one_mode(latest, ratios, solver, target_free)
    found = []
    for spectrum, seen in shares:
        error = jnp.interp(jnp.minimum(spectrum[None, :] * times[:, None], _LATEST), knots, learnt)
        found.append(Values(train=error @ spectrum / len(spectrum), population=error @ seen / len(spectrum)))
    return found, stats


def one_mode(
    latest: Float[Array, ""], ratios: AbstractLinear, solver: Solver, target_free: bool = False
) -> tuple[Float[Array, " knots"], Float[Array, " knots"], SolverStats]:
    """R̂ at times from 0 to `latest`, closer to each other at early ones."""
    alone: Any = eqx.tree_at(lambda one: one.sample_ratio, of_covariance(ratios, None), jnp.ones_like(latest))
    fastest = jnp.maximum(ratios.init_scale * (1 + jnp.sqrt(ratios.latent_ratio)) ** 2, 1)
    # powers of two, so that the knots stand still where a number varies a little
    early, last = 0.02 / _next_power(fastest), _next_power(latest)
    knots = early * jnp.expm1(jnp.linspace(0, 1, _TABLE, dtype=latest.dtype) * jnp.log1p(last / early))
    target = 0.0 if target_free else 1.0
    (values, *_), stats = one_sample(knots, alone, SMALL_DATA.num_nodes, False, solver, target)
    return knots, values.train, stats


def _next_power(number: Float[Array, ""]) -> Float[Array, ""]:
    smallest = float(np.finfo(number.dtype).tiny)
    return 2 ** jnp.ceil(jnp.log2(jnp.maximum(jax.lax.stop_gradient(number), smallest)))


def are_decoupled(problem: AbstractLinear) -> bool:
    """Whether (tr Σ)²/tr Σ², how many directions carry the variance, is at most a sixteenth of p and H."""
    variances = np.asarray(problem.covariance)
    carrying = np.sum(variances) ** 2 / np.sum(variances**2)
    room = len(variances) * min(1.0, float(problem.latent_ratio))
    return bool(_ROOM * carrying <= room)


DECOUPLED_MODES = LinearTheory(
    name="decoupled-modes",
    formula="R_tr = ∫ s R̂(st) dF, R = ∫ δ(s) R̂(st) dF, R̂ the train curve of isotropic small data",
    citations=(Citation("golikov2026prism", "small-data regime", derived=True),),
    tested="power laws i^(−a), a = 1, 1.5, 2; simulations at p = 320, H/p = .25 to .7, pσ² = .5 and 2, p/N = 0 and .8",
    error="at a = 1.5 and 2 within 1.2 % of R(0), 1.8 % at pσ² = 2; 8 to 13 % too low late, 26 % too high at pσ² = 2; "
    "at a = 1 within 9 % of R(0)",
    general=general_risks,
    general_nodes=1024,
    is_explicit=False,
)
"""Strong anisotropy: (tr Σ)²/tr Σ² ≪ p, H."""
