"""The interior of the prism, where W and S do not commute in the limit and no closed form is known.

Two approximations stand side by side, each with an error bar: truncated path space (exact at early times) and random
rotations of the limiting spectra (as accurate at all times).
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_real, fail, is_concrete
from aetheory.core.curve import Curve
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, together
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.bracket import Estimate, combine, half_width
from aetheory.linear.theories.path_space import PathSpace
from aetheory.linear.theories.rotations import Rotations
from aetheory.linear.theories.theory import Face, Solver, Times, as_curve, check_loss, over_batch, prepared

_LENGTHS = (9, 11, 13)
"""Shorter lengths of the truncation pairs that are tried in turn; the last has 127 + 255 states."""

_NARROW = 0.5
"""Of H/p: below it all truncations go the same wrong way once columns align, which no bracket of theirs tells."""


@dataclass(frozen=True)
class Combined:
    """The mean of path space and rotations, weighted by the inverse squares of their brackets.

    Arguments:
        paths, rotations: the two.
    """

    paths: PathSpace = field(default_factory=PathSpace)
    rotations: Rotations = field(default_factory=Rotations)

    def estimate(
        self, ratios: AbstractLinear, times: Times, target_free: bool, solver: Solver
    ) -> tuple[Estimate, SolverStats]:
        """Both curves as one."""
        paths, path_stats = self.paths.estimate(ratios, times, target_free, solver)
        rotations, stats = self.rotations.estimate(ratios, times, target_free, solver)
        return combine(paths, rotations), together(path_stats, stats)


Approximation = PathSpace | Rotations | Combined


@dataclass(frozen=True)
class BracketedTheory(AbstractTheory):
    """A limit without a closed form, whose curve comes with a bracket, `Curve.lower` and `Curve.upper`.

    Arguments:
        target_free: the target I drops out.
        face: the face of the prism, for a regime of one.
    """

    target_free: bool = False
    face: Face | None = None

    is_approximate: ClassVar[bool] = True
    in_fits: ClassVar[dict[str, Any]] = {"method": Rotations(32, 2), "rtol": 1e-3}
    """Options in a fit, which asks for hundreds of curves."""

    def curve(
        self,
        problem: AbstractLinear,
        times: Any,
        *,
        method: Any = None,
        tolerance: float | int = 0.01,
        rtol: float | Float[Array, ""] = 1e-6,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Both risks with their bracket; `rtol`, `max_steps`, `adjoint` and `throw` as for a `LinearTheory`.

        The `method` is `ae.PathSpace(length)` (two consecutive truncations of W and S, exact at early times),
        `ae.Rotations(size, number)` (random rotations of equal shares of the spectra, ± 2 standard errors) or
        `ae.Combined(paths, rotations)`. By default path space with the shortest truncation whose bracket's half-width
        is within the `tolerance`, a share of the initial risk, and combined where none up to 13 is or H/p < 1/2;
        combined at 11 where values are traced. For inputs with a covariance of their own rotations are the only one.

        Raises:
            ValueError: an argument is out of its range.
            RuntimeError: a flow ran out of steps (with `throw`).

        Warns:
            UserWarning: the bracket is wider than the tolerance, or one of path space at H/p < 1/2, where it was seen
                to miss the curve by a quarter of the initial risk at late times (not where values are traced).
        """
        if method is not None and not isinstance(method, Approximation):
            raise fail("method", f"a PathSpace, Rotations or Combined, or None, for the {self.name} regime", method)
        if problem.covariance is not None:
            method = Rotations() if method is None else method
            if not isinstance(method, Rotations):
                raise fail("method", "an `ae.Rotations` or None for inputs with a covariance of their own", method)
        check_loss(problem, not self.target_free, self.name)
        check_real("tolerance", tolerance, "finite and positive", minimum=0.0, strict=True)
        times, ratios, solver = prepared(problem, times, rtol, max_steps, adjoint)
        estimate, stats = self._best(ratios, times, method, float(tolerance), solver)
        return as_curve(self, problem, times, estimate, stats, throw)

    def _best(
        self, ratios: AbstractLinear, times: Times, method: Approximation | None, tolerance: float, solver: Solver
    ) -> tuple[Estimate, SolverStats]:
        """The curve by the method asked for, or by the cheapest that meets the tolerance."""
        if not all(map(is_concrete, jax.tree.leaves((ratios, times)))):
            return self._run(ratios, times, method or Combined(), solver)
        narrow = bool(jnp.min(ratios.latent_ratio) < _NARROW)
        if method is None:
            longest: tuple[Approximation, ...] = (Combined(PathSpace(_LENGTHS[-1])),)
            tried = longest if narrow else (*map(PathSpace, _LENGTHS), *longest)
        else:
            tried = tuple(map(PathSpace, _LENGTHS)) if method == PathSpace() else (method,)
        if narrow and isinstance(tried[0], PathSpace):
            warnings.warn(
                f"The bracket of path space is too narrow for H/p = {float(jnp.min(ratios.latent_ratio)):.2g}, below "
                f"{_NARROW:g}, but at early times. Use `method=ae.Combined()` or `ae.Rotations()`.",
                stacklevel=4,
            )
        for one in tried:
            estimate, stats = self._run(ratios, times, one, solver)
            width = float(jnp.max(half_width(estimate, ratios.initial_risk(self.target_free))))
            # a flow that stopped early would stop again on a longer truncation
            if width <= tolerance or not bool(jnp.all(stats.succeeded)):
                return estimate, stats
        warnings.warn(
            f"The bracket of the {self.name} curve is ± {width:.2g} of the initial risk at its widest, wider than the "
            f"`tolerance` {tolerance:g}; see `Curve.lower` and `Curve.upper`. Try earlier times or "
            f"`method=ae.Combined()`.",
            stacklevel=4,
        )
        return estimate, stats

    def _run(
        self, ratios: AbstractLinear, times: Times, method: Approximation, solver: Solver
    ) -> tuple[Estimate, SolverStats]:
        found: tuple[Estimate, SolverStats] = over_batch(_estimate, ratios, method, times, self.target_free, solver)
        return found


def _estimate(
    ratios: AbstractLinear, method: Approximation, times: Times, target_free: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    return method.estimate(ratios, times, target_free, solver)


INTERIOR = BracketedTheory(
    name="interior",
    formula="the flow of two free elements M(0) and S with the target: no closed form is known",
    citations=(Citation("golikov2026prism"), Citation("voiculescu1991limit", derived=True)),
    tested="pσ², H/p and p/N of order one; simulations at p = 300",
    error="the bracket; within 1 % of R(0) up to t = 1 by paths, .1 to .4 % at all times by rotations",
)
"""x, y and z all of order one."""
