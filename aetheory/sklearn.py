"""Estimators with the interface of scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from aetheory.core.checks import check_real, static_integer
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.dictionaries import gaussian_dictionary
from aetheory.group_sparse.network import GroupSparseAutoencoder

_KINDS = (np.float64, np.float32)
_LARGEST_SEED = 2**31 - 1

Rows = Float[np.ndarray, "num_samples features"]


class GroupSparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Codes of a group-sparse autoencoder ŷ = Ax, x = σ_λ(Aᵀy), trained by Adam on ½ mean ‖y − ŷ‖² of its samples.

    Columns of norm 1 are learnt, from uniformly random directions. Samples are taken as they are: centre and scale
    them before, for instance by a `StandardScaler` in a pipeline. Computes in the precision of the samples.

    Arguments:
        n_groups: Γ, the groups of a code.
        group_size: d, the entries of a group; 1 for a sparse autoencoder.
        threshold: λ ≥ 0, below which the norm of a group is silent.
        n_iterations: K, the unfolded steps of the encoder.
        step_size: of Adam, positive.
        epochs: how many times as many samples are seen as there are.
        batch_size: samples of a step, drawn with replacement; all of them where there are fewer.
        random_state: seed or generator of the start and of the batches.

    Attributes:
        components_: the columns that were learnt as rows, shape (n_groups · group_size, n_features), group after group.
        n_features_in_: of a sample.

    Raises:
        ValueError: in `fit`, a parameter is out of its range, or samples are not a finite matrix.

    Source: arXiv:2102.07003, encoder (11), decoder (12), cost (13).
    """

    def __init__(
        self,
        n_groups: Any = 8,
        group_size: Any = 2,
        *,
        threshold: Any = 0.1,
        n_iterations: Any = 1,
        step_size: Any = 0.01,
        epochs: Any = 20,
        batch_size: Any = 100,
        random_state: Any = None,
    ):
        self.n_groups, self.group_size, self.threshold = n_groups, group_size, threshold
        self.n_iterations, self.step_size = n_iterations, step_size
        self.epochs, self.batch_size, self.random_state = epochs, batch_size, random_state

    def fit(self, X: Any, y: Any = None) -> "GroupSparseCoder":
        """Train on samples, shape (n_samples, n_features)."""
        rows = validate_data(self, X, dtype=_KINDS)
        whole = ("n_groups", "group_size", "n_iterations", "epochs", "batch_size")
        groups, size, iterations, epochs, batch = (static_integer(name, getattr(self, name)) for name in whole)
        check_real("step_size", self.step_size, "finite and positive", minimum=0.0, strict=True)
        seed = check_random_state(self.random_state).randint(_LARGEST_SEED)
        with jax.enable_x64(rows.dtype == np.float64):
            start_key, key = jax.random.split(jax.random.key(seed))
            columns = gaussian_dictionary(start_key, rows.shape[1], groups * size)
            self._encoder = {"threshold": self.threshold, "group_size": size, "num_iterations": iterations}
            start = GroupSparseAutoencoder(columns, **self._encoder, unit_norm=True)
            steps = epochs * -(-len(rows) // batch)
            options: dict[str, Any] = {"batch_size": min(batch, len(rows)), "record_at": [steps], "key": key}
            run = gradient_descent(
                start, reconstruction_loss, optax.adam(self.step_size), steps, jnp.asarray(rows), **options
            )
            self.components_ = np.asarray(run.module.atoms).T
        return self

    def transform(self, X: Any) -> Rows:
        """The code of each sample, shape (n_samples, n_groups · group_size)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=_KINDS, reset=False)
        return self._computed("encode", rows)

    def inverse_transform(self, X: Any) -> Rows:
        """The reconstruction from each code, shape (n_samples, n_features)."""
        check_is_fitted(self)
        return self._computed("decode", check_array(X, dtype=_KINDS))

    def score(self, X: Any, y: Any = None) -> float:
        """1 − Σ‖y − ŷ‖²/Σ‖y‖² over samples; 1 where all are zero."""
        rows = validate_data(self, X, dtype=_KINDS, reset=False)
        total = np.sum(rows.astype(np.float64) ** 2)
        missed = np.sum((rows - self.inverse_transform(self.transform(rows))) ** 2, dtype=np.float64)
        return float(1 - missed / total) if total > 0 else 1.0

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    @property
    def network_(self) -> GroupSparseAutoencoder:
        """The trained autoencoder, in the precision that JAX has now."""
        check_is_fitted(self)  # which keeps arrays of NumPy: unpickled ones of JAX would lose their precision
        return GroupSparseAutoencoder(self.components_.T, **self._encoder)

    def _computed(self, method: str, rows: Rows) -> Float[np.ndarray, "num_samples width"]:
        """In the precision of the network, returned in that of the rows."""
        kind = np.dtype(self.components_.dtype)
        with jax.enable_x64(kind == np.float64):
            return np.asarray(getattr(self.network_, method)(jnp.asarray(rows, kind))).astype(rows.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
