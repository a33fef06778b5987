"""Clustering of images by their codes: autoencoders trained without labels, codes given to k-means and spectral.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003. Its initialisation, preprocessing
and batch size are not published; here they are chosen on validation images without a look at labels.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jaxtyping import Array, Float, Int

from aetheory import group_sparse as recovery
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.dictionaries import data_dictionary, gaussian_dictionary, subspace_dictionary
from aetheory.group_sparse.network import GroupSparseAutoencoder
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


@dataclass(frozen=True)
class Network:
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
        num_trial_epochs: epochs of each candidate, on at most `num_trial_images`.
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
    num_trial_images: int = 20_000
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

    network: Network
    initialisation: str
    lost: float
    num_active: float


class Result(NamedTuple):
    """One clustering of the held-out images; `num_active` of the codes it was made from, NaN where there are none."""

    feature: str
    method: str
    seed: int
    scores: recovery.ClusteringScores
    num_active: float


class Clustered(NamedTuple):
    """What one seed leaves for the figures."""

    results: list[Result]
    autoencoder: GroupSparseAutoencoder
    features: dict[str, Float[np.ndarray, "num_images num_features"]]


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


def find_clusters(setting: Clustering, images: Images, seed: int) -> Int[np.ndarray, " num_clustered"]:
    """K-subspaces of the first training images: the cluster of each, found without labels.

    In the leading principal components, which hold nearly all of an image and cost far less.
    """
    rows = np.asarray(images.train.samples[:_NUM_CLUSTERED])
    components = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :_NUM_COMPONENTS]
    return recovery.k_subspaces(rows @ components, setting.num_groups, setting.group_size, seed=100 * seed).assignments


def choose(
    setting: Clustering, images: Images, clusters: Int[np.ndarray, " num_clustered"], nonnegative: bool
) -> tuple[Trial, list[Trial]]:
    """The candidate that reconstructs the validation images best from two groups or fewer an image, and all trials.

    That is what a mixture of subspaces asks for, and needs no labels. Where none is so sparse, the sparsest.
    """
    count = min(setting.num_trial_images, images.train.num_samples)
    trials = []
    for initialisation in setting.initialisations:
        dictionary = start(setting, images, clusters, initialisation, nonnegative, seed=0)
        for network in setting.group_networks:
            built = build(network, dictionary, setting.group_size, nonnegative)
            trained = train(built, images.train.samples[:count], setting, setting.num_trial_epochs, seed=0)
            lost = 2 * float(reconstruction_loss(trained, images.validation.samples))
            trials.append(Trial(network, initialisation, lost, num_active(trained, images.validation)))
    alive = [trial for trial in trials if trial.num_active > 0 and trial.lost < 1]
    sparse_enough = [trial for trial in alive if trial.num_active <= _MAX_ACTIVE]
    if sparse_enough:
        return min(sparse_enough, key=lambda trial: trial.lost), trials
    return min(alive or trials, key=lambda trial: trial.num_active), trials


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
    samples = images.train.samples
    if initialisation in ("clusters", "classes"):
        assignments = np.asarray(images.train.labels)
        if initialisation == "clusters":
            samples, assignments = samples[: len(clusters)], clusters
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
    network: Network,
    dictionary: Float[Array, "input_dim latent_dim"],
    group_size: int,
    nonnegative: bool = False,
) -> GroupSparseAutoencoder:
    """The network at its start; one iteration begins with the column norm at which it undoes its own shrinkage."""
    unfolded = network.num_iterations > 1
    scale = 1.0 if unfolded else recovery.fixed_point_norm(network.threshold, CODE_NORM).astype(dictionary.dtype)
    return GroupSparseAutoencoder(
        scale * dictionary,
        network.threshold,
        group_size,
        num_iterations=network.num_iterations,
        nonnegative=nonnegative,
        unit_norm=unfolded,
    )


def train(
    autoencoder: GroupSparseAutoencoder,
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
    run = gradient_descent(
        autoencoder,
        reconstruction_loss,
        _optimizer(setting.learning_rate),
        num_steps,
        samples,
        batch_size=setting.batch_size,
        key=jax.random.key(seed),
        metrics=_nothing,
        record_at=[num_steps],
    )
    trained: GroupSparseAutoencoder = run.module
    return trained


def run_seed(
    setting: Clustering,
    images: Images,
    clusters: Int[np.ndarray, " num_clustered"],
    choices: dict[str, Trial],
    seed: int,
) -> Clustered:
    """Train the networks from one seed, and cluster the held-out images by each kind of feature.

    Arguments:
        setting: the table.
        images: see `load`.
        clusters: see `find_clusters`, of the same seed.
        choices: the chosen candidate for `"group"` and for `"group+"`, the nonnegative one.
        seed: of initialisation, training and clustering.
    """
    held_out, size = images.held_out, setting.group_size
    features = {"raw": np.asarray(held_out.samples)}
    active = {"raw": np.nan}
    networks = {}
    for name in ("sparse", "sparse+"):
        dictionary = start(setting, images, clusters, "random", name == "sparse+", seed)
        networks[name] = build(setting.sparse_network, dictionary, 1, name == "sparse+")
    for name, choice in choices.items():
        dictionary = start(setting, images, clusters, choice.initialisation, name == "group+", seed)
        if choice.initialisation == "clusters" and name == "group":
            features["start of group"] = np.asarray(held_out.samples @ dictionary)
            active["start of group"] = np.nan
        networks[name] = build(choice.network, dictionary, size, name == "group+")
    dictionary = start(setting, images, clusters, "classes", False, seed)
    networks["group, supervised start"] = build(choices["group"].network, dictionary, size, False)
    for name, network in networks.items():
        networks[name] = train(network, images.train.samples, setting, setting.num_epochs, seed)
        codes = np.asarray(networks[name].encode(held_out.samples))
        features[name] = recovery.sum_to_one(codes) if network.nonnegative else codes
        active[name] = num_active(networks[name], held_out)
    labels = np.asarray(held_out.labels)
    results = []
    for name, values in features.items():
        for method in METHODS:
            if method == "largest group":
                if "group" not in name:
                    continue
                found = largest_group(values, size)
            else:
                found = recovery.cluster(
                    values, setting.num_groups, method=method, num_neighbours=setting.num_neighbours, seed=seed
                )
            results.append(Result(name, method, seed, recovery.clustering_scores(labels, found), active[name]))
    return Clustered(results, networks["group"], features)


def to_dataset(
    setting: Clustering, choices: dict[str, Trial], trials: list[Trial], results: list[Result]
) -> xarray.Dataset:
    """The scores over (feature, algorithm, seed), NaN where one does not apply, and how the networks were chosen."""
    features = list(dict.fromkeys(result.feature for result in results))
    seeds = list(dict.fromkeys(result.seed for result in results))
    names = recovery.ClusteringScores._fields
    scores = {name: np.full((len(features), len(METHODS), len(seeds)), np.nan) for name in (*names, "num_active")}
    for result in results:
        place = features.index(result.feature), METHODS.index(result.method), seeds.index(result.seed)
        scores["num_active"][place] = result.num_active
        for name in names:
            scores[name][place] = getattr(result.scores, name)
    settings = {
        name: value for name, value in dataclasses.asdict(setting).items() if isinstance(value, str | int | float)
    }
    chosen = {f"{kind}_{name}": value for kind, choice in choices.items() for name, value in _flat(choice).items()}
    return xarray.Dataset(
        {name: (("feature", "algorithm", "seed"), values) for name, values in scores.items()},
        {"feature": features, "algorithm": list(METHODS), "seed": seeds},
        settings | chosen | {"trials": [str(_flat(trial)) for trial in trials]},
    )


def sorted_distances(
    features: Float[np.ndarray, "num_images num_features"], labels: Int[np.ndarray, " num_images"], count: int = 400
) -> Float[np.ndarray, "images images"]:
    """Distances between some of the images, class after class."""
    rows = features[:count][np.argsort(labels[:count], kind="stable")].astype(np.float64)
    squares = np.sum(rows**2, axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0)))


def _flat(trial: Trial) -> dict[str, str | int | float]:
    return {
        "num_iterations": trial.network.num_iterations,
        "threshold": trial.network.threshold,
        "initialisation": trial.initialisation,
        "validation_lost": trial.lost,
        "validation_num_active": trial.num_active,
    }


def _of_norm_one(images: ImageSource) -> ImageSource:
    norms = jnp.linalg.norm(images.samples, axis=1, keepdims=True)
    scaled = images.samples / jnp.where(norms > 0, norms, 1)
    return ImageSource(scaled, images.labels, images.image_shape, images.name)


def largest_group(codes: Float[np.ndarray, "num_images latent_dim"], group_size: int) -> Int[np.ndarray, " num_images"]:
    """The group of each image whose code has the largest norm."""
    norms = np.linalg.norm(codes.reshape(len(codes), -1, group_size), axis=2)
    return np.asarray(norms.argmax(axis=1))


def num_active(autoencoder: GroupSparseAutoencoder, images: ImageSource) -> float:
    """Active groups of an image, on average."""
    found = recovery.active_groups(autoencoder.encode(images.samples), autoencoder.group_size)
    return float(jnp.mean(jnp.sum(found, axis=1)))


@functools.cache
def _optimizer(learning_rate: float) -> optax.GradientTransformation:
    """The same object for equal settings, which saves compilations."""
    return optax.adam(learning_rate)


def _nothing(autoencoder: GroupSparseAutoencoder, samples: Float[Array, "num_samples input_dim"]) -> Array:
    """In place of the loss over all images."""
    return jnp.zeros(())
