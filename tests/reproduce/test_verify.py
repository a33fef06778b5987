"""`aetheory verify`: claims are judged, written down, kept, and turn red when a formula is broken."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from aetheory.cli import app
from aetheory.core.bibliography import entry
from aetheory.core.claim import Claim, claim
from aetheory.core.theory import Citation
from aetheory.reproduce import verify
from aetheory.two_layer import limits

CHEAP = "two-layer/limits/isotropic"
ROOT = Path(__file__).parents[2]


def asked(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aetheory.cli._configure_jax", lambda x64: None)
        patch.setattr("aetheory.cli.compile_quickly", lambda: None)
        patch.setattr(jax, "clear_caches", lambda: None)  # of other tests
        with jax.enable_x64(True):
            return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def a_claim(value=1.0, **fields):
    settings = {"verdict": "holds", "tolerance": 0.1, "why": "", "published": {"one": 1.0}} | fields
    return Claim("library/test/one", "One is one.", (Citation("aetheory"),), lambda: {"one": value}, **settings)


def test_a_claim_stands_or_falls_with_its_deviation():
    for value, verdict, stands in (
        (1.05, "holds", True),
        (1.2, "holds", False),
        (np.nan, "holds", False),
        (1.05, "not reproduced", False),
        (1.2, "does not hold as printed", True),
    ):
        one = a_claim(value, verdict=verdict)
        assert one.stands(max(one.deviations(one.rows()).values())) is stands


def test_deviations_are_shares_where_they_are_to_be():
    pairs = {"small": (1.0, 1.1), "large": (10.0, 10.2)}
    for relative, expected in ((None, (0.1, 0.2)), ("each", (0.1, 0.02)), ("largest", (0.01, 0.02))):
        one = a_claim(published=None, relative=relative)
        object.__setattr__(one, "compute", lambda: pairs)
        assert tuple(one.deviations(one.rows()).values()) == pytest.approx(expected)


def test_a_definition_has_a_digest():
    def made(tolerance):
        @claim("library/test/one", "One.", verdict="holds", tolerance=tolerance, why="")
        def compute():
            return asked

        return compute

    assert made(1).digest == made(1).digest != made(2).digest


def test_every_claim_is_complete():
    names = [one.name for one in verify.CLAIMS]
    assert len(set(names)) == len(names) > 100
    systems = {"linear", "two-layer", "recovery", "library"}
    assert {one.system for one in verify.CLAIMS} == systems
    for one in verify.CLAIMS:
        assert one.statement
        assert one.why
        assert one.name.count("/") == 2
        for source in one.sources:
            assert entry(source.key)
    assert len(verify.choose()) < len(verify.choose(cost="full")) == len(names)


def test_one_claim_is_recomputed_written_and_kept(tmp_path):
    first = asked("--only", CHEAP, "--output", tmp_path)
    assert first.exit_code == 0, first.output
    assert "1 claims, 0 whose verdict changed" in first.output
    path = tmp_path / "claims.json"
    told = json.loads(path.read_text())
    record = told["claims"][CHEAP]
    assert {"versions", "device", "dtype", "platform", "seed"} <= told.keys()
    assert record["stands"] is True
    assert record["rows"]["R* @ 1.0"] == pytest.approx([0.36338] * 2, abs=1e-5)
    told["claims"][CHEAP]["seconds"] = 1234.0
    path.write_text(json.dumps(told))
    assert "1234.0" in asked("--only", CHEAP, "--output", tmp_path).output  # kept
    assert "1234.0" not in asked("--only", CHEAP, "--output", tmp_path, "--again").output
    for change in ("digest", "library"):
        told["claims"][CHEAP][change] = "another"
        path.write_text(json.dumps(told))
        assert "1234.0" not in asked("--only", CHEAP, "--output", tmp_path).output
    path.write_text("{ cut off")
    assert asked("--only", CHEAP, "--output", tmp_path).exit_code == 0


def test_a_broken_formula_turns_the_table_red(tmp_path, monkeypatch):
    right = limits.gaussian
    monkeypatch.setattr(limits, "gaussian", lambda *arguments: 2 - right(*arguments))  # 1 + r/(1+α)
    broken = asked("--only", CHEAP, "--output", tmp_path)
    assert broken.exit_code == 1
    assert "CHANGED: holds" in broken.output
    assert "1 whose verdict changed" in broken.output


def test_one_that_breaks_is_a_row_and_missing_data_are_no_failure(monkeypatch, tmp_path):
    def missing():
        raise FileNotFoundError("no such images")

    def fails():
        raise ZeroDivisionError("by zero")

    for compute, stands, code, words in ((missing, None, 0, "1 left out"), (fails, False, 1, "ZeroDivisionError")):
        one = a_claim()
        object.__setattr__(one, "compute", compute)
        monkeypatch.setattr(verify, "CLAIMS", (one,))
        assert verify.check(one)["stands"] is stands
        answer = asked("--output", tmp_path)
        assert answer.exit_code == code
        assert words in answer.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "two-layer/limits/isotropc"], 1, "Did you mean 'two-layer/limits/isotropic'"),
        (["--quick", "--full"], 2, "--quick"),
        (["prism"], 2, "prism"),
    ],
)
def test_bad_arguments(arguments, code, message, tmp_path):
    answer = asked(*arguments, "--output", tmp_path)
    assert answer.exit_code == code
    assert message in answer.output


def test_a_prefix_names_all_below_it():
    chosen = verify.choose(only=["two-layer/limits"])
    assert len(chosen) > 4
    assert all(one.name.startswith("two-layer/limits/") for one in chosen)
    assert verify.choose("linear", only=["two-layer/limits"]) == ()
