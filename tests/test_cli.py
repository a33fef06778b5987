import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import aetheory as ae
from aetheory.cli import app
from aetheory.reproduce import overview, panel


def test_command_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(panel, "run", lambda _, *arguments: seen.append((*arguments, jnp.result_type(float))))
    monkeypatch.setattr(panel, "overview", lambda summaries: f"a table of {', '.join(summaries)}")
    monkeypatch.setattr(overview, "draw", lambda folder: Figure())
    monkeypatch.setenv("AETHEORY_CACHE", str(tmp_path / "cache"))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_x64")
    before = {name: getattr(jax.config, name) for name in (*names, "jax_persistent_cache_min_entry_size_bytes")}
    runner = CliRunner()
    try:
        one = runner.invoke(app, ["reproduce", "prism", "--out", str(tmp_path), "--seed", "7"])
        every = runner.invoke(app, ["reproduce", "--out", str(tmp_path), "--dtype", "float32"])
        assert (one.exit_code, every.exit_code) == (0, 0)
        assert "a table" not in one.output
        assert "a table of prism, limits, recovery" in every.output
        assert str(tmp_path / "overview.png") in every.output
        assert (tmp_path / "overview.png").is_file()
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert seen == [
        ("default", tmp_path / "prism", 7, jnp.float64),
        ("default", tmp_path / "prism", 0, jnp.float32),
        ("default", tmp_path / "limits", 0, jnp.float32),
        ("default", tmp_path / "recovery", 0, jnp.float32),
    ]


def test_the_front_doors_know_their_version():
    line = f"aetheory {ae.__version__}\n"
    assert CliRunner().invoke(app, ["--version"]).output == line
    module = [sys.executable, "-m", "aetheory", "--version"]
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "prism", "--standard", "--full"], "--standard"),
        (["reproduce", "cube"], "cube"),
        (["reproduce", "--dtype", "float16"], "float16"),
        (["reproduce", "--seed", "-1"], "'--seed'"),
    ],
)
def test_command_line_refuses_bad_arguments(arguments, message):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_command_line_names_the_folder_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.cli._configure_jax", lambda x64: None)
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(app, ["reproduce", "--out", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert "Argument `out` must be a folder" in result.output


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output.startswith("aetheory 0.")


def test_fit_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.cli._configure_jax", lambda x64: None)
    times = [0.05 * step for step in range(21)]
    with jax.enable_x64(True):
        curve = ae.predict(ae.LinearRatios(2.0, 0.3, 0.0), times, "large-data").train
        rows = [f"{time},{risk}" for time, risk in zip(times, curve.tolist(), strict=True)]
        path, written, figure = tmp_path / "losses.csv", tmp_path / "fit.json", tmp_path / "fit.png"
        path.write_text("\n".join(["epoch,loss", *rows]), encoding="utf-8")
        options = ["--time", "epoch", "--train", "loss", "--model", "large-data", "--fixed", "sample_ratio=0"]
        outputs = ["--json", str(written), "--figure", str(figure)]
        found = CliRunner().invoke(app, ["fit", str(path), *options, *outputs])
    assert found.exit_code == 0, found.output
    assert "large-data regime, 21 observations" in found.output
    estimates = json.loads(written.read_text())["estimates"]
    assert estimates["init_scale"]["value"] == pytest.approx(2, rel=1e-3)
    assert figure.stat().st_size > 1000


def test_fit_names_what_is_wrong_with_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.cli._configure_jax", lambda x64: None)
    path = tmp_path / "losses.csv"
    path.write_text("epoch,loss\n0,1\n", encoding="utf-8")
    for arguments, message in (
        ([str(path)], "has no column 'time'"),
        ([str(tmp_path / "missing.csv")], "missing.csv"),
        ([str(path), "--time", "epoch", "--train", "loss"], "at least as many observations"),
    ):
        found = CliRunner().invoke(app, ["fit", *arguments])
        assert found.exit_code == 1
        assert message in found.output
