import json

import numpy as np
import pytest
import xarray

from aetheory.reproduce.panel import Job, Panel, Sheet, overview, run
from aetheory.sweeps.output import OutputFolder


def job_of(calls, fail_at=None):
    """Two panels that share a figure, the first of three problems, and one whose data are missing."""

    def compute(number, scratch):
        if number == fail_at:
            raise KeyboardInterrupt
        if number == "absent":
            raise FileNotFoundError("no such data")
        calls.append(number)
        (scratch / f"sweep-{number}").mkdir(parents=True)
        (scratch / f"sweep-{number}").rmdir()
        return xarray.Dataset(
            {"found": (("case", "time"), [[number, 2.0 * number]])}, {"name": ("case", [f"n{number}"])}
        )

    def panel(name, problems, place):
        def draw(axes, data):
            axes[place].plot(data.found.T)
            axes[place].set_title(name)

        def told(data):
            return {"largest": float(data.found.max()), "names": data.name.values.tolist()}

        def lines(summary):
            yield f"{name}: largest", f"{summary['largest']:g}"

        return Panel(name, problems, compute, {"figure": draw}, told, lines, dim="case")

    panels = [panel("first", [1, 2, 3], 0), panel("second", [4], 1), panel("third", ["absent"], 2)]
    return lambda size, seed: Job(
        "test", panels, {"figure": Sheet((1, 3), (6.0, 2.0)), "empty": Sheet((1, 1), (2.0, 2.0))}
    )


def test_a_job_leaves_figure_summary_and_data(tmp_path, capsys):
    summary = run(job_of([]), "default", tmp_path / "out", seed=3)
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {"curves.zarr", "figure.png", "figure.svg", "summary.json"}
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert (summary["system"], summary["size"], summary["seed"]) == ("test", "default", 3)
    assert {"versions", "dtype", "device"} <= summary.keys()
    assert summary["panels"]["first"] == {"largest": 6.0, "names": ["n1", "n2", "n3"]}
    assert summary["lines"] == {"first: largest": "6", "second: largest": "8", "third: left out": "no such data"}
    assert "no such data" in capsys.readouterr().out
    assert len(overview({"test": summary, "again": summary}).splitlines()) == 7
    stored = xarray.open_zarr(folder / "curves.zarr", group="first", consolidated=False, chunks=None)
    np.testing.assert_array_equal(stored.found, [[1, 2], [2, 4], [3, 6]])


def test_a_job_goes_on_where_it_stopped_and_begins_anew_once_finished(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.reproduce.panel._SECONDS_BETWEEN_VIEWS", 0.0)
    for name in ("_AT_A_TIME", "_AHEAD"):  # for the order of the calls
        monkeypatch.setattr(f"aetheory.reproduce.panel.{name}", 1)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        run(job_of(calls, fail_at=3), "default", tmp_path, seed=0)
    assert calls == [1, 2]
    assert not (tmp_path / "summary.json").exists()
    assert (tmp_path / "figure.png").exists()
    summary = run(job_of(calls), "default", tmp_path, seed=0)
    assert calls == [1, 2, 3, 4]
    assert summary["panels"]["first"]["names"] == ["n1", "n2", "n3"]
    run(job_of(calls), "default", tmp_path, seed=0)
    assert calls == 2 * [1, 2, 3, 4]
    with pytest.raises(KeyboardInterrupt):
        run(job_of(calls, fail_at=4), "default", tmp_path, seed=0)
    run(job_of(calls), "default", tmp_path, seed=1)  # another seed is another job
    assert calls[8:] == [1, 2, 3, 1, 2, 3, 4]


def test_a_figure_shows_the_panels_that_are_there(tmp_path):
    job = job_of([])("default", 0)
    written = {}

    class Folder(OutputFolder):
        def write_figure(self, figure, name="figure", *, early=False):
            written[name] = figure

    data = xarray.Dataset({"found": (("case", "time"), np.ones((1, 2)))})
    job.write_figures(job.sheets, Folder(tmp_path), {"second": data})
    first, second, _ = written["figure"].axes
    assert second.get_title(loc="left") == "(b) second"
    assert not first.axison
    assert "empty" not in written


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"Argument `out` must be a folder that can be written to, but got '.*file/out'"):
        run(lambda size, seed: pytest.fail("computed before looking"), "default", tmp_path / "file" / "out", seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
