import contextlib
import dataclasses
import io
import json

import jax
import numpy as np
import pytest
import xarray

import aetheory as ae
from aetheory.reproduce import recovery, recovery_clustering, run_recovery
from aetheory.reproduce.recovery_clustering import Clustering, Network
from aetheory.reproduce.recovery_phases import Phases, interval_violations, phase_diagrams
from aetheory.reproduce.recovery_training import Experiment

EXPERIMENT = Experiment(ae.RecoveryProblem(60, 12, num_active=1, batch_size=60), num_epochs=10, examples_per_pass=60)
PHASES = Phases(
    input_dim=500,
    num_groups=8,
    num_active=(1, 6),
    signal_to_noise=(-30.0, 30.0),
    thresholds=tuple(np.linspace(0, 5, 21).tolist()),
    num_samples=100,
)
DIGITS = Clustering(
    group_networks=(Network(1, 2.2),), initialisations=("clusters",), sparse_network=Network(3, 0.03), num_epochs=4,
    num_trial_epochs=4, num_seeds=2, num_neighbours=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run at the sizes of a test, with a set of images that is nowhere to be found."""
    absent = dataclasses.replace(DIGITS, data="fashion-mnist")
    tiny = recovery.Job((EXPERIMENT,), PHASES, (DIGITS, absent))
    original = recovery_clustering.load_images

    def load_images(name, **options):
        if name != "digits":
            raise FileNotFoundError("not here")
        return original(name, **options)

    folder = tmp_path_factory.mktemp("run") / "recovery"
    printed = io.StringIO()
    standard = jax.numpy_dtype_promotion("standard")
    with pytest.MonkeyPatch.context() as patch, standard, contextlib.redirect_stdout(printed):
        patch.setattr(recovery, "job", lambda size, seed: tiny)
        patch.setattr(recovery_clustering, "load_images", load_images)
        return run_recovery.run_recovery("full", folder, seed=3), folder, printed


@pytest.mark.slow
def test_the_job_writes_figures_summary_and_data(finished):
    summary, folder, printed = finished
    names = {path.name for path in folder.iterdir()}
    figures = ("figure", "phases", "clusters-digits", "atoms-digits")
    assert names == {
        *(f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")),
        "curves.zarr",
        "summary.json",
        "checkpoints",
    }
    for name in figures:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert (summary["system"], summary["seed"]) == ("recovery", 3)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["group_1.eqx"]
    assert f"{folder / 'figure.png'}" in printed.getvalue().splitlines()[0]  # the first view, before all else is done
    assert "not here" in summary["clusters"]["fashion-mnist"]["skipped"]


@pytest.mark.slow
def test_the_summary_agrees_with_the_data(finished):
    summary, folder, _ = finished
    runs = xarray.open_zarr(folder / "curves.zarr", group="runs", consolidated=False, chunks=None)
    (run,) = summary["runs"]
    assert run["squared_distance_at"]["0"] == pytest.approx(float(runs.distance[0, 0]))
    assert run["largest_published_contraction"] < 0 < run["largest_measured_contraction"]
    assert run["published_neighbourhood"] is None  # infinite
    table = xarray.open_zarr(folder / "curves.zarr", group="clusters-digits", consolidated=False, chunks=None)
    assert table.sizes == {"feature": 7, "algorithm": 3, "seed": 2}
    entry = summary["clusters"]["digits"]["raw"]
    scores = table.accuracy.sel(feature="raw", algorithm="k-means").values
    assert entry["scores"]["k-means"]["accuracy"] == pytest.approx({"mean": scores.mean(), "std": scores.std()})
    assert "largest group" not in entry["scores"]
    assert summary["clusters"]["digits"]["group"]["mean_active"] > 0
    assert 0.6 < scores.mean() < 0.9  # digits by k-means on their pixels


@pytest.mark.slow
def test_the_phases_keep_their_guarantees(finished):
    summary, folder, _ = finished
    diagrams = xarray.open_zarr(folder / "curves.zarr", group="phases", consolidated=False, chunks=None)
    assert (diagrams.recovery_noise[:, 0] < 0.2).all()
    assert diagrams.recovery_noise[0, 1] == 1
    for form in ("sound", "dictionary"):
        assert summary["phases"][form]["thresholds_inside_that_failed"] == 0
        assert interval_violations(diagrams, form) == 0
    assert summary["phases"]["sound"]["intervals"]["6"] == "empty"
    lower, upper = summary["phases"]["sound"]["intervals"]["1"]
    inside = (diagrams.threshold >= lower) & (diagrams.threshold < upper)
    assert inside.sum() > 3
    assert (diagrams.recovery_threshold[0].values[inside] == 1).all()


def test_a_violation_would_be_counted():
    diagrams = phase_diagrams(dataclasses.replace(PHASES, num_active=(1,), num_samples=20), jax.random.key(0))
    broken = diagrams.assign(recovery_threshold=0 * diagrams.recovery_threshold)
    lower, upper = diagrams.interval.sel(form="sound").values[0]
    expected = int(((diagrams.threshold >= lower) & (diagrams.threshold < upper)).sum())
    assert interval_violations(broken, "sound") == expected > 0


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "job", lambda *arguments: pytest.fail("computed before looking"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="Argument `out` must be a folder that can be written to"):
        run_recovery.run_recovery("quick", tmp_path / "file" / "recovery", seed=0)


@pytest.mark.parametrize("size", ["quick", "default", "full"])
def test_the_sizes_keep_the_ratios_of_the_published_simulation(size):
    job = recovery.job(size, seed=5)
    for one in job.experiments:
        assert one.seed == 5
        problem = one.problem
        assert problem.input_dim / problem.num_groups == pytest.approx(1.9)
        assert problem.batch_size / problem.num_groups == 20
        assert (problem.group_size, problem.num_active, problem.threshold) == (2, 3, 2)
    assert {one.problem.network for one in job.experiments} >= {"group", "sparse"}
    if size == "full":
        assert job.experiments[0].problem.input_dim == 950
        assert [setting.data for setting in job.clusterings] == ["digits", "mnist", "fashion-mnist"]


def test_networks_are_chosen_without_labels():
    """The same choice when the labels are shuffled; and the sparsest where none uses two groups or fewer."""
    images = recovery_clustering.load(DIGITS)
    blind = recovery_clustering.Images(
        *(type(part)(part.samples, np.zeros(part.num_samples, int), part.image_shape, part.name) for part in images)
    )
    setting = dataclasses.replace(DIGITS, group_networks=(Network(1, 3.0), Network(1, 0.5)), num_trial_epochs=4)
    clusters = recovery_clustering.find_clusters(setting, images, seed=0)
    with jax.numpy_dtype_promotion("standard"):
        choice, trials = recovery_clustering.choose(setting, images, clusters, nonnegative=False)
        again, _ = recovery_clustering.choose(setting, blind, clusters, nonnegative=False)
    assert choice == again
    assert len(trials) == 2
    assert choice.network == Network(1, 3.0)
    assert trials[1].num_active > 2 > trials[0].num_active > 0
