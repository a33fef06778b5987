from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from aetheory.reproduce import clustering
from aetheory.reproduce.clustering import Clustering, Network

DIGITS = Clustering(
    group_networks=(Network(1, 2.2),), initialisations=("clusters",), sparse_network=Network(3, 0.03), num_epochs=4,
    num_trial_epochs=4, num_neighbours=30,
)  # fmt: skip


@pytest.mark.slow
def test_the_summary_agrees_with_the_table():
    panel = clustering.clustering_panel(DIGITS)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        table = panel.compute(0, Path())
    assert table.sizes["feature"] == 7
    told = panel.summarise(table)
    scores = table.accuracy.sel(feature="raw", algorithm="k-means").values
    assert told["raw"]["scores"]["k-means"]["accuracy"] == pytest.approx({"mean": scores.mean(), "std": 0})
    assert "largest group" not in told["raw"]["scores"]
    assert told["group"]["mean_active"] > 0
    assert 0.6 < scores.mean() < 0.9  # digits by k-means on their pixels
    assert len(list(panel.lines(told))) == 3
    axes = Figure().subplots(1, 4).tolist()
    panel.draw["clusters-digits"](axes, table)
    assert axes[0].get_title() == "digits, 1 seed\n"
    panel.draw["atoms-digits"](axes, table)


def test_networks_are_chosen_without_labels(monkeypatch):
    """The same choice when the labels are shuffled; and the sparsest where none uses two groups or fewer."""
    setting = DIGITS._replace(group_networks=(Network(1, 3.0), Network(1, 0.5)))
    seen = clustering.load(setting)
    blind = tuple(
        type(part)(part.samples, np.zeros(part.num_samples, int), part.image_shape, part.name) for part in seen
    )
    with jax.numpy_dtype_promotion("standard"):
        tried = clustering.trials(setting, nonnegative=False)
        monkeypatch.setattr(clustering, "load", lambda _: blind)
        assert clustering.trials(setting, nonnegative=False) == tried
    assert clustering.choose(tried).network == Network(1, 3.0)
    assert tried[1].validation_num_active > 2 > tried[0].validation_num_active > 0
    assert clustering.choose(tried[1:]) == tried[1]
