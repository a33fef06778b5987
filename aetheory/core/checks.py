"""One voice for bad input: "Argument `name` must be …, but got …"."""

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_REAL_KINDS = (jnp.integer, jnp.floating)


def is_concrete(value: Any) -> bool:
    """Whether `value` can be looked at now, rather than standing for a number under `jit`, `vmap` or `grad`."""
    return not isinstance(value, jax.core.Tracer)


def fail(name: str, requirement: str, value: Any) -> ValueError:
    """The error for an argument that is not what it must be; the caller raises it."""
    shown = (
        np.array2string(np.asarray(value), threshold=8)
        if hasattr(value, "shape") and is_concrete(value)
        else repr(value)
    )
    return ValueError(f"Argument `{name}` must be {requirement}, but got {shown}.")


def keyword_only(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's keyword-only arguments."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def check_options(function: Callable[..., Any], options: Mapping[str, Any], owner: str) -> None:
    """Raise unless all names are keyword-only arguments of the function; `owner` is what a message calls it."""
    known = keyword_only(function)
    for name, value in options.items():
        if name not in known:
            raise fail(name, f"one of the options of {owner} ({', '.join(known)})", value)


def check_dimension(name: str, value: Any, *, allow_infinity: bool = False) -> None:
    """Raise unless every entry of `value` is a positive integer (or, where allowed, infinity). Traced values pass."""
    if not is_concrete(value):
        return
    requirement = "a positive integer" + (" or infinity" if allow_infinity else "")
    numbers_ = _as_real(name, value, requirement)
    whole = np.isfinite(numbers_) & (numbers_ == np.floor(numbers_))
    valid = (numbers_ > 0) & (whole | (np.isposinf(numbers_) & allow_infinity))
    if not valid.all():
        raise fail(name, requirement, value)


def check_real(name: str, value: Any, requirement: str, *, minimum: float = -math.inf, strict: bool = False) -> None:
    """Raise unless every entry of `value` is finite and ≥ `minimum` (> when `strict`). Traced values pass."""
    if not is_concrete(value):
        return
    numbers_ = _as_real(name, value, requirement)
    if not (np.isfinite(numbers_) & ((numbers_ > minimum) if strict else (numbers_ >= minimum))).all():
        raise fail(name, requirement, value)


def check_at_least(name: str, value: Any, other_name: str, other: Any) -> None:
    """Raise unless every entry of `value` is at least that of another argument. Traced values pass."""
    if is_concrete(value) and is_concrete(other) and np.any(np.asarray(value) < np.asarray(other)):
        raise fail(name, f"at least `{other_name}` = {other}", value)


def static_integer(name: str, value: Any) -> int:
    """`value` as a Python integer, for what decides an array's shape; a traced value raises."""
    if not is_concrete(value):
        raise ValueError(
            f"Argument `{name}` must be known when the program is traced, because it decides the shape of an array, "
            f"but got a traced value. Close over it, or pass the problem through `equinox.filter_jit`."
        )
    if np.ndim(value) != 0:
        raise fail(name, "a single number (it decides the shape of an array)", value)
    check_dimension(name, value)
    return int(value)


def check_times(times: Any) -> Float[Array, " times"]:
    """`times` as a floating-point vector, checked to be finite, nonnegative and sorted.

    Traced values are checked when the program runs.
    """
    requirement = "a non-empty vector of finite, nonnegative times in increasing order"
    try:
        vector = as_float(times)
    except (TypeError, ValueError) as error:
        raise fail("times", requirement, times) from error
    if vector.ndim != 1 or vector.size == 0:
        raise fail("times", requirement, times)
    invalid = ~jnp.all(jnp.isfinite(vector)) | jnp.any(vector < 0) | jnp.any(vector[1:] < vector[:-1])
    if is_concrete(invalid):
        if invalid:
            raise fail("times", requirement, times)
        return vector
    checked: Array = eqx.error_if(vector, invalid, f"Argument `times` must be {requirement}.")
    return checked


def check_samples(
    name: str, samples: Any, dimension: int | None = None, *, shape: str = "(num_samples, input_dim)"
) -> Float[Array, "samples dim"]:
    """`samples` as a floating-point matrix, one sample a row, checked to be finite (when concrete).

    `shape` is what a message calls the shape, for matrices that hold something else.
    """
    requirement = f"a finite array of shape {shape}"
    matrix = as_float(samples)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"Argument `{name}` must be {requirement}, but got shape {matrix.shape}.")
    if dimension is not None and matrix.shape[1] != dimension:
        raise ValueError(
            f"Argument `{name}` must have {dimension} columns (the problem's `input_dim`), "
            f"but got shape {matrix.shape}."
        )
    # in NumPy, because JAX would trace the test of a constant inside `jit`
    if is_concrete(matrix) and (count := np.sum(~np.isfinite(np.asarray(matrix)))):
        raise ValueError(f"Argument `{name}` must be {requirement}, but {count} entries are NaN or infinite.")
    return matrix


def check_covariance(name: str, covariance: Any) -> Float[Array, "..."]:
    """Variances, shape (dim,), or a covariance matrix, shape (dim, dim), checked to be positive semidefinite.

    Traced values are checked for their shape only.

    Raises:
        ValueError: a wrong shape, an entry that is not finite, a negative variance, an asymmetric or indefinite matrix.
    """
    requirement = "a non-empty vector of variances, or a symmetric positive semidefinite matrix"
    try:
        sigma = as_float(covariance)
    except (TypeError, ValueError) as error:
        raise fail(name, requirement, covariance) from error
    if sigma.size == 0 or sigma.ndim not in (1, 2) or (sigma.ndim == 2 and sigma.shape[0] != sigma.shape[1]):
        raise ValueError(f"Argument `{name}` must be {requirement}, but got shape {sigma.shape}.")
    if not is_concrete(sigma):
        return sigma
    values = np.asarray(sigma, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"Argument `{name}` must be {requirement}, but has entries that are NaN or infinite.")
    tolerance = 100 * len(values) * float(np.finfo(sigma.dtype).eps) * float(np.abs(values).max())
    if sigma.ndim == 2 and np.abs(values - values.T).max() > tolerance:
        raise ValueError(f"Argument `{name}` must be {requirement}, but is not symmetric.")
    smallest = values.min() if sigma.ndim == 1 else np.linalg.eigvalsh(values)[0]
    if smallest < (0 if sigma.ndim == 1 else -tolerance):
        raise ValueError(f"Argument `{name}` must be {requirement}, but its smallest eigenvalue is {smallest:.3g}.")
    return sigma


def as_float(value: Any) -> Float[Array, "..."]:
    """`value` as a floating-point array: integers and Python numbers take JAX's default precision."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError("a complex number where a real one is needed")
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return array if is_float else jnp.asarray(array, jnp.result_type(float))


def common_float_dtype(*values: Any) -> jnp.dtype:
    """The widest floating-point type among the arrays in `values`; JAX's default one when there is none."""
    dtypes = [
        jnp.asarray(value).dtype
        for value in values
        if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
    ]
    return jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)


def _as_real(name: str, value: Any, requirement: str) -> Float[np.ndarray, "..."]:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real and not _is_numeric_array(value):
        raise fail(name, requirement, value)
    return np.asarray(value, dtype=np.float64)


def _is_numeric_array(value: Any) -> bool:
    """Whether `value` is an array of real numbers that can be looked at now."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and is_concrete(value) and any(jnp.issubdtype(dtype, kind) for kind in _REAL_KINDS)
