import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import aetheory as ae
from aetheory.reproduce import prism, run


@pytest.fixture
def tiny(monkeypatch, x64):
    """Two panels of one setting each at dimensions of a test."""
    times = jnp.asarray([0.0, 0.1, 0.5])
    settings = {
        "mean-field": ae.LinearProblem(10, 500, 20, 0.5 / 500),
        "small-data": ae.LinearProblem(60, 30, 2, 0.5 / 60),
    }
    panels = tuple(
        prism.Panel(regime, regime, (prism.Setting(problem, regime, f"${regime}$"),), times, num_repeats=3)
        for regime, problem in settings.items()
    )
    monkeypatch.setattr(prism, "panels", lambda size: panels)
    return panels


def test_the_job_writes_figure_summary_and_curves(tiny, tmp_path, capsys):
    summary = run.run_prism("quick", tmp_path / "out" / "prism", seed=3)
    folder = tmp_path / "out" / "prism"
    assert sorted(path.name for path in folder.iterdir()) == ["curves.zarr", "figure.png", "figure.svg", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["seed"] == 3
    assert summary["dtype"] == "float64"
    assert summary["versions"]["jax"] == jax.__version__
    stored = xarray.open_zarr(folder / "curves.zarr", group="small-data", consolidated=False, chunks=None)
    assert stored.sizes == {"setting": 1, "time": 3}
    assert stored.input_dim.item() == 60
    deviation = float(np.abs(stored.theory_train - stored.simulation_train).max())
    entry = summary["panels"]["small-data"]
    assert entry["train_deviation"] == pytest.approx(deviation)
    initial = float(stored.simulation_train[0, 0])
    assert entry["train_deviation_relative"] == pytest.approx(deviation / initial)
    printed = capsys.readouterr().out
    assert f"{deviation:.5f}" in printed
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_finished_panels_survive_a_run_that_dies(tiny, tmp_path, monkeypatch):
    original = prism.run_panel

    def fail_late(panel, *arguments):
        if panel.name == "small-data":
            raise KeyboardInterrupt
        return original(panel, *arguments)

    monkeypatch.setattr(prism, "run_panel", fail_late)
    with pytest.raises(KeyboardInterrupt):
        run.run_prism("quick", tmp_path, seed=0)
    assert (
        xarray.open_zarr(tmp_path / "curves.zarr", group="mean-field", consolidated=False, chunks=None).sizes["time"]
        == 3
    )
    assert not (tmp_path / "summary.json").exists()


def test_an_unwritable_folder_is_refused_before_any_work(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(prism, "run_panel", lambda *arguments: pytest.fail("computed before looking"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        OSError, match=r"Argument `out` must be a folder that can be written to, but got '.*file/prism'"
    ):
        run.run_prism("quick", tmp_path / "file" / "prism", seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
