"""The pages of the site: the API pages cover the public names, and the page of claims names tests that exist."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import aetheory as ae

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


def test_the_claims_name_tests_and_files_that_exist():
    page = (ROOT / "docs" / "claims.md").read_text()
    tests = re.findall(r"`([\w/]+/test_\w+\.py)`", page)
    files = re.findall(r"`((?:aetheory|benchmarks)/[\w./]+)`", page)
    assert len(tests) > 20
    assert files
    for name in tests:
        assert (ROOT / "tests" / name).is_file(), name
    for name in files:
        assert (ROOT / name).is_file(), name


def test_code_in_the_pages_uses_names_that_exist():
    for page in (ROOT / "docs").rglob("*.md"):
        for path in re.findall(r"\bae((?:\.[A-Za-z_]\w*)+)\(", page.read_text()):
            value = ae
            for name in path.strip(".").split("."):
                assert hasattr(value, name), f"{page.name}: ae{path}"
                value = getattr(value, name)
