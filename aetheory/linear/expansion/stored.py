"""Polynomials of high orders kept on disk between runs: at order 10 a tenth of a second instead of two minutes."""

import contextlib
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from aetheory.core.cache import cache_directory
from aetheory.core.store import load, save, source_digest
from aetheory.linear.expansion.polynomial import Polynomial

if TYPE_CHECKING:
    import xarray

_SOURCES = [f"aetheory.linear.expansion.{name}" for name in ("planar", "polynomial", "wick", "words")]

MIN_STORED_ORDER = 6
"""Lower orders are computed in less time than it takes to open a store."""


def cached(compute: Callable[[int, str], Polynomial], order: int, risk: str) -> Polynomial:
    """Return `compute(order, risk)`, read from the cache directory where an earlier run of the same code left it.

    The directory is the environment variable AETHEORY_CACHE, or `aetheory` in the user's cache directory. A store that
    is damaged or of other code is computed again and replaced; one that cannot be written costs time only.
    """
    if order < MIN_STORED_ORDER:
        return compute(order, risk)
    try:
        path = cache_directory() / "expansion" / f"{compute.__name__}-{risk}-{order}"
        settings = {"source": source_digest(*_SOURCES)}
        stored = load(path, settings)
    except (RuntimeError, OSError):  # no home directory; sources that cannot be read
        return compute(order, risk)
    if stored is not None:
        return _from_dataset(stored)
    found = compute(order, risk)
    with contextlib.suppress(OSError):
        save(path, _to_dataset(found), settings)
    return found


def _to_dataset(found: Polynomial) -> "xarray.Dataset":
    """Exponents as integers; coefficients as strings, since they exceed 64 bits."""
    import xarray

    exponents = np.array([one for one, _ in found.terms], np.int64)
    coefficients = np.array([str(value) for _, value in found.terms], object)
    variables = np.array(found.variables, object)
    return xarray.Dataset(
        {"exponents": (("term", "variable"), exponents), "coefficient": ("term", coefficients)},
        coords={"variable": variables},
    )


def _from_dataset(stored: "xarray.Dataset") -> Polynomial:
    exponents = [tuple(one) for one in stored.exponents.values.tolist()]
    coefficients = [Fraction(value) for value in stored.coefficient.values]
    variables = tuple(stored.coords["variable"].values.tolist())
    return Polynomial.from_terms(variables, dict(zip(exponents, coefficients, strict=True)))
