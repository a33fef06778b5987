"""The reconstruction loss of a one-step group-sparse autoencoder, at the cost of the groups that are active."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.network import GroupSparseAutoencoder, group_relu

_DENSE_SHARE = 1 / 24
"""Of the columns: where a sample uses more of them, a CPU multiplies by all of them in less time."""


def sparse_reconstruction_loss(
    autoencoder: GroupSparseAutoencoder, samples: Float[Array, "num_samples input_dim"]
) -> Float[Array, ""]:
    """L = ½ mean over samples of ‖y − A σ(s Aᵀy)‖², the value and gradient of `reconstruction_loss`.

    With r = y − A x, x = σ(s Aᵀy), and J the Jacobian of σ there, −N ∂L/∂A = Σ r xᵀ + s y (J Aᵀr)ᵀ: both terms, and
    the reconstruction itself, need only the columns of the active groups. A CPU then computes one of the five dense
    products of a training step, and passes over the few active columns for the others. Where a sample has many active
    groups, for more than one iteration of the encoder and on other devices, the dense products are taken. For 1000
    samples of the published simulation value and gradient take a third of their time (1/3.1, one thread, float32).

    For first derivatives in reverse mode, as in `ae.gradient_descent`; `reconstruction_loss` has all others.

    Arguments:
        autoencoder: the module; of its arrays, only the dictionary has a gradient.
        samples: y, shape (num_samples, input_dim).

    Raises:
        ValueError: samples of another dimension.

    Source: arXiv:2102.07003, the gradient of the group-sparse autoencoder.
    """
    capacity = int(_DENSE_SHARE * autoencoder.num_groups)
    if autoencoder.num_iterations > 1 or capacity == 0 or jax.default_backend() != "cpu":
        return reconstruction_loss(autoencoder, samples)
    if samples.ndim != 2 or samples.shape[1] != autoencoder.input_dim:
        raise ValueError(
            f"Argument `samples` must have shape (num_samples, {autoencoder.input_dim}), but got {samples.shape}."
        )
    frozen: Any = jax.tree.map(
        jax.lax.stop_gradient, (autoencoder.threshold, autoencoder.element_threshold, autoencoder.step_size)
    )
    threshold, element_threshold, step_size = frozen
    step_size = jnp.ones((), samples.dtype) if step_size is None else step_size
    encoder = _Encoder(
        jnp.broadcast_to(step_size * threshold, (autoencoder.num_groups,)), step_size * element_threshold, step_size
    )
    shape = _Shape(autoencoder.group_size, autoencoder.nonnegative, capacity)
    return _loss(shape, autoencoder.atoms, samples, encoder)


class _Encoder(NamedTuple):
    """σ's thresholds, one a group and one for all entries, and the step size before it."""

    threshold: Float[Array, " groups"]
    element_threshold: Float[Array, ""]
    step_size: Float[Array, ""]


class _Shape(NamedTuple):
    """What is static: d, whether codes are nonnegative, and the most active groups for which sparsity pays."""

    group_size: int
    nonnegative: bool
    capacity: int


class _Slots(NamedTuple):
    """The active groups of each sample in order, as many slots as `capacity`; the unused ones hold zeros.

    Attributes:
        group: their numbers, shape (capacity, num_samples).
        used: which slots are.
        most: the number of slots that any sample uses.
    """

    group: Int[Array, "capacity samples"]
    used: Bool[Array, "capacity samples"]
    most: Int[Array, ""]

    def pick(self, codes: Float[Array, "samples groups size"]) -> Float[Array, "capacity samples size"]:
        """The entries of the groups in the slots."""
        picked = codes[jnp.arange(codes.shape[0])[None, :], self.group]
        return jnp.where(self.used[..., None], picked, 0)


class _Codes(NamedTuple):
    """z = s Aᵀy and x = σ(z), shape (num_samples, groups, d), and where x is active; `sparse` if the slots hold it."""

    before: Float[Array, "samples groups size"]
    after: Float[Array, "samples groups size"]
    slots: _Slots
    sparse: Bool[Array, ""]


class _Saved(NamedTuple):
    """What the gradient needs: arguments, codes and the errors y − ŷ."""

    atoms: Float[Array, "dim latent"]
    samples: Float[Array, "samples dim"]
    encoder: _Encoder
    codes: _Codes
    errors: Float[Array, "samples dim"]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(
    shape: _Shape, atoms: Float[Array, "dim latent"], samples: Float[Array, "samples dim"], encoder: _Encoder
) -> Float[Array, ""]:
    return _forward(shape, atoms, samples, encoder)[0]


def _forward(
    shape: _Shape, atoms: Float[Array, "dim latent"], samples: Float[Array, "samples dim"], encoder: _Encoder
) -> tuple[Float[Array, ""], _Saved]:
    codes = _encode(shape, atoms, samples, encoder)
    errors = jax.lax.cond(
        codes.sparse,
        lambda: samples - _combine(codes.slots, codes.after, atoms),
        lambda: samples - codes.after.reshape(len(samples), -1) @ atoms.T,
    )
    return 0.5 * jnp.mean(jnp.sum(errors**2, axis=-1)), _Saved(atoms, samples, encoder, codes, errors)


def _backward(shape: _Shape, saved: _Saved, cotangent: Float[Array, ""]) -> tuple[Any, Any, None]:
    saved = saved._replace(errors=cotangent / len(saved.samples) * saved.errors)
    gradients = jax.lax.cond(
        saved.codes.sparse, lambda: _sparse_gradients(shape, saved), lambda: _dense_gradients(shape, saved)
    )
    return *gradients, None


_loss.defvjp(_forward, _backward)


def _encode(
    shape: _Shape, atoms: Float[Array, "dim latent"], samples: Float[Array, "samples dim"], encoder: _Encoder
) -> _Codes:
    before = (encoder.step_size * (samples @ atoms)).reshape(len(samples), -1, shape.group_size)
    after = _shrink(shape, before, encoder.threshold, encoder.element_threshold)
    active = jnp.any(after != 0, axis=-1)
    most = jnp.max(jnp.sum(active, axis=-1))
    # where a threshold is 0 a group of zeros is active too, though its codes do not show it
    sparse = (most <= shape.capacity) & jnp.all(encoder.threshold > 0)
    return _Codes(before, after, _slots(active, jnp.where(sparse, most, 0), shape.capacity), sparse)


def _shrink(
    shape: _Shape,
    codes: Float[Array, "samples groups size"],
    threshold: Float[Array, " groups"],
    element_threshold: Float[Array, ""],
) -> Float[Array, "samples groups size"]:
    shrunk = group_relu(
        codes.reshape(len(codes), -1),
        threshold,
        shape.group_size,
        element_threshold=element_threshold,
        nonnegative=shape.nonnegative,
    )
    return shrunk.reshape(codes.shape)


def _slots(active: Bool[Array, "samples groups"], most: Int[Array, ""], capacity: int) -> _Slots:
    """Group by group: the next that is active after the one before."""
    num_samples, num_groups = active.shape
    number = jnp.arange(num_groups)[None, :]

    def find(slot: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        group, last = found
        following = jnp.min(jnp.where(active & (number > last[:, None]), number, num_groups), axis=1)
        return group.at[slot].set(following), following

    none = jnp.full((capacity, num_samples), num_groups, number.dtype)
    first = jnp.full(num_samples, -1, number.dtype)
    group, _ = jax.lax.fori_loop(0, most, find, (none, first))
    return _Slots(jnp.minimum(group, num_groups - 1), group < num_groups, most)


def _combine(
    slots: _Slots, codes: Float[Array, "samples groups size"], atoms: Float[Array, "dim latent"]
) -> Float[Array, "samples dim"]:
    """A x for each sample, from the columns in its slots."""
    num_samples, _, group_size = codes.shape
    entries, columns = slots.pick(codes), atoms.T

    def add(slot: Array, total: Array) -> Array:
        for place in range(group_size):
            total = total + entries[slot, :, place, None] * columns[slots.group[slot] * group_size + place]
        return total

    zero = jnp.zeros((num_samples, atoms.shape[0]), atoms.dtype)
    total: Array = jax.lax.fori_loop(0, slots.most, add, zero)
    return total


def _sparse_gradients(shape: _Shape, saved: _Saved) -> tuple[Float[Array, "dim latent"], Float[Array, "samples dim"]]:
    atoms, samples, encoder, codes, errors = saved
    slots, columns = codes.slots, atoms.T
    group_size, num_samples = shape.group_size, len(samples)
    before, after = slots.pick(codes.before), slots.pick(codes.after)

    def correlate(slot: Array, found: Array) -> Array:
        for place in range(group_size):
            rows = columns[slots.group[slot] * group_size + place]
            found = found.at[slot, :, place].set(jnp.sum(rows * errors, axis=-1))
        return found

    # −Aᵀr of the active groups, and back through σ
    correlations = -jax.lax.fori_loop(0, slots.most, correlate, jnp.zeros_like(after))
    threshold = encoder.threshold[slots.group].ravel()
    _, pull_back = jax.vjp(
        lambda inside: _shrink(shape, inside, threshold, encoder.element_threshold), before.reshape(1, -1, group_size)
    )
    (slopes,) = pull_back(correlations.reshape(1, -1, group_size))
    slopes = jnp.where(slots.used[..., None], encoder.step_size * slopes.reshape(after.shape), 0)

    def scatter(number: Array, gradient: Array) -> Array:
        # XLA's own scatter takes three times as long as this loop
        slot, sample = number // num_samples, number % num_samples
        start = (slots.group[slot, sample] * group_size, jnp.zeros((), slots.group.dtype))
        held = jax.lax.dynamic_slice(gradient, start, (group_size, atoms.shape[0]))
        moved = jnp.outer(slopes[slot, sample], samples[sample]) - jnp.outer(after[slot, sample], errors[sample])
        updated: Array = jax.lax.dynamic_update_slice(gradient, held + moved, start)
        return updated

    gradient = jax.lax.fori_loop(0, slots.most * num_samples, scatter, jnp.zeros_like(columns)).T
    spread = jnp.zeros_like(codes.after).at[jnp.arange(num_samples)[None, :], slots.group].add(slopes)
    return gradient, errors + _combine(slots, spread, atoms)


def _dense_gradients(shape: _Shape, saved: _Saved) -> tuple[Float[Array, "dim latent"], Float[Array, "samples dim"]]:
    atoms, samples, encoder, codes, errors = saved
    _, pull_back = jax.vjp(
        lambda before: _shrink(shape, before, encoder.threshold, encoder.element_threshold), codes.before
    )
    (slopes,) = pull_back(-(errors @ atoms).reshape(codes.before.shape))
    flat = encoder.step_size * slopes.reshape(len(samples), -1)
    gradient = samples.T @ flat - errors.T @ codes.after.reshape(len(samples), -1)
    return gradient, errors + flat @ atoms.T
