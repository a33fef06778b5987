"""Derivatives against central differences: one check for every function of the library."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEP = 1e-5


class Case(NamedTuple):
    """A function of a vector of real parameters.

    Arguments:
        function: parameters, and whether forward mode is asked for, to an array of any shape.
        parameters: where to differentiate.
        tolerance: relative to the largest derivative; wider where an adaptive solver's own error is differenced.
    """

    function: Callable
    parameters: tuple[float, ...]
    tolerance: float = 1e-5


def check(case: Case) -> None:
    """Gradients under jit and vmap, in both modes, at two points, against central differences of one weighted sum."""
    points = np.outer([1, 1.02], np.asarray(case.parameters, np.float64))

    def scalar(parameters, forward):
        values = jnp.ravel(case.function(parameters, forward))
        return jnp.sum(values * np.cos(1 + np.arange(values.size)))

    size = points.shape[1]
    steps = STEP * np.maximum(np.abs(points), 1e-3)[:, None, :] * np.eye(size)
    moved = np.concatenate([points[:, None] + steps, points[:, None] - steps, points[:, None]], axis=1)

    @jax.jit  # one program for values, gradients and forward derivatives
    def derivatives(moved, points):
        backward = jax.vmap(jax.value_and_grad(lambda one: scalar(one, False)))(moved)
        return *backward, jax.vmap(jax.jacfwd(lambda one: scalar(one, True)))(points)

    values, slopes, forward = derivatives(moved.reshape(-1, size), points)
    values, slopes = np.reshape(values, (2, -1)), np.reshape(slopes, (2, -1, size))
    expected = (values[:, :size] - values[:, size:-1]) / (2 * steps.sum(-1))
    assert np.abs(expected).max() > 0, "the case does not depend on its parameters"
    close = {"rtol": 0, "atol": case.tolerance * np.abs(expected).max()}
    np.testing.assert_allclose(slopes[:, -1], expected, **close, err_msg="reverse mode")
    np.testing.assert_allclose(forward, expected, **close, err_msg="forward mode")
