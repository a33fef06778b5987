"""Clustering of images by their codes: autoencoders trained without labels, codes given to k-means and spectral.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003. Its initialisation, preprocessing
and batch size are not published; here they are chosen on validation images without a look at labels.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
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
from aetheory.reproduce.panel import Lines, Panel, Sheet, Size

PUBLISHED = {
    "raw": (0.545, 0.630),
    "sparse": (0.541, 0.555),
    "sparse+": (0.609, 0.570),
    "group": (0.745, 0.794),
    "group+": (0.801, 0.803),
}
"""MNIST, accuracy of k-means and of spectral clustering, arXiv:2102.07003; + is nonnegative, summing to 1."""

CODE_NORM = 0.9
"""What a subspace of 16 dimensions keeps of an image of norm 1."""

METHODS = ("k-means", "spectral", "largest group")

_MAX_ACTIVE = 2.0  # groups an image on average that may still be called one
_NUM_COMPONENTS = 100  # principal ones, in which the subspaces of an initialisation are found
_NUM_CLUSTERED = 10_000  # training images behind them
_NUM_TRIAL_IMAGES = 20_000
_SHOWN = ("raw", "sparse", "group")  # features whose distances are drawn, of so many images
_NUM_SHOWN = 400

Clusters = Int[np.ndarray, " num_images"]
Dictionary = Float[Array, "input_dim latent_dim"]
Autoencoder = ae.GroupSparseAutoencoder
Parts = tuple[ae.ImageSource, ae.ImageSource, ae.ImageSource]


class Network(NamedTuple):
    """An encoder to try: unfolded with columns of norm 1, or of one iteration with columns of free norm.

    With one iteration the norm has to be free, for only it can undo the shrinkage; see `recovery.fixed_point_norm`.
    """

    num_iterations: int
    threshold: float


_CANDIDATES = (
    *(Network(15, threshold) for threshold in (0.2, 0.4, 0.6, 0.8)),
    *(Network(1, threshold) for threshold in (1.5, 2.2, 3.0, 4.5)),
)


class Clustering(NamedTuple):
    """One table. What the paper leaves open is chosen among candidates, without labels; see `choose`."""

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
    """A candidate and how it did on the validation images: share of their squared norm lost, active groups."""

    num_iterations: int
    threshold: float
    initialisation: str
    validation_lost: float
    validation_num_active: float

    @property
    def network(self) -> Network:
        """What was tried."""
        return Network(self.num_iterations, self.threshold)


def clustering_panel(setting: Clustering) -> Panel:
    """The held-out images clustered by each kind of feature, seed by seed."""
    name, seeds = f"clusters-{setting.data}", range(setting.num_seeds)
    draw: dict[str, Any] = {
        name: _draw_clusters,
        f"atoms-{setting.data}": functools.partial(_draw_atoms, size=setting.group_size),
    }
    compute, lines = functools.partial(_clustered, setting=setting), functools.partial(_lines, setting.data)
    return Panel(name, seeds, compute, draw, _summarise, lines, dim="seed")


def sheets(setting: Clustering) -> dict[str, Sheet]:
    """Accuracies beside distances; and the atoms."""
    widths = [1.5, *[1.0] * len(_SHOWN)]
    clusters = Sheet((1, len(widths)), (4.2 + 3.1 * len(_SHOWN), 3.9), widths)
    return {f"clusters-{setting.data}": clusters, f"atoms-{setting.data}": Sheet((1, 1), (6.0, 6.0))}


@functools.lru_cache(maxsize=1)
def load(setting: Clustering) -> Parts:
    """Images of norm 1: to train, to validate, and held out. These alone are clustered, and scored by their labels.

    Raises:
        FileNotFoundError: the data are neither here nor can they be downloaded.
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


@functools.lru_cache(maxsize=1)
def _choices(setting: Clustering) -> tuple[dict[str, Trial], list[Trial]]:
    """The chosen network with signed codes and that with nonnegative ones, and all that were tried."""
    tried = {name: trials(setting, name == "group+") for name in ("group", "group+")}
    return {name: choose(some) for name, some in tried.items()}, [one for some in tried.values() for one in some]


def trials(setting: Clustering, nonnegative: bool) -> list[Trial]:
    """Every candidate after a short training."""
    (images, validation, _), tried = load(setting), []
    clusters, samples = find_clusters(setting, images, seed=0), images.samples[:_NUM_TRIAL_IMAGES]
    for initialisation in setting.initialisations:
        dictionary = start(setting, images, clusters, initialisation, nonnegative, seed=0)
        for network in setting.group_networks:
            built = build(network, dictionary, setting.group_size, nonnegative)
            trained = train(built, samples, setting, setting.num_trial_epochs, seed=0)
            lost = 2 * float(ae.reconstruction_loss(trained, validation.samples))
            tried.append(Trial(*network, initialisation, lost, num_active(trained, validation)))
    return tried


def choose(tried: Sequence[Trial]) -> Trial:
    """The candidate that reconstructs the validation images best from two groups or fewer an image.

    That is what a mixture of subspaces asks for, and needs no labels. Where none is so sparse, the sparsest.
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
"""The same object for equal settings, which saves compilations."""


def train(network: Autoencoder, samples: Array, setting: Clustering, num_epochs: int, seed: int) -> Any:
    """Adam on mini batches, without labels.

    Raises:
        FloatingPointError: training diverged.
    """
    count, optimizer = num_epochs * max(1, len(samples) // setting.batch_size), _optimizer(setting.learning_rate)
    options: dict[str, Any] = {"batch_size": setting.batch_size, "key": jax.random.key(seed), "record_at": [count]}
    return ae.gradient_descent(network, ae.reconstruction_loss, optimizer, count, samples, **options).module


def num_active(network: Autoencoder, images: ae.ImageSource) -> float:
    """Active groups of an image, on average."""
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


def _clustered(seed: int, store: Path, setting: Clustering) -> xarray.Dataset:
    """The scores of one seed over (feature, algorithm, seed), NaN where one does not apply, and what is drawn of it."""
    (images, _, held_out), (choices, tried), size = load(setting), _choices(setting), setting.group_size
    begin = functools.partial(start, setting, images, find_clusters(setting, images, seed), seed=seed)
    features, active, networks = {"raw": np.asarray(held_out.samples)}, {}, {}
    for name in ("sparse", "sparse+"):
        networks[name] = build(setting.sparse_network, begin("random", name == "sparse+"), 1, name == "sparse+")
    for name, choice in choices.items():
        dictionary = begin(choice.initialisation, name == "group+")
        if choice.initialisation == "clusters" and name == "group":
            features["start of group"] = np.asarray(held_out.samples @ dictionary)
        networks[name] = build(choice.network, dictionary, size, name == "group+")
    networks["group, supervised start"] = build(choices["group"].network, begin("classes", False), size)
    for name, network in networks.items():
        networks[name] = train(network, images.samples, setting, setting.num_epochs, seed)
        codes = np.asarray(networks[name].encode(held_out.samples))
        features[name] = ae.recovery.sum_to_one(codes) if network.nonnegative else codes
        active[name] = num_active(networks[name], held_out)
    labels, fields = np.asarray(held_out.labels), ae.recovery.ClusteringScores._fields
    scores = np.full((len(features), len(METHODS), len(fields)), np.nan)
    for row, (name, values) in enumerate(features.items()):
        for column, method in enumerate(METHODS):
            if method != "largest group" or "group" in name:
                found = clusters_of(values, method, setting, seed)
                scores[row, column] = ae.recovery.clustering_scores(labels, found)
    by_class = np.argsort(labels[:_NUM_SHOWN], kind="stable")
    distances = [cdist(features[name][by_class], features[name][by_class]) for name in _SHOWN]
    dims = ("feature", "algorithm", "seed")
    variables: dict[str, Any] = {
        name: (dims, values[..., None]) for name, values in zip(fields, np.moveaxis(scores, -1, 0), strict=True)
    }
    variables["num_active"] = (("feature", "seed"), [[active.get(name, np.nan)] for name in features])
    variables["distances"] = (("shown", "image", "other_image"), distances)
    variables["atoms"] = (("pixel", "atom"), np.asarray(networks["group"].atoms))
    coordinates = {"feature": list(features), "algorithm": list(METHODS), "seed": [seed], "shown": list(_SHOWN)}
    settings = {name: value for name, value in setting._asdict().items() if isinstance(value, str | int | float)}
    settings |= {f"{kind}_{name}": value for kind, one in choices.items() for name, value in one._asdict().items()}
    more = {"trials": [str(one._asdict()) for one in tried], "image_shape": images.image_shape}
    return xarray.Dataset(variables, coordinates, settings | more)


def _summarise(table: xarray.Dataset) -> dict[str, Any]:
    """Mean and deviation over seeds of each accuracy, beside the published one on MNIST."""
    told: dict[str, Any] = {}
    for feature in table.feature.values.tolist():
        row, scores = table.sel(feature=feature), {}
        for method in table.algorithm.values.tolist():
            found = {name: row[name].sel(algorithm=method) for name in ae.recovery.ClusteringScores._fields}
            if np.isfinite(found["accuracy"]).all():
                scores[method] = {k: {"mean": float(one.mean()), "std": float(one.std())} for k, one in found.items()}
        mean = float(row.num_active.mean())
        active = mean if np.isfinite(mean) else None
        told[feature] = {"scores": scores, "mean_active": active, "published_mnist": PUBLISHED.get(feature)}
    return told | {"settings": table.attrs}


def _lines(name: str, told: dict[str, Any]) -> Lines:
    for feature in _SHOWN:
        yield f"{name}: k-means accuracy, {feature}", f"{told[feature]['scores']['k-means']['accuracy']['mean']:.1%}"


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
