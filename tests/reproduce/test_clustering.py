import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from aetheory.reproduce import clustering
from aetheory.reproduce.clustering import Clustering, Network

DIGITS = Clustering(
    group_networks=(Network(1, 2.2),), initialisations=("clusters",), sparse_network=Network(3, 0.03), num_epochs=4,
    num_trial_epochs=4, num_neighbours=30, num_seeds=1,
)  # fmt: skip


@pytest.mark.slow
def test_the_summary_agrees_with_the_table():
    panel = clustering.clustering_panel(DIGITS)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        table = panel.compute()
    assert table.sizes["feature"] == 7
    summary = panel.summarise(table)
    scores = table.accuracy.sel(feature="raw", algorithm="k-means").values
    assert summary["accuracy"][0][0] == pytest.approx(scores)
    assert summary["accuracy"][0][2] == [None]  # raw pixels have no groups
    assert float(table.num_active.sel(feature="group").mean()) > 0
    assert 0.6 < scores.mean() < 0.9  # digits by k-means on their pixels
    assert len(list(panel.summary_rows(table))) == 3
    axes = Figure().subplots(1, 4).tolist()
    panel.draw["clusters-digits"](axes, table)
    assert axes[0].get_title() == "digits, 1 seed\n"
    panel.draw["atoms-digits"](axes, table)


def test_networks_are_chosen_without_labels():
    """The same choice when the labels are shuffled; and the sparsest where none uses two groups or fewer."""
    setting = DIGITS._replace(group_networks=(Network(1, 3.0), Network(1, 0.5)))
    seen = clustering.load(setting)
    blind = tuple(
        type(part)(part.samples, np.zeros(part.num_samples, int), part.image_shape, part.name) for part in seen
    )
    with jax.numpy_dtype_promotion("standard"):
        tried = clustering.trials(setting, *seen[:2], nonnegative=False)
        assert clustering.trials(setting, *blind[:2], nonnegative=False) == tried
    assert clustering.choose(tried).network == Network(1, 3.0)
    assert tried[1].validation_num_active > 2 > tried[0].validation_num_active > 0
    assert clustering.choose(tried[1:]) == tried[1]
