import json

import numpy as np
import pytest
import xarray

from aetheory.reproduce.panel import Job, Panel, Sheet, overview, run
from aetheory.sweeps.output import OutputFolder


def job_of(calls, fail_at=None):
    """Two panels that share a figure, and one whose data are missing."""

    def panel(name, numbers, place):
        def compute():
            if name == fail_at:
                raise KeyboardInterrupt
            if name == "third":
                raise FileNotFoundError("no such data")
            calls.append(name)
            values = np.array(numbers, float)
            names = [f"n{number}" for number in numbers]
            found = {
                "found": (("case", "time"), np.stack([values, 2 * values], axis=1)),
                "gap": ("case", np.where(values, values, np.nan)),
            }
            return xarray.Dataset(found, {"name": ("case", names)}, {"count": len(numbers)})

        def draw(axes, data):
            axes[place].plot(data.found.T)
            axes[place].set_title(name)

        def rows(data):
            yield f"{name}: largest", f"{float(data.found.max()):g}"

        return Panel(name, compute, {"figure": draw}, ("name", "gap", "found", "absent"), rows)

    panels = [panel("first", [0, 2], 0), panel("second", [4], 1), panel("third", [], 2)]
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
    expected = {"count": 2, "name": ["n0", "n2"], "gap": [None, 2.0], "found": [[0.0, 0.0], [2.0, 4.0]]}
    assert summary["panels"]["first"] == expected
    assert summary["rows"] == {"first: largest": "4", "second: largest": "8", "third: left out": "no such data"}
    assert "no such data" in capsys.readouterr().out
    assert len(overview({"test": summary, "again": summary}).splitlines()) == 7
    stored = xarray.open_zarr(folder / "curves.zarr", group="first", consolidated=False, chunks=None)
    np.testing.assert_array_equal(stored.found, [[0, 0], [2, 4]])


def test_an_interrupted_job_keeps_finished_panels_and_a_finished_job_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr("aetheory.reproduce.panel._NUM_THREADS", 1)  # for the order of the calls
    calls = []
    with pytest.raises(KeyboardInterrupt):
        run(job_of(calls, fail_at="second"), "default", tmp_path, seed=0)
    assert calls == ["first"]
    assert not (tmp_path / "summary.json").exists()
    summary = run(job_of(calls), "default", tmp_path, seed=0)
    assert calls == ["first", "second"]
    assert summary["panels"]["first"]["name"] == ["n0", "n2"]
    run(job_of(calls), "default", tmp_path, seed=0)
    assert calls == 2 * ["first", "second"]
    with pytest.raises(KeyboardInterrupt):
        run(job_of(calls, fail_at="second"), "default", tmp_path, seed=0)
    run(job_of(calls), "default", tmp_path, seed=1)  # another seed is another job
    assert calls[4:] == ["first", "first", "second"]


def test_a_figure_shows_the_panels_that_are_there(tmp_path):
    job = job_of([])("default", 0)
    written = {}

    class Folder(OutputFolder):
        def write_figure(self, figure, name="figure"):
            written[name] = figure

    data = xarray.Dataset({"found": (("case", "time"), np.ones((1, 2)))})
    job.write_figures(Folder(tmp_path), {"second": data})
    first, second, _ = written["figure"].axes
    assert second.get_title(loc="left") == "(b) second"
    assert not first.axison
    assert "empty" not in written


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"Argument `out` must be a folder that can be written to, but got '.*file/out'"):
        run(lambda size, seed: pytest.fail("computed before looking"), "default", tmp_path / "file" / "out", seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
