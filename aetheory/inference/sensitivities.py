"""Derivatives of a predicted curve in the logarithms of its problem's numbers, and elasticities."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_instance, check_times, common_float_dtype
from aetheory.core.curve import Curve, Values
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem
from aetheory.inference.fit_problem import forward_curve, with_numbers


class Sensitivities(eqx.Module):
    """A curve and its derivatives in the logarithms of the numbers of its problem.

    Arguments:
        curve: the curve itself.
        derivatives: ∂R/∂log θ of every value, by the name of the number, shape (num_times,) each: its change per
            relative change of the number.
    """

    curve: Curve
    derivatives: dict[str, Values]

    @property
    def elasticities(self) -> dict[str, Values]:
        """∂log R/∂log θ: per cent of a value for each per cent of the number; 0 where both vanish."""
        values = jax.tree.map(lambda value: jnp.where(value == 0, jnp.inf, value), self.curve.values)
        return {name: jax.tree.map(jnp.divide, one, values) for name, one in self.derivatives.items()}


def sensitivities(problem: AbstractProblem, times: Any, theory: Any = None) -> Sensitivities:
    """The derivatives of a predicted curve in the logarithms of its problem's `free_numbers`.

    By forward differentiation, one tangent for each number: through the closed form where there is one, otherwise
    through the flow. Where a number is 0 its logarithmic derivative is too.

    Arguments:
        problem: a single problem; the numbers of a linear one are x = pσ², y = H/p and z = p/N.
        times: flow times, shape (num_times,).
        theory: as for `predict`; the problem's own choice when omitted.

    Raises:
        ValueError: a batch of problems, or what `predict` refuses.
    """
    check_instance("problem", problem, AbstractProblem, "a problem, such as an ae.LinearProblem")
    real, names = problem.continuous(), problem.free_numbers
    numbers = {name: jnp.asarray(getattr(real, name)) for name in names}
    if any(number.ndim for number in numbers.values()):
        raise ValueError("Argument `problem` must be a single problem, but got a batch; map over it with `jax.vmap`.")
    times = check_times(times)
    theory = problem.default_theory() if theory is None else problem.find_theory(theory)
    curve = predict(problem, times, theory)
    dtype = common_float_dtype(times, *jax.tree.leaves(curve.values))

    def moved(changes: Float[Array, " free"]) -> Values:
        factors = zip(numbers.items(), jnp.exp(changes), strict=True)
        there = with_numbers(real, {name: number.astype(dtype) * factor for (name, number), factor in factors})
        return forward_curve(theory, there, times).values

    jacobian = jax.jacfwd(moved)(jnp.zeros(len(names), dtype))
    columns = [jax.tree.map(lambda leaf, index=index: leaf[..., index], jacobian) for index in range(len(names))]
    return Sensitivities(replace(curve, stats=None), dict(zip(names, columns, strict=True)))
