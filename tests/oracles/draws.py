"""The draws that `simulate` makes, one at a time."""

import jax.numpy as jnp
import numpy as np

from aetheory.linear import ensembles


def arguments(dims, dtype=None, rank=None):
    """Traced dimensions and static shapes of a problem (p, H, N)."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    sizes = ensembles.Dimensions(*(jnp.asarray(size, dtype) for size in dims))
    return sizes, ensembles.reduction(*dims, rank)


def gaussian_ensemble(key, dims, variance, dtype=None):
    sizes, shapes = arguments(dims, dtype)
    return ensembles.gaussian(key, sizes, shapes, jnp.asarray(variance, sizes.input_dim.dtype))


def weights_on_data(key, covariance, dims, variance, dtype=None):
    sizes, shapes = arguments(dims, dtype, covariance.spectrum.shape[0])
    return ensembles.gaussian_weights(key, covariance, sizes, shapes, jnp.asarray(variance, sizes.input_dim.dtype))


def covariance_matrix(ensemble):
    """S on its own range, diagonal or tridiagonal."""
    matrix = np.diag(np.asarray(ensemble.spectrum, float))
    if ensemble.coupling is not None:
        coupling = np.asarray(ensemble.coupling, float)
        matrix += np.diag(coupling, 1) + np.diag(coupling, -1)
    return matrix
