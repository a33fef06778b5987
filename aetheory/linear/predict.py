"""`predict`: the risk curves of a learning regime.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import (
    as_float,
    check_real,
    check_times,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.curve import Curve, Risks
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished
from aetheory.linear.expansion.faces import FACES, check_faces
from aetheory.linear.locate import locate
from aetheory.linear.parameters import LimitParameters
from aetheory.linear.problem import LinearProblem, LinearRatios
from aetheory.linear.theories import interior, regimes
from aetheory.linear.theories.path_space import ROOTS

Regime = Literal["large-data", "small-data", "mean-field", "narrow-latent", "free", "interior"]
LimitMethod = Literal["flow", "closed-form"]
InteriorMethod = Literal["path-space", "rotations", "combined"]

REGIMES: tuple[Regime, ...] = get_args(Regime)
"""The learning regimes that `predict` knows, besides the edges and vertices where they meet."""

_INTERIOR = (("free",), ("interior",))
_DEFAULT_TOLERANCE = 0.01
_DEFAULT_LENGTH = 11


class _Truncation(NamedTuple):
    """How the free face and the interior are approximated; `None` where the tolerance decides."""

    method: str | None
    path_length: int | None
    root: str
    tolerance: float


def predict(
    problem: LinearProblem | LinearRatios,
    times: Any,
    regime: str | Sequence[str] | None = None,
    *,
    method: str | None = None,
    finite_size: bool = False,
    data: Any = None,
    held_out: Any = None,
    num_nodes: int | None = None,
    path_length: int | None = None,
    root: str | None = None,
    tolerance: float | None = None,
    rtol: float | Float[Array, ""] | None = None,
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
    - ``"free"`` (pσ² → ∞): the target drops out, R = (1/p) tr MSM; M and S do not commute.
    - ``"interior"``: none of these; x, y and z all of order one.
    - two or three names: the edge or vertex where those faces of the prism meet (`edges`, explicit but for
      narrow-latent ∩ free and small-data ∩ free, which are flows).

    All but the closed forms are the gradient flow of `simulate` on a deterministic ensemble. One program serves
    every problem of a regime: the fields of `problem` may be scalars, arrays (a batch) or traced.

    The free regime and the interior have no closed form. Their curves come with a bracket, `Curve.lower` and
    `Curve.upper`, from one of three methods:

    - ``"path-space"``: two consecutive truncations of W and S, exact at early times.
    - ``"rotations"``: 8 random rotations of 128 equal shares of the spectra, ± 2 standard errors; .1 to .4 % of the
      initial risk at all times.
    - ``"combined"``: the mean of the two, weighted by the inverse squares of the brackets. Derivatives are the same
      weighted mean of theirs, with the weights held fixed: not the derivative of the mean itself.

    Arguments:
        problem: the dimensions and the initial variance (at 0, derivatives with respect to it are reported as 0), or
            the ratios x, y and z as real numbers.
        times: flow times, shape (num_times,), nonnegative and in increasing order.
        regime: which limit to take; by default the one that `locate` finds best for this problem.
        method: ``"flow"``, or ``"closed-form"`` where the regime has one (large-data, mean-field, all but two edges);
            by default the closed form where there is one, which has no solver error and is far faster in batches. For
            free and interior ``"path-space"``, ``"rotations"`` or ``"combined"``; by default path space with the
            shortest truncation whose bracket meets the `tolerance`, and combined where none up to 13 does. Where the
            values are traced and cannot be looked at, combined with a `path_length` of 11.
        finite_size: add the first correction in 1/p of real Gaussian data (large-data) and weights (mean-field: of
            the data only, H still infinite). Other regimes have none and say so.
        data: samples, shape (num_samples, input_dim), whose own covariance spectrum replaces the Marchenko–Pastur
            law (mean-field only). They are centred first.
        held_out: other samples, shape (any, input_dim), on which the population risk is then measured; without them
            it is measured on isotropic inputs of unit variance.
        num_nodes: size of the quadrature (64, 103, 128 and 32 for large-data, mean-field, narrow-latent and
            small-data). The defaults hold 1e-6 of max(1, initial risk) in float64 for 1e-3 ≤ x ≤ 10 (mean-field:
            .01 ≤ c ≤ 10), ratios between .02 and 50 (z = 0 included) and times up to 100 (mean-field), 20
            (narrow-latent), 100/z (small-data) and any (large-data); beyond, a warning says so unless the argument
            is given.
        path_length: the shorter of the two truncations of path space, in edges; a state for each path: 2^(L/2).
        root: where paths start, "input" (the default, and the best for both risks wherever it was measured),
            "latent" or "samples".
        tolerance: half-width of the bracket to aim for, as a share of the initial risk; .01 when omitted.
        rtol: relative tolerance of the flow, by default 1e-8, and 1e-6 for free and interior; float32 raises it to
            2e-6.
        max_steps: the most steps the solver may take.
        adjoint: how Diffrax differentiates the flow; reverse mode when omitted, `diffrax.ForwardMode()` for forward.
        throw: raise when the flow does not finish; otherwise `Curve.stats` says so.

    Returns:
        A `Curve`, with shape (*batch, num_times) for a batch of problems.

    Raises:
        ValueError: an argument is out of its range, or not known to the regime.
        RuntimeError: the flow ran out of steps (with `throw`).

    Warns:
        UserWarning: the bracket of a free or interior curve is wider than the tolerance (not where values are
            traced), or the default quadrature is outside its tested range.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the correction: Z. Bai, J. Silverstein (2004).
    """
    faces = _check_regime(regime) if regime is not None else (_located(problem),)
    _check_choices(problem, faces, method, finite_size, data, held_out)
    truncation = _check_truncation(faces, method, num_nodes, path_length, root, tolerance)
    times = check_times(times)
    if rtol is None:
        rtol = 1e-8 if truncation is None else 1e-6
    check_solver_options(rtol, max_steps)
    law = regimes.data_law(problem, data, held_out) if isinstance(problem, LinearProblem) and data is not None else None
    scale = problem.init_scale if isinstance(problem, LinearRatios) else problem.init_variance
    dtype = common_float_dtype(times, scale, data)
    parameters = LimitParameters.of(problem, dtype)
    times = times.astype(dtype)
    if num_nodes is None and truncation is None:
        num_nodes = regimes.num_nodes_of(faces)
        if law is None and len(faces) == 1:
            regimes.warn_outside_accuracy(faces[0], parameters, times)
    elif num_nodes is not None:
        num_nodes = static_integer("num_nodes", num_nodes)

    shape = parameters.init_scale.shape
    flat = LimitParameters(*(field.ravel() if shape else field for field in parameters))
    solver = interior.Solver(as_float(rtol).astype(dtype), max_steps, adjoint)
    lower: Risks | None = None
    upper: Risks | None = None
    stats: SolverStats | None = None
    if truncation is not None:
        (risks, lower, upper), stats = _bracketed(flat, times, faces == ("free",), truncation, solver)
    else:
        assert num_nodes is not None
        options = regimes.LimitOptions(faces, num_nodes, finite_size)
        if method == "closed-form" or (method is None and regimes.has_closed_form(faces)):
            risks = regimes.closed_form(flat, times, law, options)
        else:
            risks, stats = regimes.limit_flow(flat, times, law, solver.rtol, options, max_steps, adjoint)
    risks, lower, upper, stats = jax.tree.map(
        lambda leaf: leaf.reshape(*shape, *leaf.shape[min(len(shape), 1) :]), (risks, lower, upper, stats)
    )
    if throw:
        risks = require_finished(risks, stats, risks, max_steps)
    return Curve(times, risks.train, risks.population, lower=lower, upper=upper, stats=stats, label=" ∩ ".join(faces))


def _bracketed(
    parameters: LimitParameters,
    times: Float[Array, " times"],
    target_free: bool,
    truncation: _Truncation,
    solver: interior.Solver,
) -> tuple[interior.Estimate, SolverStats]:
    """The free or interior curve by the method asked for, or by the cheapest that meets the tolerance."""

    def run(method: str, length: int) -> tuple[interior.Estimate, SolverStats, Float[Array, "*batch"]]:
        estimate, stats = interior.estimate(parameters, times, solver, method, truncation.root, length, target_free)
        return estimate, stats, interior.half_width(estimate, parameters.initial_risk(target_free))

    length = _DEFAULT_LENGTH if truncation.path_length is None else truncation.path_length
    if not all(is_concrete(value) for value in (*parameters, times)):
        return run(truncation.method or "combined", length)[:2]
    if truncation.method in (None, "path-space"):
        lengths = interior.PATH_LENGTHS if truncation.path_length is None else (length,)
        for length in lengths:
            estimate, stats, width = run("path-space", length)
            # a flow that stopped early would stop again on a longer truncation
            if bool(jnp.all(width <= truncation.tolerance)) or not bool(jnp.all(stats.succeeded)):
                return estimate, stats
    if truncation.method != "path-space":
        estimate, stats, width = run(truncation.method or "combined", length)
    widest = float(jnp.max(width))
    if not widest <= truncation.tolerance:
        remedy = f", a `path_length` above {length} or method='combined'" if truncation.method == "path-space" else ""
        warnings.warn(
            f"The bracket of the {'free' if target_free else 'interior'} curve is ± {widest:.2g} of the initial risk "
            f"at its widest, wider than the `tolerance` {truncation.tolerance:g}; see `Curve.lower` and `Curve.upper`. "
            f"Try earlier times{remedy}.",
            stacklevel=3,
        )
    return estimate, stats


def _located(problem: LinearProblem | LinearRatios) -> str:
    if isinstance(problem, LinearRatios):
        raise fail("regime", "given for `LinearRatios`, whose dimensions `locate` does not know", None)
    return locate(problem).regime


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _check_regime(regime: Any) -> tuple[str, ...]:
    if isinstance(regime, str):
        if regime not in REGIMES:
            raise fail("regime", f"one of {_quoted(REGIMES)}, several faces, or None", regime)
        return (regime,)
    names = tuple(regime)
    if not names or any(name not in FACES for name in names):
        raise fail("regime", f"one of {_quoted(REGIMES)}, or several of the first five that meet", regime)
    check_faces(names)
    return tuple(face for face in FACES if face in names)


def _check_choices(
    problem: LinearProblem | LinearRatios,
    faces: tuple[str, ...],
    method: Any,
    finite_size: bool,
    data: Any,
    held_out: Any,
) -> None:
    name = " ∩ ".join(faces)
    methods = get_args(InteriorMethod if faces in _INTERIOR else LimitMethod)
    if method not in (None, *methods):
        raise fail("method", f"one of {_quoted(methods)} or None for the {name} regime", method)
    if method == "closed-form" and not regimes.has_closed_form(faces):
        raise fail("method", f"'flow' for the {name} regime, which has no closed form", method)
    if method == "flow" and len(faces) > 1 and regimes.has_closed_form(faces):
        raise fail("method", f"'closed-form' for the {name} regime", method)
    if finite_size and (len(faces) > 1 or faces[0] not in regimes.FINITE_SIZE):
        raise fail("finite_size", f"False for the {name} regime (corrections: {_quoted(regimes.FINITE_SIZE)})", True)
    if data is not None and faces != ("mean-field",):
        raise ValueError(f"Argument `data` must be None for the {name} regime: only 'mean-field' takes a spectrum.")
    if data is not None and finite_size:
        raise fail("finite_size", "False with `data`, whose own spectrum has no size to correct for", True)
    if held_out is not None and data is None:
        raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
    if data is not None and isinstance(problem, LinearRatios):
        raise ValueError("Argument `problem` must be a `LinearProblem` with `data`, whose dimensions it must have.")
    if "small-data" in faces:
        ratio = problem.sample_ratio
        if is_concrete(ratio) and (np.asarray(ratio) == 0).any():
            if isinstance(problem, LinearRatios):
                raise fail("sample_ratio", f"positive for the {name} regime", ratio)
            raise fail("num_samples", f"finite for the {name} regime", problem.num_samples)


def _check_truncation(
    faces: tuple[str, ...], method: str | None, num_nodes: Any, path_length: Any, root: Any, tolerance: Any
) -> _Truncation | None:
    name = " ∩ ".join(faces)
    given = {"path_length": path_length, "root": root, "tolerance": tolerance}
    if faces not in _INTERIOR:
        for argument, value in given.items():
            if value is not None:
                raise fail(argument, f"None for the {name} regime, which is not truncated", value)
        return None
    if num_nodes is not None:
        raise fail("num_nodes", f"None for the {name} regime, which takes a `path_length`", num_nodes)
    if root is not None and root not in ROOTS:
        raise fail("root", f"one of {_quoted(ROOTS)}", root)
    if path_length is not None:
        path_length = static_integer("path_length", path_length)
        if not 2 <= path_length <= 20:
            raise fail("path_length", "between 2 and 20 (which has 2047 + 1023 states)", path_length)
    if tolerance is not None:
        check_real("tolerance", tolerance, "finite and positive", minimum=0.0, strict=True)
    return _Truncation(
        method, path_length, root or "input", _DEFAULT_TOLERANCE if tolerance is None else float(tolerance)
    )
