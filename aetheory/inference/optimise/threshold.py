"""The threshold that is furthest from failing."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.group_sparse.guarantees import ThresholdInterval


class ThresholdChoice(eqx.Module):
    """The threshold with the largest margin.

    Arguments:
        threshold: λ.
        margin: how far it is from both ends of the interval; negative where the interval is empty, and no threshold
            is guaranteed.
    """

    threshold: Float[Array, "*batch"]
    margin: Float[Array, "*batch"]


def threshold(interval: ThresholdInterval) -> ThresholdChoice:
    """The threshold λ that maximises the recovery margin min(λ − lower, upper − λ): the middle of the interval.

    The margin is how much louder an inactive group, or fainter an active one, may be than the guarantee assumes, noise
    included. Explicit, hence one evaluation, and differentiable in whatever the interval was computed from.

    Arguments:
        interval: of `ae.recovery.threshold_interval` (form "sound") or `ae.recovery.support_guarantee`.

    Source: the interval: arXiv:2102.07003.
    """
    middle, half = (interval.lower + interval.upper) / 2, (interval.upper - interval.lower) / 2
    # no threshold is negative
    chosen = jnp.maximum(middle, 0)
    return ThresholdChoice(chosen, jnp.minimum(half, interval.upper - chosen))
