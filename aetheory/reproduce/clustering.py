"""Clustering of images by their codes: autoencoders trained without labels, codes given to k-means and spectral.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003. Its initialisation, preprocessing
and batch size are not published; here they are chosen on validation images without a look at labels.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from scipy.spatial.distance import cdist

import aetheory as ae
from aetheory.plotting import COLOURS, plot_atoms, plot_distances
from aetheory.reproduce.panel import Panel, Rows, Sheet, Size

PUBLISHED = {
    "raw": (0.545, 0.630),
    "sparse": (0.541, 0.555),
    "sparse+": (0.609, 0.570),
    "group": (0.745, 0.794),
    "group+": (0.801, 0.803),
}
"""Published accuracy of k-means and of spectral clustering on MNIST; + marks nonnegative codes that sum to 1."""

CODE_NORM = 0.9
"""Norm of the projection of an image of norm 1 onto a subspace of 16 dimensions."""

METHODS = ("k-means", "spectral", "largest group")

_MAX_ACTIVE = 2.0  # largest mean number of active groups of an image that is accepted
_NUM_COMPONENTS = 100  # principal components in which the clusters of an initialisation are found
_NUM_CLUSTERED = 10_000  # training images from which these clusters are found
_NUM_TRIAL_IMAGES = 20_000
_SHOWN = ("raw", "sparse", "group")  # features whose distances are drawn
_NUM_SHOWN = 400  # images whose distances are drawn
_SCORES = ae.recovery.ClusteringScores._fields

Clusters = Int[np.ndarray, " num_images"]
Dictionary = Float[Array, "input_dim latent_dim"]
Autoencoder = ae.GroupSparseAutoencoder
Parts = tuple[ae.ImageSource, ae.ImageSource, ae.ImageSource]


class Network(NamedTuple):
    """A candidate encoder: unfolded with columns of norm 1, or of one iteration with columns of free norm.

    With one iteration only a free norm can undo the shrinkage; see `recovery.fixed_point_norm`.
    """

    num_iterations: int
    threshold: float


_CANDIDATES = (
    *(Network(15, threshold) for threshold in (0.2, 0.4, 0.6, 0.8)),
    *(Network(1, threshold) for threshold in (1.5, 2.2, 3.0, 4.5)),
)


class Clustering(NamedTuple):
    """Settings of one table; what the paper does not publish is chosen among candidates without labels by `choose`."""

    data: str = "digits"
    num_groups: int = 10
    group_size: int = 4  # published as 16 for 784 pixels
    group_networks: tuple[Network, ...] = _CANDIDATES  # 15 iterations and λ = .2 are the published ones
    initialisations: tuple[str, ...] = ("random", "data", "clusters")  # see `start`
    sparse_network: Network = Network(15, 0.03)
    learning_rate: float = 1e-3
    batch_size: int = 100
    num_epochs: int = 100
    num_trial_epochs: int = 30
    num_held_out: int = 500
    num_neighbours: int = 50  # of the graph in spectral clustering
    num_seeds: int = 5


def tables(size: Size) -> list[Clustering]:
    """Digits; for `"full"` also MNIST and Fashion-MNIST at the published sizes."""
    if size == "default":
        few: Any = {"num_epochs": 30, "num_trial_epochs": 30, "num_seeds": 1}
        return [Clustering(group_networks=(Network(1, 2.2),), initialisations=("clusters",), **few)]
    large: Any = {"group_size": 16, "batch_size": 200, "num_epochs": 40, "num_trial_epochs": 3, "num_held_out": 10_000}
    sets = ("mnist", "fashion-mnist") if size == "full" else ()
    return [Clustering(), *(Clustering(name, num_neighbours=1000, **large) for name in sets)]


class Trial(NamedTuple):
    """A candidate and its results on the validation images: lost share of their squared norm, active groups."""

    network: Network
    initialisation: str
    validation_lost: float
    validation_num_active: float


def clustering_panel(setting: Clustering) -> Panel:
    """The held-out images clustered by each kind of feature."""
    draw: dict[str, Any] = {
        f"clusters-{setting.data}": _draw_clusters,
        f"atoms-{setting.data}": functools.partial(_draw_atoms, size=setting.group_size),
    }
    summary = ("feature", "algorithm", "seed", *_SCORES, "num_active")
    rows = functools.partial(_summary_rows, setting.data)
    return Panel(f"clusters-{setting.data}", functools.partial(cluster_all, setting), draw, summary, rows)


def sheets(setting: Clustering) -> dict[str, Sheet]:
    """Accuracies beside distances; and the atoms."""
    widths = [1.5, *[1.0] * len(_SHOWN)]
    clusters = Sheet((1, len(widths)), (4.2 + 3.1 * len(_SHOWN), 3.9), widths)
    return {f"clusters-{setting.data}": clusters, f"atoms-{setting.data}": Sheet((1, 1), (6.0, 6.0))}


def load(setting: Clustering) -> Parts:
    """Images of norm 1: for training, for validation, and held out; only the last are clustered and scored by labels.

    Raises:
        FileNotFoundError: the data can neither be found nor be downloaded.
    """
    if setting.data == "digits":
        rest, held_out = ae.load_images("digits").split(setting.num_held_out, jax.random.key(0))
    else:
        rest, held_out = (ae.load_images(setting.data, split=split) for split in ("train", "test"))
        held_out = held_out.select(np.arange(min(setting.num_held_out, held_out.num_samples)))
    train, validation = rest.split(rest.num_samples // 6, jax.random.key(1))
    return _of_norm_one(train), _of_norm_one(validation), _of_norm_one(held_out)


def _of_norm_one(images: ae.ImageSource) -> ae.ImageSource:
    norms = jnp.linalg.norm(images.samples, axis=1, keepdims=True)
    scaled = images.samples / jnp.where(norms > 0, norms, 1)
    return ae.ImageSource(scaled, images.labels, images.image_shape, images.name)


def find_clusters(setting: Clustering, images: ae.ImageSource, seed: int) -> Clusters:
    """K-subspaces of the first training images: the cluster of each, found without labels.

    In the leading principal components, which hold nearly all of an image and cost far less.
    """
    rows = np.asarray(images.samples[:_NUM_CLUSTERED])
    components = rows @ np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :_NUM_COMPONENTS]
    return ae.recovery.k_subspaces(components, setting.num_groups, setting.group_size, seed=100 * seed).assignments


def trials(setting: Clustering, images: ae.ImageSource, validation: ae.ImageSource, nonnegative: bool) -> list[Trial]:
    """Every candidate after a short training."""
    clusters, samples = find_clusters(setting, images, seed=0), images.samples[:_NUM_TRIAL_IMAGES]
    tried = []
    for initialisation in setting.initialisations:
        dictionary = start(setting, images, clusters, initialisation, nonnegative, seed=0)
        for network in setting.group_networks:
            built = build(network, dictionary, setting.group_size, nonnegative)
            trained = train(built, samples, setting, setting.num_trial_epochs, seed=0)
            lost = 2 * float(ae.reconstruction_loss(trained, validation.samples))
            tried.append(Trial(network, initialisation, lost, num_active(trained, validation)))
    return tried


def choose(tried: Sequence[Trial]) -> Trial:
    """The candidate that reconstructs the validation images best from at most two groups an image.

    This describes a mixture of subspaces and needs no labels. Where no candidate is so sparse, the sparsest.
    """
    alive = [trial for trial in tried if trial.validation_num_active > 0 and trial.validation_lost < 1]
    sparse_enough = [trial for trial in alive if trial.validation_num_active <= _MAX_ACTIVE]
    best = min(sparse_enough, key=lambda trial: trial.validation_lost, default=None)
    return best or min(alive or tried, key=lambda trial: trial.validation_num_active)


def start(
    setting: Clustering, images: ae.ImageSource, clusters: Clusters, initialisation: str, nonnegative: bool, seed: int
) -> Dictionary:
    """The first dictionary, with columns of norm 1; for signed codes they are orthogonal within a group.

    `"random"` has Gaussian columns; `"data"` training images; `"clusters"` for each cluster of K-subspaces a basis of
    its subspace (signed codes) or some of its images (nonnegative ones); `"classes"` the same for each *labelled*
    class, which is supervised.
    """
    key, num_groups, size = jax.random.key(seed), setting.num_groups, setting.group_size
    samples, assignments = images.samples, np.asarray(images.labels)
    if initialisation == "clusters":
        samples, assignments = samples[: len(clusters)], clusters
    if initialisation in ("clusters", "classes"):
        if not nonnegative:
            return ae.subspace_dictionary(samples, assignments, size)
        keys = jax.random.split(key, num_groups)
        groups = [ae.data_dictionary(keys[g], samples[assignments == g], size) for g in range(num_groups)]
        return jnp.concatenate(groups, axis=1)
    if initialisation == "data":
        columns = ae.data_dictionary(key, samples, num_groups * size)
    else:
        columns = ae.gaussian_dictionary(key, images.input_dim, num_groups * size)
    if nonnegative:
        return jnp.abs(columns)
    bases = jnp.linalg.qr(jnp.moveaxis(columns.reshape(-1, num_groups, size), 1, 0))[0]
    return jnp.moveaxis(bases, 0, 1).reshape(columns.shape)


def build(network: Network, dictionary: Dictionary, group_size: int, nonnegative: bool = False) -> Autoencoder:
    """The network at its start; one iteration begins with the column norm at which it undoes its own shrinkage."""
    count, threshold = network
    scale = 1.0 if count > 1 else ae.recovery.fixed_point_norm(threshold, CODE_NORM).astype(dictionary.dtype)
    kind: dict[str, Any] = {"num_iterations": count, "nonnegative": nonnegative, "unit_norm": count > 1}
    return Autoencoder(scale * dictionary, threshold, group_size, **kind)


_optimizer = functools.cache(optax.adam)
"""The same object for equal settings, so that programs are compiled once."""


def train(network: Autoencoder, samples: Array, setting: Clustering, num_epochs: int, seed: int) -> Any:
    """Adam on mini batches, without labels.

    Raises:
        FloatingPointError: training diverged.
    """
    count, optimizer = num_epochs * max(1, len(samples) // setting.batch_size), _optimizer(setting.learning_rate)
    options: dict[str, Any] = {"batch_size": setting.batch_size, "key": jax.random.key(seed), "record_at": [count]}
    return ae.gradient_descent(network, ae.reconstruction_loss, optimizer, count, samples, **options).module


def num_active(network: Autoencoder, images: ae.ImageSource) -> float:
    """Mean number of active groups of an image."""
    found = ae.recovery.active_groups(network.encode(images.samples), network.group_size)
    return float(jnp.mean(jnp.sum(found, axis=1)))


def clusters_of(
    features: Float[np.ndarray, "images features"], method: str, setting: Clustering, seed: int
) -> Clusters:
    """The cluster of each image; by `"largest group"` the group of its code with the largest norm."""
    if method == "largest group":
        norms = np.linalg.norm(features.reshape(len(features), -1, setting.group_size), axis=2)
        return np.asarray(norms.argmax(axis=1))
    options: dict[str, Any] = {"method": method, "num_neighbours": setting.num_neighbours, "seed": seed}
    return ae.recovery.cluster(features, setting.num_groups, **options)


def cluster_all(setting: Clustering) -> xarray.Dataset:
    """The scores over (feature, algorithm, seed), NaN where an algorithm does not apply; distances and atoms.

    Distances and atoms are those of the first seed.
    """
    parts = load(setting)
    tried = {name: trials(setting, *parts[:2], nonnegative=name == "group+") for name in ("group", "group+")}
    choices = {name: choose(some) for name, some in tried.items()}
    seeds = [cluster_by_codes(setting, parts, choices, seed) for seed in range(setting.num_seeds)]
    data = xarray.concat(seeds, "seed", data_vars="minimal", coords="minimal", compat="override", join="override")
    settings: dict[str, Any] = {
        name: value for name, value in setting._asdict().items() if isinstance(value, str | int | float)
    }
    settings |= {f"{name}_choice": str(choice) for name, choice in choices.items()}
    settings["trials"] = [str(trial) for some in tried.values() for trial in some]
    return data.assign_attrs(settings, image_shape=parts[0].image_shape)


def trained_networks(
    setting: Clustering, images: ae.ImageSource, choices: dict[str, Trial], seed: int
) -> tuple[dict[str, Autoencoder], dict[str, Dictionary]]:
    """A trained network for each kind of codes, and the dictionaries at the start."""
    begin = functools.partial(start, setting, images, find_clusters(setting, images, seed), seed=seed)
    size, networks, starts = setting.group_size, {}, {}
    for name in ("sparse", "sparse+"):
        starts[name] = begin("random", name == "sparse+")
        networks[name] = build(setting.sparse_network, starts[name], 1, name == "sparse+")
    for name, choice in choices.items():
        starts[name] = begin(choice.initialisation, name == "group+")
        networks[name] = build(choice.network, starts[name], size, name == "group+")
    starts["group, supervised start"] = begin("classes", False)
    networks["group, supervised start"] = build(choices["group"].network, starts["group, supervised start"], size)
    trained = {name: train(one, images.samples, setting, setting.num_epochs, seed) for name, one in networks.items()}
    return trained, starts


def cluster_by_codes(setting: Clustering, parts: Parts, choices: dict[str, Trial], seed: int) -> xarray.Dataset:
    """The scores of one seed over (feature, algorithm, seed), the distances of some features, and the atoms."""
    images, _, held_out = parts
    networks, starts = trained_networks(setting, images, choices, seed)
    features = {"raw": np.asarray(held_out.samples)}
    if choices["group"].initialisation == "clusters":
        features["start of group"] = np.asarray(held_out.samples @ starts["group"])
    for name, network in networks.items():
        codes = np.asarray(network.encode(held_out.samples))
        features[name] = ae.recovery.sum_to_one(codes) if network.nonnegative else codes
    labels = np.asarray(held_out.labels)
    scores = np.full((len(features), len(METHODS), len(_SCORES)), np.nan)
    for row, (name, values) in enumerate(features.items()):
        for column, method in enumerate(METHODS):
            if method != "largest group" or "group" in name:
                found = clusters_of(values, method, setting, seed)
                scores[row, column] = ae.recovery.clustering_scores(labels, found)
    by_class = np.argsort(labels[:_NUM_SHOWN], kind="stable")
    active = [num_active(networks[name], held_out) if name in networks else np.nan for name in features]
    variables: dict[str, Any] = {
        name: (("feature", "algorithm", "seed"), scores[:, :, index, None]) for index, name in enumerate(_SCORES)
    }
    variables["num_active"] = (("feature", "seed"), np.asarray(active)[:, None])
    shown = [features[name][by_class] for name in _SHOWN]
    variables["distances"] = (("shown", "image", "other_image"), [cdist(one, one) for one in shown])
    variables["atoms"] = (("pixel", "atom"), np.asarray(networks["group"].atoms))
    coordinates = {"feature": list(features), "algorithm": list(METHODS), "seed": [seed], "shown": list(_SHOWN)}
    return xarray.Dataset(variables, coordinates)


def _summary_rows(name: str, table: xarray.Dataset) -> Rows:
    means = table.accuracy.sel(algorithm="k-means").mean("seed")
    for feature in _SHOWN:
        yield f"{name}: k-means accuracy, {feature}", f"{float(means.sel(feature=feature)):.1%}"


def _draw_clusters(axes: Sequence[Axes], table: xarray.Dataset) -> None:
    """Clustering accuracy of each kind of feature, and pairwise distances of held-out images sorted by class."""
    bars, *squares = axes
    places, methods = np.arange(len(table.feature)), table.algorithm.values.tolist()
    height = 0.8 / len(methods)
    for index, (method, colour) in enumerate(zip(methods, COLOURS, strict=False)):
        scores, shift = table.accuracy.sel(algorithm=method), (index - (len(methods) - 1) / 2) * height
        look = {"xerr": scores.std("seed"), "color": colour, "error_kw": {"linewidth": 1}}
        bars.barh(places + shift, scores.mean("seed"), height, label=method, **look)
    bars.set_yticks(places, table.feature.values.tolist())
    bars.invert_yaxis()
    count = table.sizes["seed"]
    bars.set(xlim=(0, 1), xlabel="clustering accuracy on held-out images")
    bars.set_title(f"{table.attrs['data']}, {count} seed{'s' * (count > 1)}\n")
    bars.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=3)
    for ax, name, matrix in zip(squares, table.shown.values.tolist(), table.distances.values, strict=True):
        plot_distances(matrix, ax)
        ax.set_title(f"distances, {name}")


def _draw_atoms(axes: Sequence[Axes], table: xarray.Dataset, size: int) -> None:
    """Each group's atoms in a row, each scaled to its own largest entry, with the sign of which the sum is positive."""
    height, width = table.attrs["image_shape"][:2]
    rows, columns = table.sizes["atom"] // size * (height + 1) - 1, size * (width + 1) - 1
    inch = 9 / max(rows, columns)
    figure: Any = axes[0].figure
    figure.set_size_inches(max(inch * columns, 2.5) + 0.6, inch * rows + 0.5)
    plot_atoms(table.atoms.values, (height, width), axes[0], group_size=size)
    axes[0].set_title("atoms, group by group")
