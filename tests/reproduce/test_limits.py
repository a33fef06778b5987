from dataclasses import replace

import jax
import numpy as np
import pytest
import xarray

import aetheory as ae
from aetheory.reproduce import limits
from aetheory.reproduce.panel import run


def some_panels(size, seed):
    job = limits.job(size, seed)
    return replace(job, panels=[panel for panel in job.panels if panel.name in ("isotropic", "blocks", "sparse")])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three panels of the quick job at dimensions of a test."""
    folder = tmp_path_factory.mktemp("limits")
    tiny = limits.Scale(10, (0.5,), 2, 20, 20, 200, None, (1.0,), (0.5,))
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        patch.setitem(limits._SCALES, "default", tiny)
        patch.setattr(limits, "_SAMPLED_RATES", ())
        # Optax mixes Python numbers of two precisions; for all threads
        jax.config.update("jax_numpy_dtype_promotion", "standard")
        try:
            return run(some_panels, "default", folder, seed=2), folder
        finally:
            jax.config.update("jax_numpy_dtype_promotion", "strict")


def stored(folder, name):
    return xarray.open_zarr(folder / "curves.zarr", group=name, consolidated=False, chunks=None)


def test_the_sizes_cover_every_panel(monkeypatch, tmp_path):
    monkeypatch.delenv("AETHEORY_DATA", raising=False)

    def names(size):
        return [panel.name for panel in limits.job(size, 0).panels]

    always = ["isotropic", "blocks", "power-law", "digits", "sparse"]
    assert names("default") == names("standard") == always
    assert names("full") == [*always[:4], "mnist", "fashion-mnist", "cifar-10", "sparse"]
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    assert "mnist" in names("standard")
    assert "mnist" not in names("default")


def test_the_summary_agrees_with_the_data(finished):
    summary, folder = finished
    assert {path.name for path in folder.iterdir()} == {"curves.zarr", "figure.png", "figure.svg", "summary.json"}
    blocks = stored(folder, "blocks")
    assert blocks.alternating.shape == (1, 2, 21)
    expected = ae.limits.water_filling(np.sqrt([2.5] * 3 + [0.7] * 3 + [0.1] * 4), 5).risk
    assert float(blocks.limit[0]) == pytest.approx(float(expected), rel=1e-5)
    entry = summary["panels"]["blocks"]
    last = blocks.alternating.isel(step=-1).mean("seed") - blocks.limit
    np.testing.assert_allclose(entry["alternating_mean_excess"], last)
    assert min(entry["alternating_smallest_excess_of_any_step"]) > -1e-12
    assert entry["sample_descent_excess"] == [None]
    # the mean of two draws of ten dimensions is not far off what is predicted of large ones
    for method in ("tied", "joint", "alternating"):
        assert 0 < summary["panels"]["isotropic"][f"{method}_excess_over_prediction"][0] < 0.05


def test_samples_of_sparse_inputs_agree_with_the_closed_form(finished):
    _, folder = finished
    theory = [
        [float(ae.limits.identity_risk(ae.SparseSource(40, q, law))) for q in limits.SPARSITIES]
        for law in limits.AMPLITUDES
    ]
    np.testing.assert_allclose(stored(folder, "sparse").simulated_identity, theory, atol=0.15)
