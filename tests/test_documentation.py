"""The pages of the site: the API pages cover the public names, and the page of claims names tests that exist."""

import contextlib
import importlib.util
import inspect
import io
import json
import pickle
import re
from pathlib import Path

import equinox as eqx
import jax
import joblib
import numpy as np
import pytest

import aetheory as ae
from aetheory.sweeps import config
from benchmarks.claims import report
from benchmarks.claims.definitions import all_claims

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


def test_every_object_of_an_api_page_is_called_by_a_name_that_is_there(hook):
    for path in documented():
        public = hook.public_name(path)
        if public is not None:
            value = ae
            for name in public.split(".")[1:]:
                value = getattr(value, name)
            assert value is getattr(importlib.import_module(path.rpartition(".")[0]), path.rpartition(".")[2])
    assert hook.public_name("aetheory.core.predict.predict") == "ae.predict"
    assert hook.public_name("aetheory.two_layer.limits.gaussian.gaussian") == "ae.limits.gaussian"


def test_every_public_name_can_be_imported_and_is_told_to_type_checkers():
    assert len(dir(ae)) > 40
    for name in dir(ae):
        assert getattr(ae, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'autoencoder'"):
        ae.autoencoder  # noqa: B018


def program(path):
    """One that makes a part of the site."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "docs" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hook():
    return program("hooks/public_names.py")


def test_the_page_of_claims_is_made_from_what_was_recomputed():
    told = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))
    template, page = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("claims.in.md", "claims.md"))
    assert report.page(told, template) == page, "run `python benchmarks/claims/report.py`"
    pictures = set(re.findall(r"assets/claims/([\w-]+\.svg)", page))
    assert pictures == {path.name for path in (ROOT / "docs" / "assets" / "claims").glob("*.svg")}
    assert len(pictures) > 10


def test_the_page_has_the_claims_of_the_library():
    """Those that it lacks take as long as the papers took; none has changed its verdict."""
    told = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))["claims"]
    known = {name: claim for name, (claim, _) in all_claims().items()}
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


def test_the_page_of_sweeps_has_every_key_and_its_file_is_one(tmp_path):
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    keys = {
        name for row in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert keys == config._KEYS
    path = tmp_path / "my.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", page, flags=re.DOTALL)[1])
    read = config.read_config(path)
    assert read.functions == ("simulate", "predict")
    assert read.options["simulate"] == {"rtol": 1e-5}
    assert len(read.times) == 41
    assert len(read.grid["latent_ratio"]) == 5


def test_networks_come_back_from_disk_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "saving.md").read_text(), flags=re.DOTALL):
        exec(code, made := {})
    np.testing.assert_array_equal(made["again"].atoms, made["network"].atoms)
    assert float(made["again"].threshold) == 0.5
    activations = (
        "sign",
        "hard_tanh",
        ae.two_layer.leaky_relu(0.1),
        ae.two_layer.from_function(np.cbrt, breakpoints=[0]),
    )
    others = [ae.TwoLayerProblem(9, 4, activation) for activation in activations]
    for one in (made["network"], ae.limits.minimiser(jax.random.key(0), np.ones(6), 3), *others):
        joblib.dump(one, "kept.joblib")
        for again in (pickle.loads(pickle.dumps(one)), joblib.load("kept.joblib")):
            assert eqx.tree_equal(again, one)


@pytest.mark.slow
def test_the_first_path_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, names, printed = (ROOT / "docs" / "first_path.md").read_text(encoding="utf-8"), {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
            exec(code, names)
    assert printed.getvalue() == "".join(re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL))
    assert (tmp_path / "curve.png").is_file()
