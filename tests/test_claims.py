"""Claims are judged, written down, kept and complete; those that take a second or two are tests.

Their numbers and oracles stand in `benchmarks/claims` and nowhere else. `pytest benchmarks/claims` runs all claims.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aetheory.core.bibliography import entry
from aetheory.core.theory import Citation
from aetheory.two_layer import limits
from benchmarks.claims import conftest, definitions

CLAIMS = definitions.all_claims()
CHEAP = "two-layer/limits/isotropic"
NAMES = (
    "linear/regimes/large-data",
    "linear/regimes/mean-field",
    "linear/regimes/narrow-latent",
    "linear/regimes/small-data",
    "linear/covariance/mean-field",
    "linear/covariance/mean-field-free",
    "linear/penalty/mean-field",
    "linear/expansion/monte-carlo",
    "linear/expansion/any-covariance",
    "two-layer/sparse/rotation",
    "two-layer/sparse/denoised-samples",
    "recovery/gradient/direction",
    "recovery/gradient/at-the-truth",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_stands(x64, name):
    claim, compute = CLAIMS[name]
    deviations = claim.deviations(claim.rows(compute()))
    worst = max(deviations, key=deviations.get)
    assert claim.stands(deviations[worst]), f"{worst}: off by {deviations[worst]}"


def make_claim(**fields):
    settings = {"verdict": "holds", "tolerance": 0.1, "why": "", "published": {"one": 1.0}} | fields
    return definitions.Claim("library/test/one", (Citation("aetheory"),), "One is one.", **settings)


@pytest.fixture
def run(tmp_path, monkeypatch, x64):
    """Run the claim of a test as pytest does, with its results in a folder; returns the record."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # of other tests

    def run(claim, function, again=False):
        option = SimpleNamespace(results=tmp_path, again=again)
        item = SimpleNamespace(claim=claim, function=function, funcargs={}, user_properties=[], path=Path(__file__))
        item.config = SimpleNamespace(option=option)
        try:
            conftest.pytest_pyfunc_call(item)
        finally:
            report = SimpleNamespace(when="call", user_properties=item.user_properties)
            conftest.Records(tmp_path).pytest_runtest_logreport(report)
        return item.user_properties[0][1]

    return run


@pytest.mark.parametrize(
    ("value", "verdict", "stands"),
    [
        (1.05, "holds", True),
        (1.2, "holds", False),
        (np.nan, "holds", False),
        (1.05, "not reproduced", False),
        (1.2, "does not hold as printed", True),
        (np.nan, "does not hold as printed", False),
    ],
)
def test_a_claim_stands_or_falls_with_its_deviation(value, verdict, stands):
    claim = make_claim(verdict=verdict)
    assert claim.stands(max(claim.deviations(claim.rows({"one": value})).values())) is stands


@pytest.mark.parametrize(
    ("relative", "expected"), [(None, (0.1, 0.2)), ("each", (0.1, 0.02)), ("largest", (0.01, 0.02))]
)
def test_deviations_are_absolute_or_shares(relative, expected):
    claim = make_claim(published=None, relative=relative)
    deviations = claim.deviations(claim.rows({"small": (1.0, 1.1), "large": (10.0, 10.2)}))
    assert tuple(deviations.values()) == pytest.approx(expected)


def test_every_claim_is_complete():
    assert len(CLAIMS) > 100
    assert {claim.system for claim, _ in CLAIMS.values()} == {"linear", "two-layer", "recovery", "library"}
    for name, (claim, _) in CLAIMS.items():
        assert claim.statement, name
        assert claim.why, name
        assert claim.cost in conftest.COSTS, name
        assert name.count("/") == 2
        for source in claim.sources:
            assert entry(source.key)


def test_a_claim_is_recomputed_written_and_kept(run, tmp_path):
    claim, function = CLAIMS[CHEAP]
    record = run(claim, function)
    assert record["stands"] is True
    assert record["rows"]["R* @ 1.0"] == pytest.approx([0.36338] * 2, abs=1e-5)
    path = tmp_path / "claims.json"
    written = json.loads(path.read_text())
    assert {"versions", "device", "dtype", "platform"} <= written.keys()
    written["claims"][CHEAP]["seconds"] = 1234.0
    path.write_text(json.dumps(written))
    assert run(claim, function)["seconds"] == 1234.0
    assert run(claim, function, again=True)["seconds"] < 1234.0
    written["claims"][CHEAP]["digest"] = "of another library"
    path.write_text(json.dumps(written))
    assert run(claim, function)["seconds"] < 1234.0
    path.write_text("{ cut off")
    assert run(claim, function)["stands"] is True


def test_a_broken_formula_changes_the_verdict(run, monkeypatch):
    claim, function = CLAIMS[CHEAP]
    right = limits.gaussian
    monkeypatch.setattr(limits, "gaussian", lambda *arguments: 2 - right(*arguments))  # 1 + r/(1+α)
    with pytest.raises(pytest.fail.Exception, match="CHANGED: holds"):
        run(claim, function)


def test_missing_data_are_no_failure_and_an_error_is_one(run):
    def missing():
        raise FileNotFoundError("no such images")

    def fails():
        raise ZeroDivisionError("by zero")

    for function, error in ((missing, pytest.skip.Exception), (fails, ZeroDivisionError)):
        with pytest.raises(error):
            run(make_claim(), function)
