import re
from importlib.resources import files

import pytest

from aetheory.core.bibliography import SOFTWARE, arxiv_numbers, bibliography, cited, entry


def keys(text):
    return [one.key for one in cited(text)]


def test_every_line_of_the_file_is_read():
    text = files("aetheory").joinpath("references.bib").read_text(encoding="utf-8")
    _, *entries = re.split(r"\n\n(?=@)", text.strip())
    assert [one.bibtex() for one in bibliography().values()] == entries


def test_entries_are_complete_and_told_apart():
    works = [one for one in bibliography().values() if one.key != SOFTWARE]
    assert all({"author", "title", "year"} <= set(one.fields) for one in works)
    assert all(one.key.endswith(tuple("abcdefghijklmnopqrstuvwxyz")) and one.fields["year"] in one.key for one in works)
    marks = [one.fields.get("eprint", (one.surname, one.fields["year"])) for one in works]
    assert len(set(marks)) == len(marks)
    assert all(one.bibtex().count("{") == one.bibtex().count("}") for one in works)


def test_a_note_is_the_last_field():
    assert entry("bai2004clt").bibtex("Theorem 1.1").splitlines()[-2:] == ["  note          = {Theorem 1.1},", "}"]
    with pytest.raises(ValueError, match=r"`key` must be that of an entry in `references\.bib`, but got 'nobody1900'"):
        entry("nobody1900")


def test_works_are_named_by_number_or_by_author_and_year():
    assert keys("the triangle: arXiv:2602.04548, Theorem 4.1") == ["yarotsky2026gradient"]
    assert keys("D. Yarotsky (2026)") == []
    assert keys("Z. Bai, J. Silverstein (2004)") == ["bai2004clt"]
    assert keys("P. Schönemann, 1966; K. Pearson, 1901") == ["schonemann1966generalized"]
    assert keys("J. Tropp, arXiv:2004.12345") == []
    assert arxiv_numbers("(arXiv:2606.05335, 2602.04548), math-ph/0206043") == {
        "2606.05335",
        "2602.04548",
        "math-ph/0206043",
    }
