"""Where to start and when to stop the training of a linear autoencoder.

Source: the curves: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

from collections.abc import Sequence
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_real
from aetheory.core.predict import predict
from aetheory.inference.optimise.scalar import Minimum, minimise
from aetheory.linear.problem import LinearRatios


def initial_scale(
    time: Any,
    latent_ratio: Any,
    sample_ratio: Any,
    regime: str | Sequence[str],
    *,
    bounds: tuple[Any, Any] = (1e-2, 10.0),
    **options: Any,
) -> Minimum:
    """The initial scale x = pσ² at which the population risk after a given time is least.

    Arguments:
        time: flow time, the budget; positive.
        latent_ratio: y = H/p, positive.
        sample_ratio: z = p/N, nonnegative.
        regime: as for `predict`.
        bounds: the range of x.
        options: of `predict`, such as `num_nodes` and `rtol`, and of `minimise`: `num_scanned`.

    Returns:
        A `Minimum`: x, the risk, whether x is an end of its range, the number of curves that were computed.

    Raises:
        ValueError: an argument is out of its range.

    Source: arXiv:2606.05335.
    """
    check_real("time", time, "finite and positive", minimum=0.0, strict=True)
    search = {name: options.pop(name) for name in ("num_scanned",) if name in options}

    def risk(scale: Float[Array, ""]) -> Float[Array, ""]:
        times = as_float(time).astype(scale.dtype)[None]
        return _population(LinearRatios(scale, latent_ratio, sample_ratio), times, regime, options)

    return minimise(risk, bounds, **search)


def stopping_time(
    init_scale: Any,
    latent_ratio: Any,
    sample_ratio: Any,
    regime: str | Sequence[str],
    *,
    bounds: tuple[Any, Any] = (1e-2, 10.0),
    **options: Any,
) -> Minimum:
    """The flow time at which the population risk is least, and that risk.

    As functions of p/N by `jax.vmap` over `sample_ratio`. Where training longer never hurts, the end of the range is
    returned and `at_bound` says so.

    Arguments:
        init_scale: x = pσ², positive.
        latent_ratio: y = H/p, positive.
        sample_ratio: z = p/N, nonnegative.
        regime: as for `predict`.
        bounds: the range of times.
        options: as for `initial_scale`.

    Raises:
        ValueError: an argument is out of its range.

    Source: arXiv:2606.05335.
    """
    ratios = LinearRatios(init_scale, latent_ratio, sample_ratio)
    search = {name: options.pop(name) for name in ("num_scanned",) if name in options}

    def risk(time: Float[Array, ""]) -> Float[Array, ""]:
        return _population(ratios, time[None], regime, options)

    return minimise(risk, bounds, **search)


def _population(
    ratios: LinearRatios, times: Float[Array, " times"], regime: str | Sequence[str], options: dict[str, Any]
) -> Float[Array, ""]:
    curve = predict(ratios, times, regime, adjoint=diffrax.ForwardMode(), throw=False, **options)
    finished = jnp.asarray(True) if curve.stats is None else curve.stats.succeeded
    # a flow that did not finish is no candidate
    return jnp.where(finished, curve.population[-1], jnp.inf)
