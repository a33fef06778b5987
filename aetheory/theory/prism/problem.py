"""The weight-tied linear autoencoder's four numbers, and the three ratios that decide its regime."""

import numbers
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from jaxtyping import Real as Real_

from aetheory._checks import as_float, check_dimension, check_real

Real = float | int | np.number | Real_[Array, "..."] | Real_[np.ndarray, "..."]


class LinearProblem(eqx.Module):
    """A weight-tied linear autoencoder x̂ = W Wᵀ x, its training set and its initialisation.

    W has shape (input_dim, latent_dim) with independent N(0, init_variance) entries at the start; the
    `num_samples` training inputs are independent N(0, I). Every field is a number or an array; arrays (of shapes
    that broadcast) make a batch of problems, and the fields may be traced by `jax.vmap`, `jax.jit` and `jax.grad`.

    Arguments:
        input_dim: p, the dimension of an input; a positive integer.
        latent_dim: H, the number of hidden units; a positive integer.
        num_samples: N, the size of the training set; a positive integer, or `jnp.inf` for training on the
            population risk itself.
        init_variance: σ², the variance of each weight at initialisation; finite and nonnegative.

    Raises:
        ValueError: a field is out of its range (traced fields cannot be looked at and pass).

    Source: E. Golikov, Y. Gusev, D. Yarotsky, "A prism hierarchy of learning regimes in large linear
    autoencoders", arXiv:2606.05335.
    """

    input_dim: Real
    latent_dim: Real
    num_samples: Real
    init_variance: Real

    def __check_init__(self) -> None:
        check_dimension("input_dim", self.input_dim)
        check_dimension("latent_dim", self.latent_dim)
        check_dimension("num_samples", self.num_samples, allow_infinity=True)
        check_real("init_variance", self.init_variance, "finite and nonnegative", minimum=0.0)

    @property
    def init_scale(self) -> Real:
        """x = p σ², the initial scale: an eigenvalue of W Wᵀ is of order x · max(1, H/p) at the start."""
        input_dim, init_variance = _numbers(self.input_dim, self.init_variance)
        value: Real = input_dim * init_variance
        return value

    @property
    def latent_ratio(self) -> Real:
        """y = H / p, hidden units per input dimension."""
        latent_dim, input_dim = _numbers(self.latent_dim, self.input_dim)
        value: Real = latent_dim / input_dim
        return value

    @property
    def sample_ratio(self) -> Real:
        """z = p / N, input dimensions per training sample; 0 when training on the population."""
        input_dim, num_samples = _numbers(self.input_dim, self.num_samples)
        value: Real = input_dim / num_samples
        return value


def _numbers(*values: Any) -> list[Any]:
    """Python floats where all are Python numbers, otherwise arrays of one shape."""
    if all(isinstance(value, numbers.Real) for value in values):
        return [float(value) for value in values]
    # Python numbers stay weakly typed, so that the arrays decide the precision
    arrays = (as_float(float(value) if isinstance(value, numbers.Real) else value) for value in values)
    return list(jnp.broadcast_arrays(*arrays))
