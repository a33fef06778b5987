"""The interior of the prism, where W and S do not commute in the limit and no closed form is known."""

from dataclasses import dataclass
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_instance
from aetheory.core.curve import Curve
from aetheory.core.solve import DEFAULT_MAX_STEPS
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.rotations import Rotations, default_rotations, rotated_risks
from aetheory.linear.theories.theory import Face, as_curve, check_loss, over_batch, prepared


@dataclass(frozen=True)
class BracketedTheory(AbstractTheory):
    """A limit without a closed form, whose curve comes with a bracket, `Curve.lower` and `Curve.upper`.

    Arguments:
        target_free: the target I drops out.
        tied: whether it is of tied weights, W₁ = W₂ᵀ; otherwise of separate ones.
        face: the face of the prism, for a regime of one.
    """

    target_free: bool = False
    tied: bool = True
    face: Face | None = None

    is_approximate: ClassVar[bool] = True
    in_fits: ClassVar[dict[str, Any]] = {"method": Rotations(32, 2), "rtol": 1e-3}

    def curve(
        self,
        problem: AbstractLinear,
        times: Any,
        *,
        method: Any = None,
        rtol: float | Float[Array, ""] = 1e-4,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
        throw: bool = True,
    ) -> Curve:
        """Both risks with their bracket.

        Arguments:
            problem: the dimensions and the initial variance, or the ratios.
            times: flow times, shape (num_times,), nonnegative and in increasing order.
            method: an `ae.Rotations`, their size and number; `ae.Rotations(48, 12)` by default, and
                `ae.Rotations(96, 8)` for inputs with a covariance of their own, whose spectrum has more detail, and for
                untied weights, for which half the size stands.
            rtol: relative tolerance of each flow, well below the width of the bracket.
            max_steps: the most steps each flow may take.
            adjoint: how Diffrax differentiates a flow; reverse mode when omitted.
            throw: raise when a flow does not finish; otherwise `Curve.stats` says so.

        Raises:
            ValueError: an argument is out of its range.
            RuntimeError: a flow ran out of steps (with `throw`).
        """
        method = default_rotations(problem) if method is None else method
        check_instance("method", method, Rotations, f"an `ae.Rotations` or None for the {self.name} regime")
        check_loss(problem, not self.target_free, self.name, self.tied)
        times, ratios, solver = prepared(problem, times, rtol, max_steps, adjoint)
        rotations = jnp.asarray(method.matrices(), times.dtype)
        on_cpu = jax.default_backend() == "cpu"
        arguments = (rotations, times, self.target_free, solver)
        estimate, stats = over_batch(rotated_risks, ratios, *arguments, one_by_one=on_cpu)
        return as_curve(self, problem, times, estimate, stats, throw)


INTERIOR = BracketedTheory(
    name="interior",
    formula="the flow of two free elements M(0) and S with the target: no closed form is known",
    citations=(Citation("golikov2026prism"), Citation("voiculescu1991limit", derived=True)),
    tested="pσ² from .1 to 10, H/p and p/N within √10 of 1, at all times",
    error="the bracket; within .4 % of max(1, R(0))",
)
"""x, y and z all of order one."""

UNTIED = BracketedTheory(
    name="untied",
    formula="the flow of two Gaussian factors W₂, W₁ and S in free relative position: no closed form is known",
    citations=(
        Citation("pretorius2018learning", derived=True),
        Citation("voiculescu1991limit", derived=True),
    ),
    tested="simulations at p = 300, Hσ² from 3·10⁻⁴ to 1.3, H/p from .3 to 3, p/N from 0 to 1.5, to rest",
    error="the bracket; within .5 % of max(1, R(0)) of these simulations",
    tied=False,
)
"""Untied weights, any start."""
