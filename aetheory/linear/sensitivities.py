"""How a limit curve answers to its three ratios: derivatives in their logarithms, and elasticities.

Source: the curves: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_times, common_float_dtype, fail
from aetheory.core.curve import Curve, Risks
from aetheory.linear.parameters import LimitParameters
from aetheory.linear.predict import predict
from aetheory.linear.problem import LinearProblem, LinearRatios

RATIOS = ("init_scale", "latent_ratio", "sample_ratio")


class Sensitivities(eqx.Module):
    """A curve and its derivatives in the logarithms of x = pσ², y = H/p and z = p/N.

    Arguments:
        curve: the curve itself.
        derivatives: ∂R/∂log θ of both risks, by the name of the ratio, shape (num_times,) each: what the risk gains
            per relative change of the ratio.
    """

    curve: Curve
    derivatives: dict[str, Risks]

    @property
    def elasticities(self) -> dict[str, Risks]:
        """∂log R/∂log θ: per cent of risk for each per cent of the ratio; 0 where both vanish."""
        return {
            name: Risks(_ratio(one.train, self.curve.train), _ratio(one.population, self.curve.population))
            for name, one in self.derivatives.items()
        }


def sensitivities(
    problem: LinearProblem | LinearRatios,
    times: Any,
    regime: str | Sequence[str] | None = None,
    **options: Any,
) -> Sensitivities:
    """The derivatives of a limit curve in the logarithms of its initial scale, latent ratio and sample ratio.

    By forward differentiation, one tangent for each ratio: through the closed form where there is one, otherwise
    through the flow. Where a ratio is 0 its logarithmic derivative is too.

    Arguments:
        problem: a single problem, or its ratios.
        times: flow times, shape (num_times,).
        regime: as for `predict`; the one that `locate` finds when omitted (for a `LinearProblem`).
        options: of `predict`, but for `adjoint`.

    Raises:
        ValueError: a batch of problems, or what `predict` refuses.

    Source: arXiv:2606.05335.
    """
    if "adjoint" in options:
        raise fail("options", "without `adjoint`, which is forward mode here", sorted(options))
    if any(jnp.ndim(getattr(problem, name)) for name in RATIOS):
        raise ValueError("Argument `problem` must be a single problem, but got a batch; map over it with `jax.vmap`.")
    times = check_times(times)
    # also tells the regime where none is named, which the traced ratios below could not
    curve = predict(problem, times, regime, **options)
    faces = tuple(curve.label.split(" ∩ "))
    dtype = common_float_dtype(times, curve.train)
    parameters = LimitParameters.of(problem, dtype)

    def risks(changes: Float[Array, " three"]) -> Risks:
        factors = jnp.exp(changes)
        x, y, z = (getattr(parameters, name) * factor for name, factor in zip(RATIOS, factors, strict=True))
        chosen = faces[0] if len(faces) == 1 else faces
        moved = LinearRatios(x, y, z, parameters.input_dim)
        found = predict(moved, times, chosen, adjoint=diffrax.ForwardMode(), **options)
        return Risks(found.train, found.population)

    jacobian = jax.jacfwd(risks)(jnp.zeros(len(RATIOS), dtype))
    derivatives = {
        name: Risks(jacobian.train[:, index], jacobian.population[:, index]) for index, name in enumerate(RATIOS)
    }
    return Sensitivities(replace(curve, stats=None), derivatives)


def _ratio(change: Float[Array, " times"], value: Float[Array, " times"]) -> Float[Array, " times"]:
    return jnp.where(value == 0, 0, change / jnp.where(value == 0, 1, value))
