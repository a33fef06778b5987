"""Dictionaries, group after group of columns: what sources, networks and figures ask of them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jaxtyping import ArrayLike as AnyArrayLike

from aetheory.core.checks import check_array, fail, is_concrete


class DictionaryModule(eqx.Module):
    """A module with a dictionary in groups of columns, and its dimensions."""

    dictionary: eqx.AbstractVar[Float[Array, "input_dim latent_dim"]]
    group_size: eqx.AbstractVar[int]

    @property
    def input_dim(self) -> int:
        """n, the entries of a signal."""
        return self.dictionary.shape[0]

    @property
    def latent_dim(self) -> int:
        """m, the entries of a code."""
        return self.dictionary.shape[1]

    @property
    def num_groups(self) -> int:
        """Γ = m/d."""
        return self.latent_dim // self.group_size


def normalise_columns(dictionary: Float[Array, "input_dim latent_dim"]) -> Float[Array, "input_dim latent_dim"]:
    """The dictionary with every column scaled to norm 1; a column of zeros stays."""
    squares = jnp.sum(dictionary**2, axis=0, keepdims=True)
    return dictionary / jnp.sqrt(jnp.where(squares > 0, squares, 1))


def check_dictionary(name: str, dictionary: Float[AnyArrayLike, "..."]) -> Float[Array, "input_dim latent_dim"]:
    """`dictionary` as a floating-point matrix, checked to be finite and without zero columns (when concrete)."""
    matrix = check_array(name, dictionary, "a finite matrix of shape (input_dim, latent_dim)", 2)
    if not is_concrete(matrix):
        return matrix
    if (zeros := np.flatnonzero(~np.asarray(matrix).any(axis=0))).size:
        raise ValueError(f"Argument `{name}` must have no column of zeros, but column {zeros[0]} is one.")
    largest = float(np.abs(np.asarray(matrix)).max())
    if largest > float(np.finfo(matrix.dtype).max) ** 0.5 / matrix.shape[0]:
        raise ValueError(f"Argument `{name}` must have squares in the range of {matrix.dtype}, but has {largest:.2g}.")
    return matrix


def check_group_size(group_size: int, latent_dim: int) -> int:
    """The number of groups; raises unless `group_size` divides `latent_dim`."""
    if latent_dim % group_size:
        raise fail("group_size", f"a divisor of the latent dimension {latent_dim}", group_size)
    return latent_dim // group_size
