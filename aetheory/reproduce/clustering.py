"""Clustering of images by their codes: autoencoders trained without labels, codes given to k-means and spectral.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003. Its initialisation, preprocessing
and batch size are not published; here they are chosen on validation images without a look at labels.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes

from aetheory import group_sparse
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.dictionaries import data_dictionary, gaussian_dictionary, subspace_dictionary
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.plotting import COLOURS, plot_atoms, plot_distances
from aetheory.reproduce.panel import Headline, Panel, Sheet
from aetheory.sources.images import ImageSource, load_images

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


class Network(NamedTuple):
    """An encoder to try: unfolded with columns of norm 1, or of one iteration with columns of free norm.

    With one iteration the norm has to be free, for only it can undo the shrinkage; see `recovery.fixed_point_norm`.
    """

    num_iterations: int
    threshold: float


@dataclass(frozen=True)
class Clustering:
    """One table. What the paper leaves open is chosen among candidates, without labels; see `choose`.

    Arguments:
        data: a name that `ae.load_images` knows.
        group_size: columns of a group, published as 16 for 784 pixels.
        group_networks: the candidates with groups; 15 iterations and λ = .2 are the published ones.
        initialisations: the candidates for their first dictionaries; see `start`.
        sparse_network: the published one with single units.
        num_trial_epochs: epochs of each candidate.
        num_held_out: images that are clustered.
        num_neighbours: of the graph in spectral clustering.
    """

    data: str = "digits"
    num_groups: int = 10
    group_size: int = 4
    group_networks: tuple[Network, ...] = (
        *(Network(15, threshold) for threshold in (0.2, 0.4, 0.6, 0.8)),
        *(Network(1, threshold) for threshold in (1.5, 2.2, 3.0, 4.5)),
    )
    initialisations: tuple[str, ...] = ("random", "data", "clusters")
    sparse_network: Network = Network(15, 0.03)
    learning_rate: float = 1e-3
    batch_size: int = 100
    num_epochs: int = 100
    num_trial_epochs: int = 30
    num_held_out: int = 500
    num_neighbours: int = 50
    num_seeds: int = 5


class Images(NamedTuple):
    """Images of norm 1 in three parts. Only `held_out` is clustered, and only its labels are read (but see `start`)."""

    train: ImageSource
    validation: ImageSource
    held_out: ImageSource


class Trial(NamedTuple):
    """A candidate and how it did on the validation images: share of their squared norm lost, active groups."""

    num_iterations: int
    threshold: float
    initialisation: str
    validation_lost: float
    validation_num_active: float


def panel(setting: Clustering) -> Panel:
    """The held-out images clustered by each kind of feature, seed by seed."""
    name = f"clusters-{setting.data}"
    draw = {name: _draw_clusters, f"atoms-{setting.data}": functools.partial(_draw_atoms, size=setting.group_size)}
    seeds, compute = range(setting.num_seeds), functools.partial(_clustered, setting=setting)
    return Panel(name, seeds, compute, draw, _summarise, functools.partial(_headlines, setting.data), dim="seed")


def sheets(setting: Clustering) -> dict[str, Sheet]:
    """Accuracies beside distances, and the atoms."""
    clusters = Sheet((1, 1 + len(_SHOWN)), (4.2 + 3.1 * len(_SHOWN), 3.9), widths=[1.5, *[1] * len(_SHOWN)])
    return {f"clusters-{setting.data}": clusters, f"atoms-{setting.data}": Sheet((1, 1), (6.0, 6.0))}


@functools.lru_cache(maxsize=1)
def load(setting: Clustering) -> Images:
    """The three parts, each image scaled to norm 1.

    Raises:
        FileNotFoundError: the data are neither here nor can they be downloaded.
    """
    if setting.data == "digits":
        rest, held_out = load_images("digits").split(setting.num_held_out, jax.random.key(0))
    else:
        rest, held_out = (load_images(setting.data, split=split) for split in ("train", "test"))
        held_out = held_out.select(np.arange(min(setting.num_held_out, held_out.num_samples)))
    train, validation = rest.split(rest.num_samples // 6, jax.random.key(1))
    return Images(*(_of_norm_one(part) for part in (train, validation, held_out)))


def _of_norm_one(images: ImageSource) -> ImageSource:
    norms = jnp.linalg.norm(images.samples, axis=1, keepdims=True)
    scaled = images.samples / jnp.where(norms > 0, norms, 1)
    return ImageSource(scaled, images.labels, images.image_shape, images.name)


def find_clusters(setting: Clustering, images: Images, seed: int) -> Int[np.ndarray, " num_clustered"]:
    """K-subspaces of the first training images: the cluster of each, found without labels.

    In the leading principal components, which hold nearly all of an image and cost far less.
    """
    rows = np.asarray(images.train.samples[:_NUM_CLUSTERED])
    components = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :_NUM_COMPONENTS]
    clusters = group_sparse.k_subspaces(rows @ components, setting.num_groups, setting.group_size, seed=100 * seed)
    return clusters.assignments


@functools.lru_cache(maxsize=1)
def _choices(setting: Clustering) -> tuple[dict[str, Trial], list[Trial]]:
    """The chosen network with signed codes and that with nonnegative ones, and all that were tried."""
    images = load(setting)
    clusters = find_clusters(setting, images, seed=0)
    tried = {name: trials(setting, images, clusters, name == "group+") for name in ("group", "group+")}
    return {name: choose(some) for name, some in tried.items()}, [one for some in tried.values() for one in some]


def trials(
    setting: Clustering, images: Images, clusters: Int[np.ndarray, " num_clustered"], nonnegative: bool
) -> list[Trial]:
    """Every candidate after a short training."""
    samples, tried = images.train.samples[:_NUM_TRIAL_IMAGES], []
    for initialisation in setting.initialisations:
        dictionary = start(setting, images, clusters, initialisation, nonnegative, seed=0)
        for network in setting.group_networks:
            built = build(network, dictionary, setting.group_size, nonnegative)
            trained = train(built, samples, setting, setting.num_trial_epochs, seed=0)
            lost = 2 * float(reconstruction_loss(trained, images.validation.samples))
            tried.append(Trial(*network, initialisation, lost, num_active(trained, images.validation)))
    return tried


def choose(tried: Sequence[Trial]) -> Trial:
    """The candidate that reconstructs the validation images best from two groups or fewer an image.

    That is what a mixture of subspaces asks for, and needs no labels. Where none is so sparse, the sparsest.
    """
    alive = [trial for trial in tried if trial.validation_num_active > 0 and trial.validation_lost < 1]
    sparse_enough = [trial for trial in alive if trial.validation_num_active <= _MAX_ACTIVE]
    if sparse_enough:
        return min(sparse_enough, key=lambda trial: trial.validation_lost)
    return min(alive or tried, key=lambda trial: trial.validation_num_active)


def start(
    setting: Clustering,
    images: Images,
    clusters: Int[np.ndarray, " num_clustered"],
    initialisation: str,
    nonnegative: bool,
    seed: int,
) -> Float[Array, "input_dim latent_dim"]:
    """The first dictionary, with columns of norm 1; for signed codes they are orthogonal within a group.

    Arguments:
        setting: the table.
        images: where the columns come from.
        clusters: see `find_clusters`.
        initialisation: `"random"`, Gaussian columns; `"data"`, training images; `"clusters"`, for each cluster of
            K-subspaces a basis of its subspace (signed codes) or some of its images (nonnegative ones); or
            `"classes"`, the same for each *labelled* class, which is supervised.
        nonnegative: whether the codes will be.
        seed: of the draw.
    """
    key, num_groups, size = jax.random.key(seed), setting.num_groups, setting.group_size
    samples, assignments = images.train.samples, np.asarray(images.train.labels)
    if initialisation == "clusters":
        samples, assignments = samples[: len(clusters)], clusters
    if initialisation in ("clusters", "classes"):
        if not nonnegative:
            return subspace_dictionary(samples, assignments, size)
        keys = jax.random.split(key, num_groups)
        groups = [data_dictionary(keys[g], samples[assignments == g], size) for g in range(num_groups)]
        return jnp.concatenate(groups, axis=1)
    if initialisation == "data":
        columns = data_dictionary(key, samples, num_groups * size)
    else:
        columns = gaussian_dictionary(key, images.train.input_dim, num_groups * size)
    if nonnegative:
        return jnp.abs(columns)
    bases = jnp.linalg.qr(jnp.moveaxis(columns.reshape(-1, num_groups, size), 1, 0))[0]
    return jnp.moveaxis(bases, 0, 1).reshape(columns.shape)


def build(
    network: Network, dictionary: Float[Array, "input_dim latent_dim"], group_size: int, nonnegative: bool = False
) -> GroupSparseAutoencoder:
    """The network at its start; one iteration begins with the column norm at which it undoes its own shrinkage."""
    count, threshold = network
    scale = 1.0 if count > 1 else group_sparse.fixed_point_norm(threshold, CODE_NORM).astype(dictionary.dtype)
    options = {"num_iterations": count, "nonnegative": nonnegative, "unit_norm": count > 1}
    return GroupSparseAutoencoder(scale * dictionary, threshold, group_size, **options)


_optimizer = functools.cache(optax.adam)
"""The same object for equal settings, which saves compilations."""


def train(
    network: GroupSparseAutoencoder,
    samples: Float[Array, "num_samples input_dim"],
    setting: Clustering,
    num_epochs: int,
    seed: int,
) -> GroupSparseAutoencoder:
    """Adam on mini batches, without labels.

    Raises:
        FloatingPointError: training diverged.
    """
    num_steps = num_epochs * max(1, len(samples) // setting.batch_size)
    trained: GroupSparseAutoencoder = gradient_descent(
        network,
        reconstruction_loss,
        _optimizer(setting.learning_rate),
        num_steps,
        samples,
        batch_size=setting.batch_size,
        key=jax.random.key(seed),
        metrics=_nothing,
        record_at=[num_steps],
    ).module
    return trained


def _nothing(network: GroupSparseAutoencoder, samples: Float[Array, "num_samples input_dim"]) -> Array:
    """In place of the loss over all images."""
    return jnp.zeros(())


def num_active(network: GroupSparseAutoencoder, images: ImageSource) -> float:
    """Active groups of an image, on average."""
    found = group_sparse.active_groups(network.encode(images.samples), network.group_size)
    return float(jnp.mean(jnp.sum(found, axis=1)))


def clusters_of(
    features: Float[np.ndarray, "num_images num_features"], method: str, setting: Clustering, seed: int
) -> Int[np.ndarray, " num_images"]:
    """The cluster of each image; by `"largest group"` that of its code's largest norm."""
    if method == "largest group":
        norms = np.linalg.norm(features.reshape(len(features), -1, setting.group_size), axis=2)
        return np.asarray(norms.argmax(axis=1))
    return group_sparse.cluster(
        features, setting.num_groups, method=method, num_neighbours=setting.num_neighbours, seed=seed
    )


def _clustered(seed: int, _: Path, setting: Clustering) -> xarray.Dataset:
    """The scores of one seed over (feature, algorithm, seed), NaN where one does not apply, and what is drawn of it."""
    images, (choices, tried) = load(setting), _choices(setting)
    held_out, size = images.held_out, setting.group_size
    begin = functools.partial(start, setting, images, find_clusters(setting, images, seed), seed=seed)
    features, active, networks = {"raw": np.asarray(held_out.samples)}, {}, {}
    for name in ("sparse", "sparse+"):
        networks[name] = build(setting.sparse_network, begin("random", name == "sparse+"), 1, name == "sparse+")
    for name, choice in choices.items():
        dictionary = begin(choice.initialisation, name == "group+")
        if choice.initialisation == "clusters" and name == "group":
            features["start of group"] = np.asarray(held_out.samples @ dictionary)
        networks[name] = build(Network(*choice[:2]), dictionary, size, name == "group+")
    networks["group, supervised start"] = build(Network(*choices["group"][:2]), begin("classes", False), size)
    for name, network in networks.items():
        networks[name] = train(network, images.train.samples, setting, setting.num_epochs, seed)
        codes = np.asarray(networks[name].encode(held_out.samples))
        features[name] = group_sparse.sum_to_one(codes) if network.nonnegative else codes
        active[name] = num_active(networks[name], held_out)
    labels, fields = np.asarray(held_out.labels), group_sparse.ClusteringScores._fields
    scores = np.full((len(features), len(METHODS), len(fields)), np.nan)
    for row, (name, values) in enumerate(features.items()):
        for column, method in enumerate(METHODS):
            if method != "largest group" or "group" in name:
                found = clusters_of(values, method, setting, seed)
                scores[row, column] = group_sparse.clustering_scores(labels, found)
    plain = {name: value for name, value in vars(setting).items() if isinstance(value, str | int | float)}
    chosen = {f"{kind}_{name}": value for kind, choice in choices.items() for name, value in choice._asdict().items()}
    dims = ("feature", "algorithm", "seed")
    return xarray.Dataset(
        {
            **{name: (dims, scores[..., index, None]) for index, name in enumerate(fields)},
            "num_active": (("feature", "seed"), [[active.get(name, np.nan)] for name in features]),
            "distances": (("shown", "image", "other_image"), [_distances(features[name], labels) for name in _SHOWN]),
            "atoms": (("pixel", "atom"), np.asarray(networks["group"].atoms)),
        },
        {"feature": list(features), "algorithm": list(METHODS), "seed": [seed], "shown": list(_SHOWN)},
        plain | chosen | {"trials": [str(one._asdict()) for one in tried], "image_shape": images.train.image_shape},
    )


def _distances(
    features: Float[np.ndarray, "num_images num_features"], labels: Int[np.ndarray, " num_images"]
) -> Float[np.ndarray, "images images"]:
    """Distances between some of the images, class after class."""
    rows = features[:_NUM_SHOWN][np.argsort(labels[:_NUM_SHOWN], kind="stable")].astype(np.float64)
    squares = np.sum(rows**2, axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0)))


def _summarise(table: xarray.Dataset) -> dict[str, Any]:
    """Mean and deviation over seeds of each accuracy, beside the published one on MNIST."""
    told: dict[str, Any] = {}
    for feature in table.feature.values.tolist():
        scores = {}
        for method in table.algorithm.values.tolist():
            found = {
                name: table[name].sel(feature=feature, algorithm=method)
                for name in group_sparse.ClusteringScores._fields
            }
            if np.isfinite(found["accuracy"]).all():
                scores[method] = {
                    name: {"mean": float(one.mean()), "std": float(one.std())} for name, one in found.items()
                }
        active = float(table.num_active.sel(feature=feature).mean())
        told[feature] = {
            "scores": scores,
            "mean_active": active if np.isfinite(active) else None,
            "published_mnist": PUBLISHED.get(feature),
        }
    return told | {"settings": table.attrs}


def _headlines(name: str, told: dict[str, Any]) -> Iterator[Headline]:
    for feature in _SHOWN:
        yield f"{name}: k-means accuracy, {feature}", f"{told[feature]['scores']['k-means']['accuracy']['mean']:.1%}"


def _draw_clusters(axes: Sequence[Axes], table: xarray.Dataset) -> None:
    """Clustering accuracy of each kind of feature, and pairwise distances of held-out images sorted by class."""
    bars, *squares = axes
    places, methods = np.arange(len(table.feature)), table.algorithm.values.tolist()
    height = 0.8 / len(methods)
    for index, method in enumerate(methods):
        scores, shift = table.accuracy.sel(algorithm=method), (index - (len(methods) - 1) / 2) * height
        look = {"xerr": scores.std("seed"), "color": COLOURS[index], "error_kw": {"linewidth": 1}}
        bars.barh(places + shift, scores.mean("seed"), height, label=method, **look)
    bars.set_yticks(places, table.feature.values.tolist())
    bars.invert_yaxis()
    count = table.sizes["seed"]
    bars.set(xlim=(0, 1), xlabel="clustering accuracy on held-out images")
    bars.set_title(f"{table.attrs['data']}, {count} seed{'s' * (count > 1)}")
    bars.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=3)
    for ax, name, matrix in zip(squares, table.shown.values.tolist(), table.distances.values, strict=True):
        plot_distances(matrix, ax)
        ax.set_title(f"distances, {name}")


def _draw_atoms(axes: Sequence[Axes], table: xarray.Dataset, size: int) -> None:
    """Each group's atoms in a row, each scaled to its own largest entry, with the sign of which the sum is positive."""
    height, width = table.attrs["image_shape"][:2]
    rows, columns = table.sizes["atom"] // size * (height + 1) - 1, size * (width + 1) - 1
    inch = 9 / max(rows, columns)
    axes[0].figure.set_size_inches(max(inch * columns, 2.5) + 0.6, inch * rows + 0.5)
    plot_atoms(table.atoms.values, (height, width), axes[0], group_size=size)
    axes[0].set_title("atoms, group by group")
