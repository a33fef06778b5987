"""The random key of each cell and repeat."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

from aetheory.sweeps.grid import make_grid


def cell_key(key: PRNGKeyArray, parameters: Mapping[str, Any], repeat: int = 0) -> PRNGKeyArray:
    """The key that `aetheory.sweep` gives to its function in one cell, to compute that cell again alone.

    Arguments:
        key: the sweep's key.
        parameters: all parameters of the cell, those included that play no part in the result.
        repeat: which draw.

    Raises:
        ValueError: parameters that are not those of a cell.
    """
    grid = make_grid([dict(parameters)])
    words = identity_words(grid.identities(np.zeros(1, int)))[0]
    return derive_key(key, words, np.uint32(repeat))


def identity_words(identities: Shaped[np.ndarray, " cells"]) -> Shaped[np.ndarray, "cells 2"]:
    """The two 32-bit halves of 64-bit numbers."""
    return np.stack([identities & 0xFFFFFFFF, identities >> np.uint64(32)], axis=1).astype(np.uint32)


def derive_key(key: PRNGKeyArray, words: Shaped[Array | np.ndarray, "2"], repeat: Any) -> PRNGKeyArray:
    """The key of one cell, which two 32-bit numbers name, and one repeat."""
    for number in (words[0], words[1], repeat):
        key = jax.random.fold_in(key, number)
    return key
