"""The bibliography, read from `references.bib`, and which of its works a text names."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aetheory.core.checks import fail

SOFTWARE = "aetheory"
"""The key of the library's own entry."""

_ENTRY = re.compile(r"^@(\w+)\{(\w+),\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},$", re.MULTILINE)
_ARXIV = re.compile(r"(?:arXiv:)?\b(\d{4}\.\d{5}|math-ph/\d{7})\b")


@dataclass(frozen=True)
class Entry:
    """One work.

    Arguments:
        key: its BibTeX key.
        kind: its BibTeX type.
        fields: its fields, in order.
    """

    key: str
    kind: str
    fields: dict[str, str]

    def bibtex(self, note: str = "") -> str:
        """The entry as BibTeX, with a note where one is given."""
        fields = self.fields | ({"note": note} if note else {})
        return "\n".join(
            [f"@{self.kind}{{{self.key},", *(f"  {name:<13} = {{{value}}}," for name, value in fields.items()), "}"]
        )

    @property
    def surname(self) -> str:
        """The first author's, without the marks of LaTeX."""
        surname = self.fields["author"].split(",")[0]
        return unicodedata.normalize("NFC", re.sub(r'\{\\"(\w)\}', "\\1\u0308", surname))

    def is_named(self, text: str) -> bool:
        """Whether a text names it: by its arXiv number, where it has one, otherwise by its first author and year."""
        if "eprint" in self.fields:
            return self.fields["eprint"] in arxiv_numbers(text)
        return {self.surname, self.fields["year"]} <= set(re.findall(r"\w+", _ARXIV.sub("", text)))


@cache
def bibliography() -> dict[str, Entry]:
    """Every work by its key."""
    text = files("aetheory").joinpath("references.bib").read_text(encoding="utf-8")
    return {key: Entry(key, kind, dict(_FIELD.findall(body))) for kind, key, body in _ENTRY.findall(text)}


def entry(key: str) -> Entry:
    """The work with this key.

    Raises:
        ValueError: there is none.
    """
    if key not in bibliography():
        raise fail("key", "that of an entry in `references.bib`", key)
    return bibliography()[key]


def cited(text: str) -> tuple[Entry, ...]:
    """The works that a text names, in the order of the bibliography."""
    return tuple(one for one in bibliography().values() if one.is_named(text))


def arxiv_numbers(text: str) -> frozenset[str]:
    """The arXiv numbers in a text."""
    return frozenset(_ARXIV.findall(text))
