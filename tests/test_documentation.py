"""The pages of the site: the API pages cover the public names, and the page of claims names tests that exist."""

import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest

import aetheory as ae
from aetheory.reproduce.verify import CLAIMS

ROOT = Path(__file__).parent.parent
ROOMS = (
    "aetheory",
    "aetheory.two_layer",
    "aetheory.inference",
    "aetheory.plotting",
    "aetheory.sources",
    "aetheory.spectra",
    "aetheory.sweeps",
    "aetheory.linear.expansion",
    "aetheory.two_layer.limits",
    "aetheory.group_sparse",
)


def documented():
    """What the API pages ask the documentation strings of: names and whole modules."""
    pages = (ROOT / "docs" / "api").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_and_class_is_on_an_api_page(room):
    names = documented()
    missing = []
    module = importlib.import_module(room)
    for name in dir(module):
        member = getattr(module, name)
        home = getattr(member, "__module__", "")
        if name.startswith("_") or inspect.ismodule(member) or not str(home).startswith("aetheory"):
            continue
        if not {home, f"{home}.{getattr(member, '__name__', name)}"} & names:
            missing.append(f"{home}.{name}")
    assert not missing


def test_what_the_api_pages_ask_for_exists():
    for name in documented():
        module, _, last = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), last), name


def test_every_public_name_can_be_imported_and_is_told_to_type_checkers():
    assert len(dir(ae)) > 40
    for name in dir(ae):
        assert getattr(ae, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'autoencoder'"):
        ae.autoencoder  # noqa: B018


@pytest.fixture(scope="module")
def claims_page():
    """The program that makes the page."""
    spec = importlib.util.spec_from_file_location("claims_page", ROOT / "docs" / "claims.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_claims_is_made_from_what_was_recomputed(claims_page):
    told = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))
    template, page = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("claims.in.md", "claims.md"))
    assert claims_page.page(told, template) == page, "run `python docs/claims.py`"
    pictures = set(re.findall(r"assets/claims/([\w-]+\.svg)", page))
    assert pictures == {path.name for path in (ROOT / "docs" / "assets" / "claims").glob("*.svg")}
    assert len(pictures) > 10


def test_the_page_has_the_claims_of_the_library():
    """Those that it lacks take as long as the papers took; none has changed its verdict."""
    told = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))["claims"]
    known = {claim.name: claim for claim in CLAIMS}
    assert set(told) <= set(known)
    assert {name for name, claim in known.items() if claim.cost != "full"} <= set(told)
    for name, record in told.items():
        assert record["stands"], name
        assert (record["statement"], record["verdict"]) == (known[name].statement, known[name].verdict), name


def test_the_claims_name_tests_that_exist():
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    tests = re.findall(r"`([\w/]+/test_\w+\.py)`", page)
    assert tests
    for name in tests:
        assert (ROOT / "tests" / name).is_file(), name


def test_code_in_the_pages_uses_names_that_exist():
    for page in (ROOT / "docs").rglob("*.md"):
        for path in re.findall(r"\bae((?:\.[A-Za-z_]\w*)+)\(", page.read_text()):
            value = ae
            for name in path.strip(".").split("."):
                assert hasattr(value, name), f"{page.name}: ae{path}"
                value = getattr(value, name)
