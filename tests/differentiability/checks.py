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
    point = jnp.asarray(case.parameters, jnp.float64)
    points = jnp.stack([point, 1.02 * point])

    def scalar(parameters, forward):
        values = jnp.ravel(case.function(parameters, forward))
        return jnp.sum(values * jnp.cos(1 + jnp.arange(values.size)))

    size = point.size
    steps = STEP * jnp.maximum(jnp.abs(points), 1e-3)[:, None, :] * jnp.eye(size)[None]
    # one program for values and gradients
    moved = jnp.concatenate([points[:, None] + steps, points[:, None] - steps, points[:, None]], axis=1)
    values, slopes = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(lambda one: scalar(one, False)))))(moved)
    expected = np.asarray(values[:, :size] - values[:, size:-1]) / (2 * np.asarray(jnp.sum(steps, axis=-1)))
    assert np.abs(expected).max() > 0, "the case does not depend on its parameters"
    close = {"rtol": 0, "atol": case.tolerance * np.abs(expected).max()}
    np.testing.assert_allclose(slopes[:, -1], expected, **close, err_msg="reverse mode")
    forward = jax.jit(jax.vmap(jax.jacfwd(lambda one: scalar(one, True))))(points)
    np.testing.assert_allclose(forward, expected, **close, err_msg="forward mode")
