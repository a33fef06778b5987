"""How many evaluations of a program run side by side: read off the traced program of one."""

from collections.abc import Iterator
from typing import Any

import jax

_CACHE = 4_000_000
"""Bytes that a CPU core reads fast. Beyond it, 1024 mean-field curves at once run at a seventh of the speed of 64."""

_SMALL_MATRIX = 1_000
"""Entries above which a CPU multiplies matrices faster one by one than in a batch."""

_MOST_ON_CPU, _MOST_ON_ACCELERATOR = 256, 4096

_FACTORISATIONS = {"dot_general", "eigh", "svd", "qr", "cholesky", "lu", "triangular_solve", "tridiagonal_solve"}


def batch_width(jaxpr: Any, platform: str) -> int:
    """How many evaluations to vectorise on one device: a power of two, decided by the traced program of one.

    On a CPU, batched matrix products lose to a loop of single ones but for small matrices, and anything else gains
    until its arrays leave the cache. An accelerator takes what its memory holds; `Runner` halves it until it does.
    """
    if platform != "cpu":
        return _MOST_ON_ACCELERATOR
    equations = list(_equations(jaxpr))
    sizes = [variable.aval for equation in equations for variable in equation.outvars]
    largest = max((aval.size * getattr(aval.dtype, "itemsize", 8) for aval in sizes), default=1)
    factors = [
        one.aval.size for equation in equations if equation.primitive.name in _FACTORISATIONS for one in equation.invars
    ]
    width = min(_CACHE // max(largest, 1), _MOST_ON_CPU, *([_SMALL_MATRIX // max(factors)] if factors else []))
    return int(1 << max(width, 1).bit_length() - 1)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program, those of loops and branches included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda one: hasattr(one, "eqns")):
            if hasattr(inner, "eqns"):
                yield from _equations(inner)
