"""Sweeps from files: what they may say, and the whole way from a file to figures."""

import json
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray
from typer.testing import CliRunner

import aetheory as ae
from aetheory.cli import app
from aetheory.plotting.sweeps import curves_figure, deviation_figure
from aetheory.sweeps.config import draw_store, find_config, read_config, run_config, stored_config

TEXT = """
function = ["simulate", "predict"]
store = "{store}"
times = {{ start = 0, stop = 1, num = 5 }}
repeats = 2
dtype = "float32"

[grid]
input_dim = [8]
init_scale = {{ start = 0.1, stop = 1.0, num = 3, scale = "log" }}

[grid.regime]
regime = ["large-data", "mean-field"]
latent_ratio = [0.5, 0.5]
sample_ratio = [0.1, 0.5]
"""


def written(folder, text=TEXT):
    path = folder / "sweep-this.toml"
    path.write_text(text.format(store=folder / "store"))
    return path


def test_the_shipped_example_describes_500_problems():
    config = read_config(find_config("regimes"))
    sizes = [len(next(iter(v.values())) if isinstance(v, dict) else v) for v in config.grid.values()]
    assert np.prod(sizes) == 500
    with pytest.raises(FileNotFoundError, match=r"no example of that name \(there are \['regimes'\]\)"):
        find_config("nothing")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('function = ["simulate", "predict"]', "", r"inclusive of function, grid, store, .* without \['function'\]"),
        ("repeats = 2", "repeat = 2", r"made of the keys .*, but got \['repeat'\]"),
        ('function = ["simulate", "predict"]', "function = []", "`function` must be 'simulate', .*, but got \\[\\]"),
        (
            '"predict"]',
            '"guess"]',
            "`function` must be 'simulate', 'predict', 'module:name' or a list of them, but got 'guess'",
        ),
        ('"float32"', '"float16"', "`dtype` must be 'float32' or 'float64'"),
        ('scale = "log"', 'scale = "cubic"', "ranges of start, stop, num and scale"),
        ("times = ", "time = ", "made of the keys"),
        ("repeats = 2", "repeats = = 2", "must be a TOML file"),
        ("repeats = 2", "repeats = 2.5", "`repeats` must be a positive integer, but got 2.5"),
        ("repeats = 2", "seed = -1", "`seed` must be a nonnegative integer"),
        ("repeats = 2", "seed = true", "`seed` must be a nonnegative integer"),
        ("repeats = 2", "predict = 3", "`predict` must be a table of options"),
        ('store = "{store}"', "store = 3", "`store` must be the path of a folder"),
        ("times = {{ start = 0, stop = 1, num = 5 }}", 'times = ["0", "1"]', "`times` must be a list of numbers"),
        ("num = 5 }}", "num = -5 }}", "ranges between numbers"),
        ("start = 0.1", "start = 0", "ranges between numbers"),
        ("start = 0.1", 'start = "a"', "ranges between numbers"),
    ],
)
def test_bad_files_are_refused(old, new, message, tmp_path):
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        read_config(written(tmp_path, TEXT.replace(old, new)))


def test_from_a_file_to_figures(tmp_path):
    path = written(tmp_path)
    config = read_config(path)
    np.testing.assert_allclose(config.times, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(config.grid["init_scale"], [0.1, 10**-0.5, 1.0])
    results = run_config(path.read_text(), config)
    assert results["simulate"].train.sizes == {"input_dim": 1, "init_scale": 3, "regime": 2, "repeat": 2, "time": 5}
    assert results["predict"].train.sizes == {"input_dim": 1, "init_scale": 3, "regime": 2, "time": 5}
    curve = ae.predict(ae.LinearProblem(8, 4, 16, np.float32(1 / 8)), config.times, "mean-field")
    cell = results["predict"].isel(input_dim=0, init_scale=2, regime=1)
    np.testing.assert_allclose(cell.population, curve.population, rtol=1e-5)
    assert read_config(stored_config(config.store)) == config
    drawn = draw_store(config.store, "population")
    assert {file.name for file in drawn} == {
        f"{name}.{suffix}" for name in ("curves", "deviation", "location") for suffix in ("png", "svg")
    }
    assert all(file.stat().st_size > 5_000 for file in drawn)
    plt.close("all")
    with pytest.raises(ValueError, match="`variable` must be a result of the sweep"):
        draw_store(config.store, "colour")


def test_a_function_that_is_added_to_the_file_is_computed_and_drawn(tmp_path):
    path = written(tmp_path, TEXT.replace('["simulate", "predict"]', '"predict"'))
    first = read_config(path)
    run_config(path.read_text(), first)
    assert len(draw_store(first.store, "population")) == 4
    path = written(tmp_path)
    both = read_config(path)
    assert list(run_config(path.read_text(), both)) == ["simulate", "predict"]
    assert read_config(stored_config(both.store)) == both
    assert len(draw_store(both.store, "population")) == 6
    plt.close("all")
    # a file that the store refuses does not take the place of its own
    path = written(tmp_path, TEXT.replace("stop = 1,", "stop = 2,"))
    with pytest.raises(ValueError, match="times"):
        run_config(path.read_text(), read_config(path))
    assert read_config(stored_config(both.store)) == both


def test_the_command_line_limits_threads_before_numpy_is_loaded(tmp_path):
    (tmp_path / "observing.py").write_text(
        "import threadpoolctl\nprint([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])\n"
        "def function(cell, key):\n    return cell['x']\n"
    )
    config = f'function = "observing:function"\nstore = "{tmp_path / "store"}"\n[grid]\nx = [1.0]\n'
    (tmp_path / "observed.toml").write_text(config)
    environment = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "aetheory", "sweep", str(tmp_path / "observed.toml")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert set(json.loads(run.stdout.splitlines()[0])) == {1}


def test_figures_of_fewer_and_of_more_axes():
    time = np.linspace(0, 1, 4)
    for dims in (["x"], ["x", "y"], ["x", "y", "z", "w"]):
        shape = [2] * len(dims)
        coords = {name: (name, [1.0, 2.0]) for name in dims} | {"time": time}
        theory = xarray.Dataset({"population": ([*dims, "time"], np.ones((*shape, 4)))}, coords)
        repeated = theory.expand_dims(repeat=3)
        curves_figure({"simulate": repeated, "predict": theory})
        deviation_figure(repeated, theory)
    with pytest.raises(ValueError, match="`theory` must be of the grid"):
        deviation_figure(repeated, theory.isel(w=[0]))
    plt.close("all")


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    path = written(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="`store` must be a new folder or that of a sweep"):
        run_config(path.read_text(), read_config(path))
    with pytest.raises(FileNotFoundError, match="There is no sweep in"):
        draw_store(tmp_path / "store", "population")


def test_the_command_line_runs_resumes_and_reports_errors(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.cli._configure_jax", lambda x64: None)
    path = written(tmp_path, TEXT.replace('["simulate", "predict"]', '"predict"'))

    def call(*arguments):
        return CliRunner().invoke(app, arguments)

    first = call("sweep", str(path))
    assert first.exit_code == 0, first.stderr
    assert "predict: " in first.stdout
    assert f"aetheory plot {tmp_path / 'store'}" in first.stdout
    path.unlink()
    again = call("sweep", "--resume", str(tmp_path / "store"))
    assert again.stdout == first.stdout
    for function, message in (("nowhere:f", "No module named 'nowhere'"), ("math:fifth", "has no function 'fifth'")):
        path.write_text(f'function = "{function}"\nstore = "{tmp_path / "own"}"\n[grid]\nx = [1.0]\n')
        failed = call("sweep", str(path))
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert failed.stderr.startswith("Error: ")
        assert message in failed.stderr
    # a folder is not to be trusted with what is imported
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sweep.toml").write_text(path.read_text())
    refused = call("sweep", "--resume", str(tmp_path / "own"))
    assert f"To allow it: --resume {tmp_path / 'own'} --run math:fifth" in refused.stderr
    assert "has no function" in call("sweep", "--resume", str(tmp_path / "own"), "--run", "math:fifth").stderr
    missing = call("sweep", "--resume", str(tmp_path / "nothing"))
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: There is no sweep in")
