"""Data sets in place of Gaussian samples: what the flow needs of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import check_covariance, check_samples, fail, is_concrete, static_integer
from aetheory.core.precision import exact_products
from aetheory.linear.flow import Bidiagonal
from aetheory.linear.parameters import AbstractLinear

_LARGEST_VARIANCE = 1e3
"""Of a mean entry: pixels between 0 and 255 have more, and their flows are a thousand times as fast."""


def population_variances(covariance: Any) -> Float[Array, " input_dim"] | None:
    """The eigenvalues of a population covariance, whatever it is given as; `None` for the isotropic one.

    Arguments:
        covariance: variances, a symmetric matrix, samples (rows, in a matrix that is not square), or a source with
            `variances` or a `covariance`.

    Raises:
        ValueError: it is none of these, not positive semidefinite, 0, or of a scale that no initialisation fits.
    """
    if covariance is None:
        return None
    given = (
        getattr(covariance, "covariance", covariance) if not hasattr(covariance, "variances") else covariance.variances
    )
    shape = getattr(given, "shape", ()) if not isinstance(given, list | tuple) else np.shape(np.array(given, object))
    if len(shape) == 2 and shape[0] != shape[1]:
        samples = check_samples("covariance", given)
        centred = samples - jnp.mean(samples, axis=0, keepdims=True)
        given = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / len(samples)
    variances = check_covariance("covariance", given)
    if variances.ndim == 2:
        variances = jnp.maximum(jnp.linalg.eigvalsh(variances)[::-1], 0)
    _check_scale("covariance", jnp.mean(variances))
    return variances


def _check_scale(name: str, mean: Float[Array, ""]) -> None:
    """Raise unless the mean variance is one that some initialisation fits."""
    if is_concrete(mean) and not 0 < float(mean) < _LARGEST_VARIANCE:
        raise ValueError(
            f"Argument `{name}` must have a mean variance between 0 and {_LARGEST_VARIANCE:g}, but has "
            f"{float(mean):.3g}. Rescale your data."
        )


class DataCovariance(eqx.Module):
    """What the flow needs of a data set: the spectrum of its covariance, and what is measured beside it.

    Arguments:
        spectrum: eigenvalues of S, shape (rank,); without `held_out` only the min(N, p) that can be nonzero.
        held_out: covariance of other samples, or of the population, in the eigenbasis of S on all rows of the weights,
            shape (rows, rows); `None` to measure the population risk on isotropic inputs of unit variance instead.
        factor: where S is tridiagonal rather than diagonal, with `spectrum` its diagonal: the bidiagonal B of S = B Bᵀ.
    """

    spectrum: Float[Array, " rank"]
    held_out: Float[Array, "rows rows"] | None = None
    factor: Bidiagonal | None = None


@eqx.filter_jit
@exact_products
def data_covariance(
    samples: Float[Array, "samples dim"], held_out: Float[Array, "held_out dim"] | None = None
) -> DataCovariance:
    """Centre `samples`, and diagonalise their covariance S = Σ x xᵀ/N; `held_out` is centred by the same mean."""
    mean = jnp.mean(samples, axis=0, keepdims=True)
    centred = samples - mean
    num_samples, dim = samples.shape
    if held_out is None:
        gram = centred.T @ centred if dim <= num_samples else centred @ centred.T
        return DataCovariance(jnp.maximum(jnp.linalg.eigvalsh(gram / num_samples), 0))
    spectrum, basis = jnp.linalg.eigh(centred.T @ centred / num_samples)
    projected = (held_out - mean) @ basis
    covariance = projected.T @ projected / held_out.shape[0]
    return DataCovariance(jnp.maximum(spectrum, 0), covariance)


def check_data(problem: AbstractLinear, data: Any, held_out: Any) -> DataCovariance:
    """The covariance of `data`, once the arguments are known to fit the problem and each other.

    Raises:
        ValueError: wrong rank, NaN, or a shape other than (problem.num_samples, problem.input_dim).
    """
    input_dim = static_integer("input_dim", problem.input_dim)
    samples = check_samples("data", data, input_dim)
    if not is_concrete(problem.sample_ratio) or round(input_dim / float(problem.sample_ratio)) != samples.shape[0]:
        raise fail("num_samples", f"{samples.shape[0]}, the number of rows of `data`", input_dim / problem.sample_ratio)
    others = None if held_out is None else check_samples("held_out", held_out, input_dim)
    _check_scale("data", jnp.mean(jnp.var(samples, axis=0)))
    return data_covariance(samples, others)
