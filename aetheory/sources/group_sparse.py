"""Group-sparse signals: combinations of a few groups of columns of a dictionary, with noise."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Num, PRNGKeyArray

from aetheory.core.checks import as_float, check_at_least, check_key, check_real, fail, is_concrete, static_integer
from aetheory.core.dictionary import DictionaryModule, check_dictionary, check_group_size


class GroupSparseSamples(NamedTuple):
    """Samples with their codes and active groups.

    Attributes:
        observations: y, shape (num_samples, input_dim).
        codes: x*, shape (num_samples, latent_dim).
        active: which groups are in the support, shape (num_samples, num_groups).
    """

    observations: Float[Array, "num_samples input_dim"]
    codes: Float[Array, "num_samples latent_dim"]
    active: Bool[Array, "num_samples num_groups"]


class GroupSparseSource(DictionaryModule):
    """Signals y = A* x* + noise with γ uniformly random active groups among the Γ groups of x*.

    An active group has a uniformly random direction and a norm uniform in [B_min, B_max]. With one active group it is
    a mixture of subspaces. `sample` runs inside compiled loops, so that fresh samples are never stored.

    Arguments:
        dictionary: A*, shape (input_dim, latent_dim), finite, no column zero.
        group_size: d, the columns of a group; divides latent_dim.
        num_active: γ, from 1 to the number of groups.
        min_norm: B_min, the smallest norm of an active group; positive.
        max_norm: B_max ≥ B_min, the largest.
        signal_to_noise: 10 log₁₀ of E‖A*x*‖² over the E‖noise‖² of white Gaussian noise, in dB; None for no noise.

    Source: arXiv:2102.07003, generative model (1)–(2).
    """

    dictionary: Float[Array, "input_dim latent_dim"]
    min_norm: Float[Array, ""]
    max_norm: Float[Array, ""]
    signal_to_noise: Float[Array, ""] | None
    group_size: int = eqx.field(static=True)
    num_active: int = eqx.field(static=True)

    def __init__(
        self,
        dictionary: Float[ArrayLike, "..."],
        group_size: int,
        num_active: int,
        *,
        min_norm: Num[ArrayLike, ""] = 1.0,
        max_norm: Num[ArrayLike, ""] = 1.0,
        signal_to_noise: Num[ArrayLike, ""] | None = None,
    ):
        self.dictionary = check_dictionary("dictionary", dictionary)
        self.group_size = static_integer("group_size", group_size)
        num_groups = check_group_size(self.group_size, self.latent_dim)
        self.num_active = static_integer("num_active", num_active)
        check_law(self.num_active, num_groups, min_norm, max_norm, signal_to_noise)
        dtype = self.dictionary.dtype
        self.min_norm, self.max_norm = as_float(min_norm).astype(dtype), as_float(max_norm).astype(dtype)
        self.signal_to_noise = None if signal_to_noise is None else as_float(signal_to_noise).astype(dtype)

    @property
    def mean_squared_norm(self) -> Float[Array, ""]:
        """E‖x_g‖² of an active group."""
        return (self.min_norm**2 + self.min_norm * self.max_norm + self.max_norm**2) / 3

    @property
    def signal_energy(self) -> Float[Array, ""]:
        """E‖A*x*‖², exactly."""
        return self._entry_variance * jnp.sum(self.dictionary**2)

    @property
    def noise_variance(self) -> Float[Array, ""]:
        """The variance of the noise in each entry of an observation."""
        if self.signal_to_noise is None:
            return jnp.zeros((), self.dictionary.dtype)
        return self.signal_energy / self.input_dim * 10 ** (-self.signal_to_noise / 10)

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """The covariance of an observation, noise included, exactly."""
        signal = jnp.matmul(self.dictionary, self.dictionary.T, precision=jax.lax.Precision.HIGHEST)
        return self._entry_variance * signal + self.noise_variance * jnp.eye(self.input_dim, dtype=signal.dtype)

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_drawn input_dim"]:
        """Independent observations, shape (num_samples, input_dim)."""
        return self.draw(key, num_samples).observations

    def draw(self, key: PRNGKeyArray, num_samples: int) -> GroupSparseSamples:
        """The observations that `sample` draws from the same key, with their codes and active groups."""
        check_key(key)
        return self._draw(key, static_integer("num_samples", num_samples))

    @eqx.filter_jit
    def _draw(self, key: PRNGKeyArray, num_samples: int) -> GroupSparseSamples:
        groups_key, code_key, noise_key = jax.random.split(key, 3)
        groups = random_subsets(groups_key, num_samples, self.num_groups, self.num_active)
        entries = self._draw_codes(code_key, num_samples)
        columns = groups[:, :, None] * self.group_size + jnp.arange(self.group_size)[None, None, :]
        atoms, observations = self.dictionary.T, jnp.zeros((num_samples, self.input_dim), entries.dtype)

        def add(observations: Float[Array, "..."], column: tuple[Array, Array]) -> tuple[Float[Array, "..."], None]:
            index, weight = column
            return observations + weight[:, None] * atoms[index], None

        # column by column, because a product with the dense code would cost Γ/γ times more
        steps = (columns.reshape(num_samples, -1).T, entries.reshape(num_samples, -1).T)
        observations, _ = jax.lax.scan(add, observations, steps, unroll=4)
        if self.signal_to_noise is not None:
            noise = jax.random.normal(noise_key, observations.shape, observations.dtype)
            observations = observations + jnp.sqrt(self.noise_variance) * noise
        shape, rows = (num_samples, self.num_groups), jnp.arange(num_samples)[:, None]
        codes = jnp.zeros((*shape, self.group_size), entries.dtype).at[rows, groups].set(entries)
        active = jnp.zeros(shape, bool).at[rows, groups].set(True)
        return GroupSparseSamples(observations, codes.reshape(num_samples, -1), active)

    @property
    def _entry_variance(self) -> Float[Array, ""]:
        """E x_i² of an entry of a code, active or not; different entries are uncorrelated."""
        return self.num_active / self.latent_dim * self.mean_squared_norm

    def _draw_codes(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_samples num_active group_size"]:
        shape, dtype = (num_samples, self.num_active), self.dictionary.dtype
        direction_key, norm_key = jax.random.split(key)
        directions = jax.random.normal(direction_key, (*shape, self.group_size), dtype)
        norms = self.min_norm + (self.max_norm - self.min_norm) * jax.random.uniform(norm_key, (*shape, 1), dtype)
        codes: Array = norms * (directions / jnp.linalg.norm(directions, axis=-1, keepdims=True))
        return codes


def check_law(num_active: Any, num_groups: Any, min_norm: Any, max_norm: Any, signal_to_noise: Any = None) -> None:
    """Raise unless 1 ≤ γ ≤ Γ, 0 < B_min ≤ B_max and the decibels are finite. Traced numbers pass."""
    check_real("num_active", num_active, "at least 1", minimum=1.0)
    if is_concrete(num_active) and np.any(np.asarray(num_active) > num_groups):
        raise fail("num_active", f"at most the number of groups, {num_groups}", num_active)
    for name, norm in (("min_norm", min_norm), ("max_norm", max_norm)):
        check_real(name, norm, "finite and positive", minimum=0.0, strict=True)
    check_at_least("max_norm", max_norm, "min_norm", min_norm)
    if signal_to_noise is not None:
        check_real("signal_to_noise", signal_to_noise, "a finite number of decibels, or None for no noise")


def random_subsets(key: PRNGKeyArray, num_subsets: int, size: int, num_chosen: int) -> Array:
    """Independent, uniformly random subsets of {0, …, size − 1}, each as `num_chosen` different numbers.

    Their order within a row is not uniform. A row costs `num_chosen` draws, whatever `size` is.
    Source: R. Floyd, in J. Bentley, "A sample of brilliance", Communications of the ACM 30, 1987.
    """
    tops = jnp.arange(size - num_chosen, size)
    draws = jax.random.randint(key, (num_subsets, num_chosen), 0, tops[None, :] + 1)

    def choose(position: Array, chosen: Array) -> Array:
        drawn = draws[:, position]
        taken = jnp.any(chosen == drawn[:, None], axis=1)
        return chosen.at[:, position].set(jnp.where(taken, tops[position], drawn))

    subsets: Array = jax.lax.fori_loop(0, num_chosen, choose, jnp.full((num_subsets, num_chosen), -1, draws.dtype))
    return subsets
