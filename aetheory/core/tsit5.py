"""Tsitouras' method with its stages written out, for large states."""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class _Interpolation(diffrax.AbstractLocalInterpolation):
    """The method's own interpolation, from the stages' velocities instead of their increments."""

    t0: Float[Array, ""]  # type: ignore[misc]
    t1: Float[Array, ""]  # type: ignore[misc]
    y0: PyTree
    k: PyTree

    def __init__(self, *, t0: Any, t1: Any, y0: PyTree, y1: PyTree, k: PyTree) -> None:
        del y1
        self.t0, self.t1, self.y0, self.k = t0, t1, y0, k

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
        """The state at `t0`, or the difference between those at `t1` and at `t0`."""
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        num_stages = len(diffrax.Tsit5.tableau.b_sol)
        unit = jnp.eye(num_stages, dtype=jnp.result_type(self.t0))
        weights = diffrax.Tsit5.interpolation_cls(t0=self.t0, t1=self.t1, y0=jnp.zeros_like(unit[0]), y1=None, k=unit)
        return _advanced(self.y0, self.t1 - self.t0, weights.evaluate(t0), self.k)


def _advanced(start: PyTree, step: Any, weights: Any, velocities: PyTree) -> PyTree:
    """start + step · Σ weights · velocities, over the first stages, as many as there are weights."""
    return jax.tree.map(
        lambda y, k: y + step * sum(weight * k[stage] for stage, weight in enumerate(weights)), start, velocities
    )


class WrittenOutTsit5(diffrax.Tsit5):
    """Tsitouras' 5(4) method for ordinary differential equations: the steps of `diffrax.Tsit5`, in fewer passes.

    Diffrax loops over the stages, which compiles the vector field once, and reads all seven velocities in each. Here
    every stage is an expression of its own, of the velocities that it needs: the program has six vector fields, and a
    step of a state larger than the cache takes less time. There are no jumps.

    Source: Ch. Tsitouras (2011), "Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying
    assumption".
    """

    interpolation_cls: ClassVar[Any] = _Interpolation

    def init(self, terms: diffrax.AbstractTerm[Any, Any], t0: Any, t1: Any, y0: PyTree, args: Any) -> PyTree:
        """The velocity at the start."""
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: diffrax.AbstractTerm[Any, Any],
        t0: Any,
        t1: Any,
        y0: PyTree,
        args: Any,
        solver_state: PyTree,
        made_jump: Any,
    ) -> tuple[PyTree, PyTree, dict[str, PyTree], PyTree, Any]:
        """One step: the state at `t1`, its error, what to interpolate, the velocity there, and that it went well."""
        del made_jump
        step, tableau = t1 - t0, self.tableau
        num_stages = len(tableau.b_sol)

        # one array for all stages: of separate ones, XLA would compute each again wherever it is read
        velocities = jax.tree.map(lambda k: jnp.zeros((num_stages, *k.shape), k.dtype).at[0].set(k), solver_state)
        state = y0
        for stage, (weights, place) in enumerate(zip(tableau.a_lower, tableau.c, strict=True), start=1):
            state = _advanced(y0, step, weights.tolist(), velocities)
            velocity = terms.vf(t0 + float(place) * step, state, args)
            velocities = jax.tree.map(lambda k, new, stage=stage: k.at[stage].set(new), velocities, velocity)
        still = jax.tree.map(jnp.zeros_like, y0)
        error = _advanced(still, step, tableau.b_error.tolist(), velocities)
        last = jax.tree.map(lambda k: k[-1], velocities)
        return state, error, {"y0": y0, "y1": state, "k": velocities}, last, diffrax.RESULTS.successful
