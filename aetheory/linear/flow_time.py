"""From the steps of a training script to the flow time of the theory."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import check_real, fail, real_array, static_integer


def flow_time(
    steps: Any,
    learning_rate: float | int,
    *,
    input_dim: int,
    reduction: str = "mean",
    batch_size: int | None = None,
    momentum: float | int = 0.0,
) -> Float[Array, "..."]:
    """The time t that steps of gradient descent on a squared error take in the flow of ½ E‖x − W Wᵀx‖².

    A step of rate η on k · ½ E‖x − x̂‖² lasts kη: with PyTorch's `MSELoss`, the mean over inputs and entries, k = 2/p,
    and with its sum over both k = 2b for a batch of b. Momentum μ makes it 1/(1−μ) times as long once it has built up,
    after about 1/(1−μ) steps. Mini-batches keep the time and add noise of order η/b. Adam and others that rescale each
    entry follow no gradient flow, and have no such time. Steps are a flow as long as 4 k η s μ/(1−μ) ≪ 1 for the
    largest eigenvalue s of the data and of W Wᵀ.

    Arguments:
        steps: numbers of steps, nonnegative, of any shape.
        learning_rate: η.
        input_dim: p.
        reduction: "mean" or "sum", of the loss over inputs and entries; "samples" for the sum over entries and the
            mean over inputs.
        batch_size: b, needed for "sum".
        momentum: μ, in [0, 1), as in SGD with momentum or Nesterov's.

    Returns:
        Flow times of the shape of `steps`.

    Raises:
        ValueError: an argument is out of its range.
    """
    factors = {"mean": 2 / static_integer("input_dim", input_dim), "samples": 2.0}
    if reduction == "sum":
        if batch_size is None:
            raise fail("batch_size", "a positive integer with reduction='sum'", batch_size)
        factors["sum"] = 2.0 * static_integer("batch_size", batch_size)
    if reduction not in factors:
        raise fail("reduction", "'mean', 'sum' or 'samples'", reduction)
    check_real("learning_rate", learning_rate, "finite and positive", minimum=0.0, strict=True)
    check_real("momentum", momentum, "in [0, 1)", minimum=0.0)
    if not np.all(np.asarray(momentum) < 1):
        raise fail("momentum", "in [0, 1)", momentum)
    counted = real_array("steps", steps, "finite and nonnegative", minimum=0.0)
    return counted * (factors[reduction] * learning_rate / (1 - momentum))
