"""Polynomials kept on disk between runs: at order 10 a tenth of a second instead of two minutes, at order 6 of .4 s.

A cache that cannot be read or written costs time, never the result.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from aetheory.core.cache import cache_directory
from aetheory.linear.expansion.polynomial import Polynomial

_SOURCES = ("polynomial.py", "words.py", "wick.py", "planar.py")


def cached(compute: Callable[[int, str], Polynomial], order: int, risk: str) -> Polynomial:
    """`compute(order, risk)`, or the file that an earlier run of the same code left in the cache directory.

    The directory is the environment variable AETHEORY_CACHE, or `aetheory` in the user's cache directory.
    A file that is damaged, or that something else wrote, is computed again and replaced.
    """
    try:
        path = cache_directory() / f"expansion-{_code_version()}" / f"{compute.__name__}-{risk}-{order}.json"
    except (RuntimeError, OSError):  # no home directory; sources that cannot be read
        return compute(order, risk)
    with contextlib.suppress(OSError, ValueError):
        digest, body = path.read_text(encoding="utf-8").split("\n")
        if digest == _digest(body):
            variables, terms = json.loads(body)
            return Polynomial.from_terms(tuple(variables), {tuple(exponents): value for exponents, value in terms})
    polynomial = compute(order, risk)
    body = json.dumps([polynomial.variables, [[exponents, int(value)] for exponents, value in polynomial.terms]])
    # a reader never sees half a file: it is written beside its place, then renamed
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.write_text(f"{_digest(body)}\n{body}", encoding="utf-8")
            draft.replace(path)
    return polynomial


@cache
def _code_version() -> str:
    """A fingerprint of the code that computes: whatever changes it, an old result is not taken for a new one."""
    return _digest(*((Path(__file__).parent / name).read_text(encoding="utf-8") for name in _SOURCES))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
