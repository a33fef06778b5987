"""The draws that `simulate` makes, one at a time, and explicit ones."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from aetheory.core.precision import exact_products
from aetheory.linear import ensembles
from aetheory.linear.flow import Ensemble, evolve

TIMES = np.array([0.0, 0.1, 0.5, 1.5])
# one program each, and not fifty
_gaussian, _gaussian_weights = eqx.filter_jit(ensembles.gaussian), eqx.filter_jit(ensembles.gaussian_weights)
followed = eqx.filter_jit(exact_products(evolve))  # a program for each shape, whatever the numbers and the tolerance


def arguments(dims, dtype=None, rank=None):
    """Traced dimensions and static shapes of a problem (p, H, N)."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    sizes = ensembles.Dimensions(*(jnp.asarray(size, dtype) for size in dims))
    return sizes, ensembles.reduction(*dims, rank)


def gaussian_ensemble(key, dims, variance, dtype=None):
    sizes, shapes = arguments(dims, dtype)
    return _gaussian(key, sizes, shapes, jnp.asarray(variance, sizes.input_dim.dtype))


def weights_on_data(key, covariance, dims, variance, dtype=None):
    sizes, shapes = arguments(dims, dtype, covariance.spectrum.shape[0])
    return _gaussian_weights(key, covariance, sizes, shapes, jnp.asarray(variance, sizes.input_dim.dtype))


def covariance_matrix(ensemble):
    """S on its own range, diagonal or tridiagonal."""
    matrix = np.diag(np.asarray(ensemble.spectrum, float))
    if ensemble.coupling is not None:
        coupling = np.asarray(ensemble.coupling, float)
        matrix += np.diag(coupling, 1) + np.diag(coupling, -1)
    return matrix


def draw(rng, input_dim, latent_dim, num_samples, scale=0.5):
    weights = np.sqrt(scale / input_dim) * rng.standard_normal((input_dim, latent_dim))
    samples = rng.standard_normal((num_samples, input_dim))
    return weights, samples, samples.T @ samples / num_samples


def as_ensemble(weights, spectrum, input_dim):
    """The simulation's ensemble for explicit weights in the eigenbasis of S."""
    return Ensemble(
        weights=jnp.asarray(weights),
        spectrum=jnp.asarray(spectrum),
        scale=jnp.asarray(1 / input_dim),
        train_offset=jnp.asarray(np.sum(spectrum) / input_dim),
        population_offset=jnp.asarray(1.0),
    )


def follow(ensemble, rtol=1e-9):
    curves, _ = followed(ensemble, jnp.asarray(TIMES), rtol=jnp.asarray(rtol), max_steps=4096)
    return np.asarray(curves.train), np.asarray(curves.population)
