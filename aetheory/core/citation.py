"""`citation`: the works behind a function, a theory or a curve, from what theories and docstrings say."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from aetheory.core.bibliography import SOFTWARE, arxiv_numbers, bibliography, cited, entry
from aetheory.core.checks import fail
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import Citation

_SECTION = re.compile(r"^\s*(?:.*\. )?Source: (.*?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(r"(?:Theorem|Prop|Lemma|Section|Table|Fig|Algorithm|[Ee]q)s?\.? \(?\d[\w.–]*\b\)?|App\. [A-Z]\b")


def citation(*objects: Any) -> str:
    """The BibTeX entries of the works behind these objects, that of this library last.

    An entry's note says which theorem, equation or section is meant, where its number is known.

    Arguments:
        objects: functions, classes, modules or instances of the library, theories or their names ("mean-field",
            "mean-field ∩ free"), curves, fits. Without any, the library alone.

    Raises:
        ValueError: an object that is not of this library, or rests on no paper; an unknown name.
    """
    places: dict[str, list[str]] = {}
    for one in objects:
        for found in citations(one):
            places.setdefault(found.key, []).append(found.place)
    notes = {key: "; ".join(dict.fromkeys(filter(None, places[key]))) for key in bibliography() if key in places}
    return "\n\n".join([*(entry(key).bibtex(note) for key, note in notes.items()), entry(SOFTWARE).bibtex()])


def citations(one: Any) -> tuple[Citation, ...]:
    """Where the object's results stand; see `citation`.

    Raises:
        ValueError: as there.
    """
    found = _of_name(one) if isinstance(one, str) else (*_declared(one), *_documented(one)) or _of_any_problem(one)
    if not found:
        raise fail("objects", "functions, classes, theories, curves or fits of this library that rest on a paper", one)
    return found


def sources(one: Any) -> tuple[str, ...]:
    """The `Source:` sections that speak for a module, class, function or instance of the library.

    One without a section of its own is spoken for by its module, or by the room that it stands in, unless it declares
    its citations.
    """
    if inspect.ismodule(one):
        return _sections(one.__doc__)
    described = inspect.unwrap(one if inspect.isroutine(one) or inspect.isclass(one) else type(one))
    module = getattr(described, "__module__", None) or ""
    if not module.startswith("aetheory"):
        return ()
    sections = _sections(described.__doc__)
    while not sections and "." in module and not _declared(one):
        sections = _sections(importlib.import_module(module).__doc__)
        module = module.rpartition(".")[0]
    return sections


def _declared(one: Any) -> tuple[Citation, ...]:
    """What an object says itself, or its theory and the class of its problem."""
    speakers = (one, getattr(one, "theory", None), getattr(one, "problem_type", None))
    found = (getattr(speaker, "citations", ()) for speaker in speakers)
    return tuple(each for several in found if isinstance(several, tuple) for each in several)


def _documented(one: Any) -> tuple[Citation, ...]:
    """What the `Source:` sections say, clause by clause; a clause that names one work may say where in it."""
    found = []
    for clause in (clause for section in sources(one) for clause in section.split("; ")):
        works = cited(clause)
        place = ", ".join(_PLACE.findall(clause)) if len(works) == 1 else ""
        found += [Citation(work.key, place) for work in works]
    return tuple(found)


def _of_name(name: str) -> tuple[Citation, ...]:
    """The citations of the theories of that name, whichever problem they speak of."""
    theories = [(known, theory) for kind in _problems() for known, theory in getattr(kind, "theories", {}).items()]
    found = tuple(dict.fromkeys(each for known, theory in theories if known == name for each in theory.citations))
    if not found:
        known = ", ".join(dict.fromkeys(repr(known) for known, _ in theories))
        raise fail("objects", f"names of theories among {known}, where they are names", name)
    return found


def _of_any_problem(one: Any) -> tuple[Citation, ...]:
    """What takes any problem, such as `predict`, rests on what every problem does."""
    if not inspect.isroutine(one):
        return ()
    kinds = [parameter.annotation for parameter in inspect.signature(inspect.unwrap(one)).parameters.values()]
    return tuple(each for kind in _problems() for each in _declared(kind)) if AbstractProblem in kinds else ()


def _problems(kind: type = AbstractProblem) -> Iterator[type]:
    """Every class of problems that has been imported."""
    heirs: list[type] = kind.__subclasses__()
    for heir in heirs:
        yield heir
        yield from _problems(heir)


def _sections(docstring: str | None) -> tuple[str, ...]:
    cleaned = inspect.cleandoc(docstring or "")
    sections = tuple(" ".join(section.split()) for section in _SECTION.findall(cleaned))
    if sections or "\n" in cleaned:
        return sections
    # a one-line docstring of a room names its papers in brackets
    return (cleaned,) if arxiv_numbers(cleaned) else ()
