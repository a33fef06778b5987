"""How many evaluations of a program run side by side: read off the program itself, and of its compiled size."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

_CACHE = 4_000_000
"""Bytes that a CPU core reads fast. Beyond it, 1024 mean-field curves at once run at a seventh of the speed of 64."""

_SMALL_MATRIX = 1_000
"""Entries above which a CPU multiplies matrices faster one by one than in a batch."""

_MOST_ON_CPU = 256
_MOST_ON_ACCELERATOR = 4096


def batch_width(lane: Any, platform: str) -> int:
    """How many evaluations to vectorise on one device: a power of two, decided by the traced program of one.

    On a CPU, batched matrix products lose to a loop of single ones but for small matrices, and anything else gains
    until its arrays leave the cache. An accelerator takes what its memory holds; `Executor` halves it until it does.
    """
    largest_array = largest_factor = 0
    for equation in _equations(lane):
        largest_array = max([largest_array, *(_num_bytes(variable) for variable in equation.outvars)])
        if equation.primitive.name == "dot_general" or equation.primitive.name in _FACTORISATIONS:
            largest_factor = max([largest_factor, *(_size(variable) for variable in equation.invars)])
    if platform != "cpu":
        return _MOST_ON_ACCELERATOR
    width = min(_CACHE // max(largest_array, 1), _MOST_ON_CPU)
    if largest_factor > 0:
        width = min(width, _SMALL_MATRIX // largest_factor)
    return 1 << max(width, 1).bit_length() - 1


_FACTORISATIONS = frozenset({"eigh", "svd", "qr", "cholesky", "lu", "triangular_solve", "tridiagonal_solve"})


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program, those of loops and branches included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_has_equations):
            if _has_equations(inner):
                yield from _equations(inner)


def _has_equations(value: Any) -> bool:
    return hasattr(value, "eqns")


def _size(variable: Any) -> int:
    return int(np.prod(getattr(variable.aval, "shape", ()), dtype=int))


def _num_bytes(variable: Any) -> int:
    dtype = getattr(variable.aval, "dtype", None)
    return 0 if dtype is None else _size(variable) * getattr(dtype, "itemsize", 8)
