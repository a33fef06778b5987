import jax
import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

from aetheory.cli import app
from aetheory.reproduce import overview, run, run_limits, run_recovery


def test_command_line(tmp_path, monkeypatch):
    seen = []
    for module, name in ((run, "run_prism"), (run_limits, "run_limits"), (run_recovery, "run_recovery")):
        monkeypatch.setattr(module, name, lambda *arguments: seen.append((*arguments, jnp.result_type(float))))
    monkeypatch.setattr(overview, "overview", lambda summaries: f"a table of {', '.join(summaries)}")
    monkeypatch.setenv("AETHEORY_CACHE", str(tmp_path / "cache"))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_x64")
    before = {name: getattr(jax.config, name) for name in (*names, "jax_persistent_cache_min_entry_size_bytes")}
    runner = CliRunner()
    try:
        one = runner.invoke(app, ["reproduce", "prism", "--quick", "--out", str(tmp_path), "--seed", "7"])
        every = runner.invoke(app, ["reproduce", "--out", str(tmp_path), "--dtype", "float32"])
        assert (one.exit_code, every.exit_code) == (0, 0)
        assert "a table" not in one.output
        assert "a table of prism, limits, recovery" in every.output
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert seen == [
        ("quick", tmp_path / "prism", 7, jnp.float64),
        ("default", tmp_path / "prism", 0, jnp.float32),
        ("default", tmp_path / "limits", 0, jnp.float32),
        ("default", tmp_path / "recovery", 0, jnp.float32),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "prism", "--quick", "--full"], "--quick"),
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
