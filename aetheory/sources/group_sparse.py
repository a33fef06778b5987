"""Group-sparse signals: a few groups of columns of a dictionary, with random codes and noise."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray
from jaxtyping import ArrayLike as AnyArrayLike

from aetheory.core.checks import as_float, check_at_least, check_real, fail, static_integer
from aetheory.core.dictionary import check_dictionary, check_group_size

CODE_LAWS = ("uniform-norm", "gaussian", "nonnegative")


class GroupSparseSamples(NamedTuple):
    """What a source drew.

    Attributes:
        observations: y, shape (num_samples, input_dim).
        codes: x*, shape (num_samples, latent_dim).
        active: which groups are in the support, shape (num_samples, num_groups).
    """

    observations: Float[Array, "num_samples input_dim"]
    codes: Float[Array, "num_samples latent_dim"]
    active: Bool[Array, "num_samples num_groups"]


class GroupSparseSource(eqx.Module):
    """y = A* x* + noise, where γ of the Γ groups of x*, uniformly random ones, are active.

    With one active group it is a mixture of subspaces, and the group is the cluster. `sample` runs inside compiled
    loops, so that training sees fresh samples that are never stored.

    Arguments:
        dictionary: A*, shape (input_dim, latent_dim), finite, no column zero.
        group_size: d, the columns of a group; divides latent_dim.
        num_active: γ, from 1 to the number of groups.
        min_norm: B_min, the smallest norm of an active group; positive.
        max_norm: B_max ≥ B_min, the largest.
        code_law: of an active group,
            `"uniform-norm"`: a uniformly random direction with a norm uniform in [B_min, B_max];
            `"nonnegative"`: the same, with the absolute values of the entries;
            `"gaussian"`: independent N(0, v) entries, v such that E‖x_g‖² is that of the other two laws.
        signal_to_noise: 10 log₁₀ of E‖A*x*‖² over the E‖noise‖² of white Gaussian noise, in dB; None for no noise
            (0 means noise as strong as the signal).

    Raises:
        ValueError: an argument is not as described.

    Source: arXiv:2102.07003 ("uniform-norm").
    """

    dictionary: Float[Array, "input_dim latent_dim"]
    min_norm: Float[Array, ""]
    max_norm: Float[Array, ""]
    signal_to_noise: Float[Array, ""] | None
    group_size: int = eqx.field(static=True)
    num_active: int = eqx.field(static=True)
    code_law: str = eqx.field(static=True)

    def __init__(
        self,
        dictionary: Float[AnyArrayLike, "..."],
        group_size: int,
        num_active: int,
        *,
        min_norm: Num[AnyArrayLike, ""] = 1.0,
        max_norm: Num[AnyArrayLike, ""] = 1.0,
        code_law: str = "uniform-norm",
        signal_to_noise: Num[AnyArrayLike, ""] | None = None,
    ):
        self.dictionary = check_dictionary("dictionary", dictionary)
        self.group_size = static_integer("group_size", group_size)
        num_groups = check_group_size(self.group_size, self.latent_dim)
        self.num_active = static_integer("num_active", num_active)
        if self.num_active > num_groups:
            raise fail("num_active", f"at most the number of groups, {num_groups}", num_active)
        check_real("min_norm", min_norm, "finite and positive", minimum=0.0, strict=True)
        check_real("max_norm", max_norm, "finite and positive", minimum=0.0, strict=True)
        check_at_least("max_norm", max_norm, "min_norm", min_norm)
        if code_law not in CODE_LAWS:
            raise fail("code_law", f"one of {', '.join(map(repr, CODE_LAWS))}", code_law)
        if signal_to_noise is not None:
            check_real("signal_to_noise", signal_to_noise, "a finite number of decibels, or None for no noise")
        dtype = self.dictionary.dtype
        self.min_norm, self.max_norm = (as_float(norm).astype(dtype) for norm in (min_norm, max_norm))
        self.code_law = code_law
        self.signal_to_noise = None if signal_to_noise is None else as_float(signal_to_noise).astype(dtype)

    @property
    def input_dim(self) -> int:
        """n, the entries of an observation."""
        return self.dictionary.shape[0]

    @property
    def latent_dim(self) -> int:
        """m, the entries of a code."""
        return self.dictionary.shape[1]

    @property
    def num_groups(self) -> int:
        """Γ = m/d."""
        return self.latent_dim // self.group_size

    @property
    def mean_squared_norm(self) -> Float[Array, ""]:
        """E‖x_g‖² of an active group, the same for every law."""
        return (self.min_norm**2 + self.min_norm * self.max_norm + self.max_norm**2) / 3

    @property
    def signal_energy(self) -> Float[Array, ""]:
        """E‖A*x*‖², exactly."""
        own, within, across = self._second_moments
        group_sums = self._group_sums
        columns, groups = jnp.sum(self.dictionary**2), jnp.sum(group_sums**2)
        return own * columns + within * (groups - columns) + across * (jnp.sum(jnp.sum(group_sums, 1) ** 2) - groups)

    @property
    def noise_variance(self) -> Float[Array, ""]:
        """The variance of the noise in each entry of an observation."""
        if self.signal_to_noise is None:
            return jnp.zeros((), self.dictionary.dtype)
        return self.signal_energy / self.input_dim * 10 ** (-self.signal_to_noise / 10)

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """The covariance of an observation, noise included, exactly."""
        own, within, across = self._second_moments
        group_sums, mean = self._group_sums, self._mean_entry * jnp.sum(self.dictionary, 1)
        total = jnp.sum(group_sums, 1)
        columns, groups = self.dictionary @ self.dictionary.T, group_sums @ group_sums.T
        signal = own * columns + within * (groups - columns) + across * (jnp.outer(total, total) - groups)
        return signal - jnp.outer(mean, mean) + self.noise_variance * jnp.eye(self.input_dim, dtype=mean.dtype)

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_drawn input_dim"]:
        """Fresh observations, shape (num_samples, input_dim).

        Raises:
            ValueError: `num_samples` is not a positive integer.
        """
        return self._draw(key, static_integer("num_samples", num_samples))[0]

    def draw(self, key: PRNGKeyArray, num_samples: int) -> GroupSparseSamples:
        """The observations that `sample` draws from the same key, with their codes and active groups.

        Raises:
            ValueError: `num_samples` is not a positive integer.
        """
        num_samples = static_integer("num_samples", num_samples)
        observations, groups, entries = self._draw(key, num_samples)
        rows = jnp.arange(num_samples)[:, None]
        codes = jnp.zeros((num_samples, self.num_groups, self.group_size), entries.dtype).at[rows, groups].set(entries)
        active = jnp.zeros((num_samples, self.num_groups), bool).at[rows, groups].set(True)
        return GroupSparseSamples(observations, codes.reshape(num_samples, self.latent_dim), active)

    @eqx.filter_jit
    def _draw(
        self, key: PRNGKeyArray, num_samples: int
    ) -> tuple[
        Float[Array, "num_samples input_dim"],
        Array,
        Float[Array, "num_samples num_active group_size"],
    ]:
        """Observations, the numbers of their active groups, and the codes in those groups."""
        groups_key, code_key, noise_key = jax.random.split(key, 3)
        groups = random_subsets(groups_key, num_samples, self.num_groups, self.num_active)
        entries = self._draw_codes(code_key, num_samples)
        # γd columns of the dictionary, one after the other: a product with the dense code would cost Γ/γ times more.
        columns = (groups[:, :, None] * self.group_size + jnp.arange(self.group_size)[None, None, :]).reshape(
            num_samples, -1
        )
        weights, atoms = entries.reshape(num_samples, -1), self.dictionary.T

        def add(observations: Float[Array, "..."], column: tuple[Array, Array]) -> tuple[Float[Array, "..."], None]:
            index, weight = column
            return observations + weight[:, None] * atoms[index], None

        observations, _ = jax.lax.scan(
            add, jnp.zeros((num_samples, self.input_dim), weights.dtype), (columns.T, weights.T), unroll=4
        )
        if self.signal_to_noise is not None:
            noise = jax.random.normal(noise_key, observations.shape, observations.dtype)
            observations = observations + jnp.sqrt(self.noise_variance) * noise
        return observations, groups, entries

    def _draw_codes(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_samples num_active group_size"]:
        shape, dtype = (num_samples, self.num_active, self.group_size), self.dictionary.dtype
        direction_key, norm_key = jax.random.split(key)
        entries = jax.random.normal(direction_key, shape, dtype)
        if self.code_law == "gaussian":
            return jnp.sqrt(self.mean_squared_norm / self.group_size) * entries
        if self.code_law == "nonnegative":
            entries = jnp.abs(entries)
        uniform = jax.random.uniform(norm_key, (num_samples, self.num_active, 1), dtype)
        norms = self.min_norm + (self.max_norm - self.min_norm) * uniform
        directions: Array = entries / jnp.linalg.norm(entries, axis=-1, keepdims=True)
        return norms * directions

    @property
    def _group_sums(self) -> Float[Array, "input_dim num_groups"]:
        """The sum of the columns of each group."""
        return jnp.sum(self.dictionary.reshape(self.input_dim, self.num_groups, self.group_size), axis=-1)

    @property
    def _mean_entry(self) -> Float[Array, ""]:
        """E x_i: zero but for nonnegative codes, where E|u_i| = Γ(d/2)/(√π Γ((d+1)/2)) on the unit sphere."""
        if self.code_law != "nonnegative":
            return jnp.zeros((), self.dictionary.dtype)
        half = self.group_size / 2
        direction = math.exp(math.lgamma(half) - math.lgamma(half + 0.5)) / math.sqrt(math.pi)
        return self.num_active / self.num_groups * direction * (self.min_norm + self.max_norm) / 2

    @property
    def _second_moments(self) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """E x_i², E x_i x_j within a group, and E x_i x_j across groups."""
        probability = self.num_active / self.num_groups
        own = probability * self.mean_squared_norm / self.group_size
        if self.code_law != "nonnegative":
            return own, jnp.zeros_like(own), jnp.zeros_like(own)
        both = (self.num_active - 1) / max(self.num_groups - 1, 1)  # active, given that another group is
        return own, own * (2 / math.pi), (self._mean_entry / probability) ** 2 * probability * both


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
