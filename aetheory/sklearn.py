"""The group-sparse autoencoder as a transformer of scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aetheory.core.checks import check_choice, check_real, static_integer
from aetheory.core.dictionary import check_dictionary
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.dictionaries import data_dictionary, gaussian_dictionary
from aetheory.group_sparse.network import GroupSparseAutoencoder

_STARTS = ("random", "data")


class GroupSparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Transformer to group-sparse codes, by a `GroupSparseAutoencoder` trained by Adam without labels.

    Samples are used as they are: centre and scale them before, because the threshold is in their units. Codes have the
    precision of JAX, float32 unless float64 is switched on.

    Arguments:
        num_groups, group_size: Γ and d of a dictionary of Γ·d atoms of norm 1.
        threshold: λ ≥ 0, by which the norm of a group's code shrinks; a larger one sets more groups to zero.
        num_iterations: number of unfolded steps of the encoder.
        nonnegative: whether codes are ≥ 0.
        init: first dictionary: `"random"`, `"data"` (samples), or an array (num_features, Γ·d), such as
            `ae.recovery.k_subspaces(X, Γ, d).dictionary`.
        learning_rate, batch_size, num_epochs: settings of Adam; batches are no larger than the data.
        random_state: seed of the start and the batches, as elsewhere in scikit-learn.

    Attributes:
        components_: atoms, shape (Γ·d, num_features), group after group.
        network_: trained `GroupSparseAutoencoder`.
        loss_: ½ mean ‖x − x̂‖² after each epoch and before the first, shape (num_epochs + 1,).
        n_features_in_, feature_names_in_: number and names of the features of the samples.

    Source: arXiv:2102.07003, encoder (11), decoder (12), cost (13).
    """

    def __init__(
        self,
        num_groups: Any = 8,
        group_size: Any = 2,
        *,
        threshold: Any = 0.1,
        num_iterations: Any = 15,
        nonnegative: Any = False,
        init: Any = "random",
        learning_rate: Any = 1e-3,
        batch_size: Any = 100,
        num_epochs: Any = 20,
        random_state: Any = None,
    ):
        self.num_groups = num_groups
        self.group_size = group_size
        self.threshold = threshold
        self.num_iterations = num_iterations
        self.nonnegative = nonnegative
        self.init = init
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.num_epochs = num_epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "GroupSparseCoder":
        """Train on samples, shape (num_samples, num_features); `y` is ignored.

        Raises:
            ValueError: samples that are not finite, or a parameter out of its range.
            FloatingPointError: training diverged.
        """
        samples = jnp.asarray(validate_data(self, X, dtype=[np.float64, np.float32]))
        batch_size, epochs = (static_integer(name, getattr(self, name)) for name in ("batch_size", "num_epochs"))
        check_real("learning_rate", self.learning_rate, "finite and positive", minimum=0.0, strict=True)
        key, training = jax.random.split(jax.random.key(check_random_state(self.random_state).randint(2**31)))
        each = max(1, len(samples) // batch_size)
        run = gradient_descent(
            self._start(key, samples),
            reconstruction_loss,
            optax.adam(self.learning_rate),
            epochs * each,
            samples,
            batch_size=min(batch_size, len(samples)),
            key=training,
            record_at=each * np.arange(epochs + 1),
        )
        self.network_, self.loss_ = run.module, np.asarray(run.loss)
        self.components_ = np.asarray(self.network_.atoms).T
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "num_samples latent_dim"]:
        """Code of each sample, group after group."""
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(self.network_.encode(jnp.asarray(samples))).astype(samples.dtype)

    def inverse_transform(self, X: Any) -> Float[np.ndarray, "num_samples num_features"]:
        """Reconstruction from each code."""
        check_is_fitted(self)
        codes = np.asarray(X)
        return np.asarray(self.network_.decode(jnp.asarray(codes))).astype(codes.dtype)

    def score(self, X: Any, y: Any = None) -> float:
        """Share of the squared norm that the reconstruction keeps; 1 for samples that are all 0."""
        samples = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        left, whole = samples - self.inverse_transform(self.transform(samples)), np.sum(samples**2)
        return float(1 - np.sum(left**2) / whole) if whole > 0 else 1.0

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _start(self, key: jax.Array, samples: jax.Array) -> GroupSparseAutoencoder:
        groups, size = static_integer("num_groups", self.num_groups), static_integer("group_size", self.group_size)
        dim, count = samples.shape[1], groups * size
        if isinstance(self.init, str):
            check_choice("init", self.init, _STARTS)
            gaussian = self.init == "random"
            drawn = gaussian_dictionary(key, dim, count) if gaussian else data_dictionary(key, samples, count)
        else:
            drawn = check_dictionary("init", self.init)
        if drawn.shape != (dim, count):
            raise ValueError(f"Argument `init` must have shape {(dim, count)}, but got {drawn.shape}.")
        options: Any = {"num_iterations": self.num_iterations, "nonnegative": self.nonnegative, "unit_norm": True}
        return GroupSparseAutoencoder(drawn.astype(samples.dtype), self.threshold, size, **options)
