"""The group-sparse autoencoder: proximal gradient descent as encoder, and the tied decoder."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Num

from aetheory.core.checks import check_array, real_array, static_integer
from aetheory.core.dictionary import DictionaryModule, check_dictionary, check_group_size, normalise_columns
from aetheory.core.precision import exact_products

Dictionary = Float[Array, "input_dim latent_dim"]
Signals = Float[Array, "*batch input_dim"]
Codes = Float[Array, "*batch latent_dim"]

_POWER_ITERATIONS = 100


def group_relu(
    codes: Num[ArrayLike, "..."],
    threshold: Num[ArrayLike, "*groups"],
    group_size: int,
    *,
    nonnegative: bool = False,
) -> Float[Array, "*batch latent_dim"]:
    """Group ReLU σ_λ(x)_g = (1 − λ_g/‖x_g‖)₊ x_g for each group g, the proximal operator of Σ_g λ_g ‖x_g‖.

    With `nonnegative`, x₊ replaces x: the proximal operator on codes ≥ 0. Groups of one entry give the soft threshold,
    or with `nonnegative` the ReLU of x − λ. An active group has the Jacobian τI + λxxᵀ/‖x‖³, τ = 1 − λ/‖x‖.
    Derivatives at the kinks and at zero groups are those of the inactive side, never NaN.

    Arguments:
        codes: x, shape (..., num_groups · group_size), group after group.
        threshold: λ ≥ 0, one for all groups or of shape (num_groups,).
        group_size: d, the entries of a group.
        nonnegative: the one-sided form.

    Source: arXiv:2102.07003, eq. (7).
    """
    codes = check_array("codes", codes, "a finite, non-empty array with at least one axis")
    group_size = static_integer("group_size", group_size)
    threshold = _check_threshold(threshold, codes.shape[-1], group_size).astype(codes.dtype)
    # scaled, because squares of large codes overflow
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(codes), axis=-1, keepdims=True))
    scale = jnp.where(largest > 0, largest, 1)
    wide = threshold.reshape((1,) * (codes.ndim - 1) + (-1,))
    relative = jnp.minimum(wide, scale * (1 + codes.shape[-1])) / scale
    return scale * _shrink(codes / scale, relative, group_size, nonnegative)


class GroupSparseAutoencoder(DictionaryModule):
    """Autoencoder ŷ = A x with x from K steps x ← σ_{sλ}(x + s Aᵀ(y − A x)), starting at x = 0.

    One step with s = 1 is the published one-layer encoder σ_λ(Aᵀy). More steps are its unfolded form (ISTA), which
    converges to the minimiser of ½‖y − Ax‖² + Σ_g λ_g‖x_g‖; there s = 1/‖A‖₂², by power iteration at every call. With
    groups of one entry it is the sparse autoencoder, and with `nonnegative` the ReLU autoencoder with bias −λ.

    Takes one input, or a batch along leading axes. Train it with `ae.gradient_descent` on `ae.reconstruction_loss`, or
    where few groups are active on `ae.sparse_reconstruction_loss`. Only the dictionary is trained: no gradient reaches
    the threshold (`group_relu` is differentiable in it).

    Arguments:
        dictionary: A, shape (input_dim, latent_dim), finite, no column zero.
        threshold, group_size, nonnegative: arguments of `group_relu`.
        num_iterations: K, the number of unfolded steps.
        unit_norm: use the dictionary with its columns scaled to norm 1.

    Source: arXiv:2102.07003, encoder (11), decoder (12), cost (13); A. Beck, M. Teboulle, "A fast iterative
    shrinkage-thresholding algorithm", 2009 (the unfolded form).
    """

    dictionary: Dictionary
    threshold: Float[Array, "*groups"]
    group_size: int = eqx.field(static=True)
    num_iterations: int = eqx.field(static=True)
    nonnegative: bool = eqx.field(static=True)
    unit_norm: bool = eqx.field(static=True)

    def __init__(
        self,
        dictionary: Float[ArrayLike, "..."],
        threshold: Num[ArrayLike, "*groups"],
        group_size: int = 1,
        *,
        num_iterations: int = 1,
        nonnegative: bool = False,
        unit_norm: bool = False,
    ):
        self.dictionary = check_dictionary("dictionary", dictionary)
        self.group_size = static_integer("group_size", group_size)
        self.threshold = _check_threshold(threshold, self.latent_dim, self.group_size).astype(self.dictionary.dtype)
        self.num_iterations = static_integer("num_iterations", num_iterations)
        self.nonnegative, self.unit_norm = nonnegative, unit_norm

    @property
    def atoms(self) -> Dictionary:
        """A, the dictionary, with columns scaled to norm 1 when `unit_norm`."""
        return normalise_columns(self.dictionary) if self.unit_norm else self.dictionary

    def encode(self, inputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """Code x of each input y, shape (..., input_dim) to (..., latent_dim)."""
        if inputs.ndim == 0 or inputs.shape[-1] != self.input_dim:
            requirement = f"have {self.input_dim} entries along its last axis, one a row of the dictionary"
            raise ValueError(f"Argument `inputs` must {requirement}, but got shape {inputs.shape}.")
        return self._encode(self.atoms, inputs)

    @exact_products
    def decode(self, codes: Codes) -> Signals:
        """Reconstruction A x from each code x, shape (..., latent_dim) to (..., input_dim)."""
        return codes @ self.atoms.T

    def __call__(self, inputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """Reconstruction ŷ = A x of each input y; raises as `encode`."""
        return self.decode(self.encode(inputs))

    @eqx.filter_jit
    @exact_products
    def _encode(self, atoms: Dictionary, inputs: Signals) -> Codes:
        step_size = 1 / squared_spectral_norm(atoms) if self.num_iterations > 1 else jnp.ones((), atoms.dtype)
        threshold = step_size * jax.lax.stop_gradient(self.threshold)
        correlations = step_size * (inputs @ atoms)
        # a product with AᵀA costs m² a sample, two products with A cost 2nm
        gram = atoms.T @ atoms if self.num_iterations > 1 and self.latent_dim <= 2 * self.input_dim else None

        def step(codes: Codes, _: None) -> tuple[Codes, None]:
            image = codes @ gram if gram is not None else (codes @ atoms.T) @ atoms
            return shrink(codes - step_size * image + correlations), None

        shrink = partial(_shrink, threshold=threshold, group_size=self.group_size, nonnegative=self.nonnegative)
        return jax.lax.scan(step, shrink(correlations), length=self.num_iterations - 1)[0]


def squared_spectral_norm(matrix: Float[Array, "rows columns"]) -> Float[Array, ""]:
    """Squared spectral norm ‖A‖₂² by power iteration, up to 3 % too small without a spectral gap.

    No derivative is taken through the iteration.
    """
    frozen = jax.lax.stop_gradient(matrix)
    gram = frozen.T @ frozen if frozen.shape[1] <= frozen.shape[0] else frozen @ frozen.T
    # a fixed start keeps training a function of its key alone
    start = jax.random.normal(jax.random.key(0), gram.shape[1:], gram.dtype)
    value, _ = optax.power_iteration(gram, v0=start, num_iters=_POWER_ITERATIONS)
    return jnp.asarray(value, gram.dtype)


def _check_threshold(threshold: Any, latent_dim: int, group_size: int) -> Float[Array, "*groups"]:
    """The threshold as an array, checked to be nonnegative and a number or one number a group."""
    num_groups = check_group_size(group_size, latent_dim)
    vector = real_array("threshold", threshold, "finite and nonnegative", minimum=0.0)
    if vector.shape not in ((), (num_groups,)):
        requirement = f"a number or of shape ({num_groups},), one a group"
        raise ValueError(f"Argument `threshold` must be {requirement}, but got shape {vector.shape}.")
    return vector


def _shrink(codes: Codes, threshold: Float[Array, "..."], group_size: int, nonnegative: bool) -> Codes:
    """`group_relu` without the checks."""
    groups = codes.reshape(*codes.shape[:-1], -1, group_size)
    return shrink_groups(groups, threshold, nonnegative).reshape(codes.shape)


def shrink_groups(
    groups: Float[Array, "*batch groups size"], threshold: Float[Array, "..."], nonnegative: bool
) -> Float[Array, "*batch groups size"]:
    """`group_relu` without the checks, of codes with an axis of groups."""
    if nonnegative:  # `maximum` would have the derivative ½ at 0
        groups = jnp.where(groups > 0, groups, 0)
    squares = jnp.sum(groups**2, axis=-1)
    # the square root has no derivative at 0
    norms = jnp.sqrt(jnp.where(squares > 0, squares, 1))
    threshold = jnp.broadcast_to(threshold, norms.shape)
    active = ((squares > 0) & (norms > threshold)) | (threshold == 0)
    return jnp.where(active, 1 - threshold / norms, 0)[..., None] * groups
