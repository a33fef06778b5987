"""Polynomials kept on disk between runs. A cache that cannot be read or written costs time, never the result."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from aetheory.core.cache import cache_directory
from aetheory.linear.expansion.polynomial import Polynomial

_SOURCES = ("polynomial.py", "words.py", "wick.py", "planar.py")


def cached(
    kind: str, order: int, risk: str, variables: tuple[str, ...], compute: Callable[[int, str], Polynomial]
) -> Polynomial:
    """`compute(order, risk)`, or the file that an earlier run of the same code left in the cache directory.

    The directory is the environment variable AETHEORY_CACHE, or `aetheory` in the user's cache directory.
    A file that is damaged, or that something else wrote, is computed again and replaced.
    """
    path = _path(f"{kind}-{risk}-{order}.json")
    polynomial = None if path is None else _read(path, variables)
    if polynomial is None:
        polynomial = compute(order, risk)
        if path is not None:
            _write(path, polynomial)
    return polynomial


def _path(name: str) -> Path | None:
    try:
        return cache_directory() / f"expansion-{_code_version()}" / name
    except (RuntimeError, OSError):  # no home directory; sources that cannot be read
        return None


@cache
def _code_version() -> str:
    """A fingerprint of the code that computes: whatever changes it, an old result is not taken for a new one."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _read(path: Path, variables: tuple[str, ...]) -> Polynomial | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        terms = content["terms"]
        if content["digest"] != _digest(terms) or content["variables"] != list(variables):
            return None
        return Polynomial.from_terms(variables, {tuple(exponents): int(value) for exponents, value in terms})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, polynomial: Polynomial) -> None:
    terms = [[list(exponents), int(value)] for exponents, value in polynomial.terms]
    content = {"variables": list(polynomial.variables), "digest": _digest(terms), "terms": terms}
    # A reader never sees half a file: it is written beside its place, then renamed.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.write_text(json.dumps(content), encoding="utf-8")
            draft.replace(path)


def _digest(terms: list[Any]) -> str:
    return hashlib.sha256(json.dumps(terms).encode()).hexdigest()
