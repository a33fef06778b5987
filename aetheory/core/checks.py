"""One voice for bad input: "Argument `name` must be …, but got …". What is traced passes, or is checked at run time."""

import difflib
import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

_LARGEST = 2**31
"""Dimensions of an array are counted in 32 bits."""


def is_concrete(value: Any) -> bool:
    """Whether `value` can be looked at now, rather than standing for a number under `jit`, `vmap` or `grad`."""
    return not isinstance(value, jax.core.Tracer)


def fail(name: str, requirement: str, value: Any) -> ValueError:
    """The error for an argument that is not what it must be; the caller raises it."""
    is_array = hasattr(value, "shape") and is_concrete(value)
    shown = np.array2string(np.asarray(value), threshold=8) if is_array else repr(value)
    return ValueError(f"Argument `{name}` must be {requirement}, but got {shown}.")


def keyword_only(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's keyword-only arguments."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def check_options(known: Sequence[str], options: Mapping[str, Any], owner: str) -> None:
    """Raise unless all names are known; `owner` is what a message calls what they are options of."""
    for name, value in options.items():
        if name not in known:
            raise fail(name, f"one of the options of {owner} ({', '.join(known)})", value)


def check_key(key: Any, name: str = "key") -> None:
    """Raise unless it is a single JAX random key, of the new or of the old style. Traced ones pass too."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    is_typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not (is_typed or (dtype == np.uint32 and shape in ((2,), (4,)))):
        raise fail(name, "a JAX random key, such as jax.random.key(0)", key)


def check_instance(name: str, value: Any, kind: Any, requirement: str) -> None:
    """Raise unless `value` is of a kind."""
    if not isinstance(value, kind):
        raise fail(name, requirement, value)


@contextmanager
def check_training(autoencoder: Any, loss: Any) -> Iterator[None]:
    """Raise unless the autoencoder has something to train, and where the loss does not take it and the data."""
    if not any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(autoencoder)):
        raise fail("autoencoder", "an Equinox module, or another pytree, with floating-point arrays", autoencoder)
    if not callable(loss):
        raise fail("loss", "a function of (autoencoder, data) that returns a scalar", loss)
    with errors_of("loss", "take this `autoencoder` and `data`, and return a scalar"):
        yield


@contextmanager
def errors_of(argument: str, requirement: str) -> Iterator[None]:
    """Raise a ValueError that names an argument, which is a user's function, where it raises inside the block."""
    try:
        yield
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        if "Argument `" in str(error):
            raise
        raise ValueError(f"Argument `{argument}` must {requirement}, but it raises {error!r}") from error


def check_choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise unless `value` is one of some words."""
    known = tuple(known)
    if not (isinstance(value, str) and value in known):
        raise fail(name, f"one of {', '.join(map(repr, known))}{did_you_mean(value, known)}", value)


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """The end of a message that names the known word closest to a value; empty where none is close."""
    close = difflib.get_close_matches(value, list(known), 1) if isinstance(value, str) else ()
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_dimension(name: str, value: Any, *, allow_infinity: bool = False) -> None:
    """Raise unless every entry of `value` is a positive integer (or, where allowed, infinity). Traced values pass."""
    requirement = "a positive integer" + (" or infinity" if allow_infinity else "")
    _check_entries(name, value, requirement, lambda x: (x > 0) & (x == np.floor(x)) & (np.isfinite(x) | allow_infinity))


def check_real(
    name: str,
    value: Any,
    requirement: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    strict: bool = False,
) -> None:
    """Raise unless every entry of `value` is finite, ≤ `maximum`, and ≥ `minimum` (> if `strict`). Traced ones pass."""

    def valid(entries: Float[np.ndarray, "..."]) -> Any:
        return np.isfinite(entries) & (entries <= maximum) & ((entries > minimum) if strict else (entries >= minimum))

    _check_entries(name, value, requirement, valid)


def real_array(
    name: str,
    value: Any,
    requirement: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    strict: bool = False,
) -> Float[Array, "..."]:
    """`value` as a floating-point array, every entry finite, ≤ `maximum`, and ≥ `minimum` (> when `strict`).

    Traced values are checked when the program runs.
    """
    try:
        array = as_float(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise fail(name, requirement, value) from error
    # a number is shown as it was written
    check_real(name, value if isinstance(value, numbers.Real) else array, requirement, minimum=minimum, strict=strict)
    if is_concrete(value):
        if np.any(np.asarray(value) > maximum):
            raise fail(name, requirement, value)
        return array
    wrong = ~(jnp.isfinite(array) & ((array > minimum) if strict else (array >= minimum)) & (array <= maximum))
    return at_run_time(array, wrong, f"Argument `{name}` must be {requirement}.")


def at_run_time(array: Array, wrong: Bool[Array, "..."], message: str) -> Array:
    """The array; where it is traced and something is wrong, the program that it is part of raises."""
    checked: Array = array if is_concrete(wrong) else eqx.error_if(array, wrong, message)
    return checked


def check_at_least(name: str, value: Any, other_name: str, other: Any) -> None:
    """Raise unless every entry of `value` is at least that of another argument. Traced values pass."""
    if is_concrete(value) and is_concrete(other) and np.any(np.asarray(value) < np.asarray(other)):
        raise fail(name, f"at least `{other_name}` = {other}", value)


def static_integer(name: str, value: Any) -> int:
    """`value` as a positive Python integer, for what decides an array's shape; a traced value raises."""
    _check_static(name, value)
    check_dimension(name, value)
    if np.ndim(value) != 0:
        raise fail(name, "a single number (it decides the shape of an array)", value)
    if int(value) >= _LARGEST:
        raise fail(name, "a positive integer below 2³¹", value)
    return int(value)


def check_times(times: Any) -> Float[Array, " times"]:
    """`times` as a floating-point vector, checked to be finite, nonnegative and sorted.

    Numbers of steps pass too. Traced values are checked when the program runs.
    """
    requirement = "a non-empty vector of finite, nonnegative times in increasing order"
    vector = check_array("times", times, requirement, 1)
    if is_concrete(vector):
        # in NumPy, for JAX would compile each operation
        values = np.asarray(vector)
        if (values < 0).any() or (values[1:] < values[:-1]).any():
            raise fail("times", requirement, times)
        return vector
    invalid = ~jnp.all(jnp.isfinite(vector) & (vector >= 0)) | jnp.any(vector[1:] < vector[:-1])
    return at_run_time(vector, invalid, f"Argument `times` must be {requirement}.")


def check_steps(times: Any) -> tuple[int, ...]:
    """`times` as the numbers of steps of a descent: Python integers, each once, for they decide what is recorded.

    Raises:
        ValueError: `times` is traced, or not a vector of whole, nonnegative numbers in increasing order.
    """
    _check_static("times", times)
    requirement = "a non-empty vector of whole, nonnegative numbers of steps in increasing order"
    check_array("times", times, requirement, 1)
    # in NumPy, where integers stay exact, and where constants inside `jit` are not traced
    steps = np.asarray(times)
    if (steps != np.floor(steps)).any() or (steps < 0).any() or (steps[1:] <= steps[:-1]).any():
        raise fail("times", requirement, times)
    return tuple(int(step) for step in steps)


def check_samples(
    name: str, samples: Any, dimension: int | None = None, *, shape: str = "(num_samples, input_dim)"
) -> Float[Array, "samples dim"]:
    """`samples` as a floating-point matrix, one sample a row, checked to be finite (when concrete).

    `shape` is what a message calls the shape, for matrices that hold something else.
    """
    matrix = check_array(name, samples, f"a finite array of shape {shape}", 2)
    if dimension is not None and matrix.shape[1] != dimension:
        raise ValueError(f"Argument `{name}` must have {dimension} columns, but got shape {matrix.shape}.")
    return matrix


def check_covariance(name: str, covariance: Any) -> Float[Array, "..."]:
    """Variances, shape (dim,), or a covariance matrix, shape (dim, dim), checked to be positive semidefinite.

    Traced values are checked when the program runs, but not for definiteness.

    Raises:
        ValueError: a wrong shape, an entry that is not finite, a negative variance, an asymmetric or indefinite matrix.
    """
    requirement = "a non-empty vector of variances, or a symmetric positive semidefinite matrix"
    sigma = check_array(name, covariance, requirement, 1, 2)
    if sigma.shape != (len(sigma),) * sigma.ndim:
        raise ValueError(f"Argument `{name}` must be {requirement}, but got shape {sigma.shape}.")
    if not is_concrete(sigma):
        diagonal = sigma if sigma.ndim == 1 else jnp.diagonal(sigma)
        wrong = ~jnp.isfinite(sigma).all() | (diagonal < 0).any()
        return at_run_time(sigma, wrong, f"Argument `{name}` must be {requirement}.")
    values = np.asarray(sigma, np.float64)
    tolerance = 100 * len(values) * float(np.finfo(sigma.dtype).eps) * float(np.abs(values).max())
    if np.abs(values - values.T).max() > tolerance:
        raise ValueError(f"Argument `{name}` must be {requirement}, but is not symmetric.")
    # twenty times as fast as the eigenvalues, which are then needed for the message alone
    if sigma.ndim == 2 and _is_definite(values + tolerance * np.eye(len(values))):
        return sigma
    smallest = values.min() if sigma.ndim == 1 else np.linalg.eigvalsh(values)[0]
    if smallest < (0 if sigma.ndim == 1 else -tolerance):
        raise ValueError(f"Argument `{name}` must be {requirement}, but its smallest eigenvalue is {smallest:.3g}.")
    return sigma


def _is_definite(matrix: Float[np.ndarray, "dim dim"]) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def check_array(name: str, value: Any, requirement: str, *ranks: int) -> Float[Array, "..."]:
    """`value` as a non-empty floating-point array of one of these ranks (any but 0 where none is given), finite too."""
    try:
        array = as_float(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise fail(name, requirement, value) from error
    if array.ndim not in (ranks or range(1, 33)) or array.size == 0:
        raise ValueError(f"Argument `{name}` must be {requirement}, but got shape {array.shape}.")
    # in NumPy, because JAX would trace the test of a constant inside `jit`
    if is_concrete(array) and (count := np.sum(~np.isfinite(np.asarray(array)))):
        raise ValueError(f"Argument `{name}` must be {requirement}, but {count} entries are NaN or infinite.")
    return array


def check_levels(quantiles: Any) -> Float[Array, " levels"]:
    """The levels of the quantiles that are asked for, as a vector."""
    levels = check_array("quantiles", quantiles, "a vector of levels between 0 and 1", 1)
    if is_concrete(levels) and np.any((np.asarray(levels) < 0) | (np.asarray(levels) > 1)):
        raise fail("quantiles", "a vector of levels between 0 and 1", quantiles)
    return levels


def as_float(value: Any) -> Float[Array, "..."]:
    """`value` as a floating-point array: integers and Python numbers take JAX's default precision.

    Whatever NumPy understands is taken, such as arrays of pandas and xarray; tensors of PyTorch from any device.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    # Python's integers have no bounds
    array = jnp.asarray(float(value) if type(value) is int else value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError("a complex number where a real one is needed")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def common_float_dtype(*values: Any) -> jnp.dtype:
    """The widest floating-point type among the arrays in `values`; JAX's default one when there is none."""
    arrays = [value for value in values if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)]
    # through JAX, for an array of NumPy may have a type that JAX does not use now
    return jnp.result_type(*(jnp.asarray(array).dtype for array in arrays or [0.0]))


def _check_static(name: str, value: Any) -> None:
    if not is_concrete(value):
        raise ValueError(
            f"Argument `{name}` must be known when the program is traced, because it decides the shape of an array, "
            f"but got a traced value. Close over it, or pass the problem through `equinox.filter_jit`."
        )


def _check_entries(name: str, value: Any, requirement: str, valid: Callable[[Float[np.ndarray, "..."]], Any]) -> None:
    """Raise unless `value` is a real number, or an array of such, and every entry is valid. Traced values pass."""
    if not is_concrete(value):
        return
    kind = None if isinstance(value, type) else getattr(value, "dtype", None)
    if kind is None:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    else:
        real = jnp.issubdtype(kind, jnp.integer) or jnp.issubdtype(kind, jnp.floating)
    if not real or np.size(value) == 0 or not np.all(valid(np.asarray(value, np.float64))):
        raise fail(name, requirement, value)
