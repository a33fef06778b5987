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
        modes: "reverse" and "forward", or the one that there is.
    """

    function: Callable
    parameters: tuple[float, ...]
    tolerance: float = 1e-5
    modes: tuple[str, ...] = ("reverse", "forward")


def check(case: Case) -> None:
    """Gradients under jit and vmap, in each mode, at two points, against central differences of one weighted sum."""
    point = jnp.asarray(case.parameters, jnp.float64)
    points = jnp.stack([point, 1.02 * point])

    def scalar(parameters, forward):
        values = jnp.ravel(case.function(parameters, forward))
        return jnp.sum(values * jnp.cos(1 + jnp.arange(values.size)))

    size = point.size
    steps = STEP * jnp.maximum(jnp.abs(points), 1e-3)[:, None, :] * jnp.eye(size)[None]
    moved = jnp.concatenate([points[:, None] + steps, points[:, None] - steps], axis=1).reshape(-1, size)
    values = np.asarray(jax.lax.map(jax.jit(lambda one: scalar(one, False)), moved)).reshape(2, 2, size)
    lengths = np.asarray(jnp.sum(steps, axis=-1))
    expected = (values[:, 0] - values[:, 1]) / (2 * lengths)
    assert np.abs(expected).max() > 0, "the case does not depend on its parameters"
    close = {"rtol": 0, "atol": case.tolerance * np.abs(expected).max()}
    if "reverse" in case.modes:
        found = jax.jit(jax.vmap(jax.grad(lambda one: scalar(one, False))))(points)
        np.testing.assert_allclose(found, expected, **close, err_msg="reverse mode")
    if "forward" in case.modes:
        found = jax.jit(jax.vmap(jax.jacfwd(lambda one: scalar(one, True))))(points)
        np.testing.assert_allclose(found, expected, **close, err_msg="forward mode")
