"""`citation`: the works behind a function, a regime or a curve, read from the docstrings that name them."""

import importlib
import inspect
import re
from typing import Any

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.core.references import REFERENCES, SOFTWARE, Reference
from aetheory.core.simulate import simulate
from aetheory.inference import Fit, fit
from aetheory.linear.problem import LinearProblem

_SECTION = re.compile(r"^\s*(?:.*\. )?Source: (.*?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_ARXIV = re.compile(r"(?:arXiv:)?\b(\d{4}\.\d{5}|math-ph/\d{7})\b")


def citation(*objects: Any) -> str:
    """The BibTeX entries of the works behind these objects, that of this library last.

    Arguments:
        objects: functions, classes or instances of the library, names of regimes ("mean-field", or several faces in a
            tuple), curves, fits. Without any, the library alone.

    Raises:
        ValueError: an object that is not of this library, or no result of a paper.
    """
    found = {reference.key: reference for one in objects for reference in references(one)}
    return "\n\n".join(reference.bibtex for reference in (*found.values(), SOFTWARE))


def references(one: Any) -> tuple[Reference, ...]:
    """The works behind one object, in the order of the bibliography; see `citation`.

    Raises:
        ValueError: an object that is not of this library, or no result of a paper.
    """
    texts = _sources(one)
    found = tuple(reference for reference in REFERENCES if any(_names(text, reference) for text in texts))
    if not found:
        raise fail("objects", "functions, classes, regimes, curves or fits of this library that rest on a paper", one)
    return found


def cited_numbers(one: Any) -> frozenset[str]:
    """The arXiv numbers in the sources of an object."""
    return frozenset(number for text in _sources(one) for number in _ARXIV.findall(text))


def _names(text: str, reference: Reference) -> bool:
    first = reference.fields.get("eprint")
    numbers = _ARXIV.findall(text)
    return first in numbers if first is not None else any(mark in text for mark in reference.marks)


def _sources(one: Any) -> tuple[str, ...]:
    """The `Source:` sections that speak for an object."""
    if isinstance(one, Fit):
        return (*_sources(fit), *_of_regime(one.name))
    if isinstance(one, Curve):
        return _sources(simulate) if one.theory is None else _of_regime(one.theory.name)
    if isinstance(one, str):
        return _of_regime(one)
    if isinstance(one, tuple) and one and all(isinstance(face, str) for face in one):
        return _of_regime(" ∩ ".join(one))
    if inspect.ismodule(one):
        return _sections(one.__doc__)
    described = one if inspect.isroutine(one) or inspect.isclass(one) else type(one)
    described = inspect.unwrap(described)
    module = getattr(described, "__module__", None) or ""
    if not module.startswith("aetheory"):
        return ()
    sections = _sections(described.__doc__)
    # an object without a section of its own is spoken for by its module, or by the room that it stands in
    while not sections and "." in module:
        sections = _sections(importlib.import_module(module).__doc__)
        module = module.rpartition(".")[0]
    return sections


def _of_regime(label: str) -> tuple[str, ...]:
    if label == "simulation":
        return _sources(simulate)
    keys = {one.key for one in LinearProblem.theories[label].citations}
    return tuple(f"arXiv:{one.fields['eprint']}" for one in REFERENCES if one.key in keys and "eprint" in one.fields)


def _sections(docstring: str | None) -> tuple[str, ...]:
    cleaned = inspect.cleandoc(docstring or "")
    sections = tuple(" ".join(section.split()) for section in _SECTION.findall(cleaned))
    if sections or "\n" in cleaned:
        return sections
    # a one-line docstring of a room names its papers in brackets
    return (cleaned,) if _ARXIV.search(cleaned) else ()
