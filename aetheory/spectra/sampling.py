"""Samples of the spectra and the triangular and bidiagonal factors of Gaussian matrices."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from aetheory.core.checks import static_integer


def sample_wishart_spectrum(key: PRNGKeyArray, dim: int, num_samples: int) -> Float[Array, " rank"]:
    """Nonzero eigenvalues of XXᵀ/N, ascending, X of shape (dim, num_samples) with N(0, 1) entries.

    They are drawn without forming X, at a cost that depends on the smaller dimension only.
    Source: I. Dumitriu, A. Edelman (2002), "Matrix models for beta ensembles", arXiv:math-ph/0206043.
    """
    dim, num_samples = static_integer("dim", dim), static_integer("num_samples", num_samples)
    degrees = jnp.asarray(max(dim, num_samples), jnp.result_type(float))
    return sample_laguerre_spectrum(key, min(dim, num_samples), degrees) / num_samples


def sample_laguerre_spectrum(key: PRNGKeyArray, size: int, degrees: Float[Array, ""]) -> Float[Array, " size"]:
    """Eigenvalues of XXᵀ in increasing order, X of shape (size, degrees ≥ size) with N(0, 1) entries.

    The squared singular values of `sample_laguerre_factor` B, by bisection on the tridiagonal form of (0 B; Bᵀ 0),
    which does not square their error. `degrees` may be traced: one program serves all of them.
    Source: I. Dumitriu, A. Edelman (2002), arXiv:math-ph/0206043; G. Golub, W. Kahan (1965), for the tridiagonal form.
    """
    diagonal, below = sample_laguerre_factor(key, size, degrees)
    beside = jnp.zeros(2 * size - 1, diagonal.dtype).at[::2].set(diagonal).at[1::2].set(below)
    values: Float[Array, " size"] = jax.scipy.linalg.eigh_tridiagonal(
        jnp.zeros(2 * size, diagonal.dtype), beside, eigvals_only=True, select="i", select_range=(size, 2 * size - 1)
    )
    return jnp.maximum(values, 0) ** 2


def sample_laguerre_factor(
    key: PRNGKeyArray, size: int, degrees: Float[Array, ""]
) -> tuple[Float[Array, " size"], Float[Array, " size_minus_one"]]:
    """Diagonal and subdiagonal of a bidiagonal B such that B Bᵀ has the spectrum of XXᵀ.

    X has shape (size, degrees ≥ size) and N(0, 1) entries. The bidiagonal β-Laguerre model (β = 1): independent χ
    with degrees − i degrees of freedom on the diagonal, size − 1 − i below it. `degrees` may be traced.
    Source: I. Dumitriu, A. Edelman (2002), arXiv:math-ph/0206043.
    """
    index = jnp.arange(size, dtype=degrees.dtype)
    # one call compiles in half the time of two
    chi = _sample_chi(key, jnp.stack([degrees - index, size - 1 - index], axis=1).ravel())
    return chi[::2], chi[1:-1:2]


def sample_bartlett_factor(key: PRNGKeyArray, size: int, degrees: Float[Array, ""]) -> Float[Array, "size size"]:
    """Lower triangular L of X = L Q, Q Qᵀ = I, for X of shape (size, degrees ≥ size) with N(0, 1) entries.

    Independent entries: χ with degrees − i degrees of freedom on the diagonal, N(0, 1) below it. `degrees` may be
    traced: one program serves all of them.
    Source: M. Bartlett (1933), "On the theory of statistical regression".
    """
    key_diagonal, key_below = jax.random.split(key)
    index = jnp.arange(size, dtype=degrees.dtype)
    below = jax.random.normal(key_below, (size, size), degrees.dtype)
    return jnp.tril(below, -1) + jnp.diag(_sample_chi(key_diagonal, degrees - index))


def _sample_chi(key: PRNGKeyArray, degrees: Float[Array, " n"]) -> Float[Array, " n"]:
    """χ variables of the given degrees of freedom where those are positive, 0 elsewhere; derivatives are 0.

    All candidates of a round are drawn together until the last is accepted: the program compiles several times as fast
    as `jax.random.gamma`, which has a loop for each.
    Source: G. Marsaglia, W. W. Tsang (2000), "A simple method for generating gamma variables", ACM TOMS 26.
    """
    degrees = jax.lax.stop_gradient(degrees)
    # the method needs a shape of at least 1; smaller ones are one more, times a power of a uniform variable
    small = degrees < 2
    location = jnp.where(small, degrees / 2 + 1, degrees / 2) - 1 / 3
    width = 1 / (3 * jnp.sqrt(location))

    def candidates(round_: Any) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
        key_round = jax.random.fold_in(key, round_)
        first, second, third = jax.random.uniform(key_round, (len(degrees), 3), degrees.dtype).T
        normal = math.sqrt(2) * jax.lax.erf_inv(2 * first - 1)
        cube = (1 + width * normal) ** 3
        positive = cube > 0
        logarithm = jnp.log(jnp.where(positive, cube, 1))
        accepted = jnp.log(second) < normal**2 / 2 + location * (1 - cube + logarithm)
        boost = jnp.where(small, (1 - third) ** (1 / degrees), 1)
        return jnp.sqrt(2 * location * jnp.where(positive, cube, 1)) * boost, positive & accepted

    def draw(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        round_, chi, done = state
        candidate, accepted = candidates(round_)
        return round_ + 1, jnp.where(done, chi, candidate), done | accepted

    # entries without degrees of freedom are 0 and done
    start = jnp.zeros((), jnp.int32), jnp.zeros_like(degrees), ~(degrees > 0)
    _, chi, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), draw, start)
    return chi
