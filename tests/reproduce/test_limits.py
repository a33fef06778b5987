import json

import jax
import numpy as np
import pytest
import xarray

import aetheory as ae
from aetheory.reproduce import limits, run_limits
from aetheory.reproduce.limits import Scale

TINY = Scale(10, (0.5,), 2, 20, 20, 200, None, (1.0,))


@pytest.fixture
def tiny(monkeypatch, x64):
    """The quick job at dimensions of a test."""
    monkeypatch.setitem(limits._SCALES, "quick", TINY)
    monkeypatch.setattr(limits, "_SAMPLED_RATES", ())


def test_the_sizes_cover_every_panel(monkeypatch, tmp_path):
    monkeypatch.delenv("AETHEORY_DATA", raising=False)
    always = ["isotropic", "blocks", "power-law", "digits", "sparse"]
    assert list(limits.panels("quick")) == list(limits.panels("default")) == always
    assert list(limits.panels("full")) == [*always[:4], "mnist", "fashion-mnist", "cifar-10", "sparse"]
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    assert "mnist" in limits.panels("default")
    assert "mnist" not in limits.panels("quick")


def test_the_job_writes_figure_summary_and_panels(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "_FURTHER_SETS", ())
    panels = limits.panels("quick")
    chosen = {name: panels[name] for name in ("isotropic", "blocks", "power-law", "digits", "sparse")}
    monkeypatch.setattr(limits, "panels", lambda size: chosen | {"absent": absent})
    # Optax mixes Python numbers of two precisions
    with jax.numpy_dtype_promotion("standard"):
        summary = run_limits.run_limits("quick", tmp_path / "out", seed=2)
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["curves.zarr", "figure.png", "figure.svg", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["missing"] == {"absent": "no such images"}
    assert summary["seed"] == 2
    stored = xarray.open_zarr(folder / "curves.zarr", group="blocks", consolidated=False, chunks=None)
    assert stored.alternating.shape == (1, 2, 21)
    expected = ae.limits.water_filling(np.sqrt([2.5] * 3 + [0.7] * 3 + [0.1] * 4) / np.sqrt(1.0), 5).risk
    assert float(stored.limit[0]) == pytest.approx(float(expected), rel=1e-10)
    entry = summary["panels"]["blocks"]
    last = stored.alternating.isel(step=-1).mean("seed") - stored.limit
    np.testing.assert_allclose(entry["alternating_mean_excess"], last)
    assert min(entry["alternating_smallest_excess_of_any_step"]) > -1e-12
    assert "digits" in capsys.readouterr().out


def absent(key):
    raise FileNotFoundError("no such images")


def test_finished_panels_survive_a_run_that_dies(tiny, tmp_path, monkeypatch):
    def interrupted(key):
        raise KeyboardInterrupt

    sparse = limits.panels("quick")["sparse"]
    monkeypatch.setattr(limits, "panels", lambda size: {"sparse": sparse, "next": interrupted})
    with pytest.raises(KeyboardInterrupt):
        run_limits.run_limits("quick", tmp_path, seed=0)
    stored = xarray.open_zarr(tmp_path / "curves.zarr", group="sparse", consolidated=False, chunks=None)
    assert stored.sizes["sparsity"] == 5
    assert not (tmp_path / "summary.json").exists()
    # the identity's samples agree with its closed form
    theory = [
        [float(ae.limits.identity_risk(ae.SparseSource(40, q, law))) for q in limits.SPARSITIES]
        for law in limits.AMPLITUDES
    ]
    np.testing.assert_allclose(stored.simulated_identity, theory, atol=0.15)


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "panels", lambda size: pytest.fail("computed before looking"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="Argument `out` must be a folder that can be written to"):
        run_limits.run_limits("quick", tmp_path / "file" / "limits", seed=0)
