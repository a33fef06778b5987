"""How a predicted curve answers to the numbers of its problem: derivatives in their logarithms, and elasticities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_times, common_float_dtype, fail
from aetheory.core.curve import Curve, Values
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem


class Sensitivities(eqx.Module):
    """A curve and its derivatives in the logarithms of some numbers of its problem.

    Arguments:
        curve: the curve itself.
        derivatives: ∂R/∂log θ of every value, by the name of the number, shape (num_times,) each: what it gains per
            relative change of the number.
    """

    curve: Curve
    derivatives: dict[str, Values]

    @property
    def elasticities(self) -> dict[str, Values]:
        """∂log R/∂log θ: per cent of a value for each per cent of the number; 0 where both vanish."""
        return {name: jax.tree.map(_ratio, one, self.curve.values) for name, one in self.derivatives.items()}


def sensitivities(
    problem: AbstractProblem,
    times: Any,
    theory: Any = None,
    *,
    regime: Any = None,
    free: Sequence[str] | None = None,
    **options: Any,
) -> Sensitivities:
    """The derivatives of a predicted curve in the logarithms of some of its problem's numbers.

    By forward differentiation, one tangent for each number: through the closed form where there is one, otherwise
    through the flow. Where a number is 0 its logarithmic derivative is too.

    Arguments:
        problem: a single problem, whose theory is differentiable in the free numbers.
        times: flow times, shape (num_times,).
        theory: as for `predict`; the problem's own choice when omitted.
        regime: the same by the name that linear problems know it under.
        free: names of numbers, fields of `problem.continuous()`: x = pσ², y = H/p and z = p/N for a linear problem.
            The problem's own list when omitted.
        options: of the theory, but for `adjoint`.

    Raises:
        ValueError: a batch of problems, an unknown number, or what `predict` refuses.
    """
    if "adjoint" in options:
        raise fail("options", "without `adjoint`, which is forward mode here", sorted(options))
    real = problem.continuous()
    names = tuple(problem.free_numbers if free is None else free)
    if unknown := [name for name in names if name not in problem.free_numbers]:
        raise fail("free", f"made of {', '.join(map(repr, problem.free_numbers))}", unknown)
    values = [jnp.asarray(getattr(real, name)) for name in names]
    if any(value.ndim for value in values):
        raise ValueError("Argument `problem` must be a single problem, but got a batch; map over it with `jax.vmap`.")
    times = check_times(times)
    # also tells the theory where none is named, which the traced numbers below could not
    curve = predict(problem, times, theory, regime=regime, **options)
    dtype = common_float_dtype(times, *jax.tree.leaves(curve.values))
    if curve.stats is not None:
        options["adjoint"] = diffrax.ForwardMode()

    def moved(changes: Float[Array, " free"]) -> Values:
        numbers = [value.astype(dtype) * factor for value, factor in zip(values, jnp.exp(changes), strict=True)]
        there = eqx.tree_at(lambda one: [getattr(one, name) for name in names], real, numbers)
        return predict(there, times, curve.theory, **options).values

    jacobian = jax.jacfwd(moved)(jnp.zeros(len(names), dtype))
    derivatives = {
        name: jax.tree.map(lambda leaf, index=index: leaf[..., index], jacobian) for index, name in enumerate(names)
    }
    return Sensitivities(replace(curve, stats=None), derivatives)


def _ratio(change: Float[Array, " times"], value: Float[Array, " times"]) -> Float[Array, " times"]:
    return jnp.where(value == 0, 0, change / jnp.where(value == 0, 1, value))
