"""The limits of two-layer autoencoders: gradient methods against theory, on Gaussian, image and sparse inputs.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468; K. Kögler et al., arXiv:2402.05013.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.curve import Curve
from aetheory.core.simulate import simulate
from aetheory.reproduce.prism import Size
from aetheory.sources.gaussian import GaussianSource
from aetheory.sources.images import DATA_FOLDER_VARIABLE, ImageSource, load_images, whiten
from aetheory.sources.source import Source
from aetheory.sources.sparse import SparseSource
from aetheory.two_layer import limits
from aetheory.two_layer.network import (
    TwoLayerAutoencoder,
    population_risk,
    random_encoder,
    sampled_risk,
    tied_autoencoder,
)
from aetheory.two_layer.problem import TwoLayerProblem

SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
AMPLITUDES = ("rademacher", "gaussian")
_SAMPLED_RATES = (0.5, 1.0, 2.0)
_SLOW_SGD_RATES = (0.5,)  # of the larger sets, for they take the time
_RAW_RATES_OF_MANY_PIXELS = (0.03, 0.06, 0.125, 0.25)
_CURVE = np.linspace(0.05, 3.0, 60)
_SMALLEST_VARIANCE = 1e-3
"""Share of the largest variance below which a direction of a set of images is left out of its whitened form."""


@dataclass(frozen=True)
class Scale:
    """How large and how long: dimension, initialisations, steps of either descent, samples, images of each set."""

    dim: int
    rates: tuple[float, ...]
    num_seeds: int
    num_steps: int
    num_sample_steps: int
    num_samples: int
    num_images: int | None
    image_rates: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)


_SCALES: dict[Size, Scale] = {
    "quick": Scale(40, (0.5, 1.0, 2.0), 2, 150, 400, 1000, None, (0.5, 1.0)),
    "default": Scale(100, (0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0), 3, 300, 1000, 4000, 10_000),
    "full": Scale(500, (0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0), 3, 300, 3000, 10_000, None),
}
_FURTHER_SETS = ("mnist", "fashion-mnist", "cifar-10")


def panels(size: Size) -> dict[str, Callable[[PRNGKeyArray], xarray.Dataset]]:
    """What to compute at one of three sizes, by name; each takes a random key."""
    scale = _SCALES[size]
    spectra = {
        "isotropic": jnp.ones(scale.dim),
        "blocks": _block_variances(scale.dim),
        "power-law": GaussianSource.power_law(scale.dim, 1.0).variances,
    }
    chosen: dict[str, Callable[[PRNGKeyArray], xarray.Dataset]] = {
        name: lambda key, name=name, variances=variances: gaussian_panel(name, variances, scale, key)  # type: ignore[misc]
        for name, variances in spectra.items()
    }
    for name in ("digits", *_FURTHER_SETS):
        # the larger sets are no quick job, and what is not at hand is asked for in the full size only
        if name == "digits" or size == "full" or (size == "default" and _is_local(name)):
            chosen[name] = lambda key, name=name: image_panel(name, scale, key)  # type: ignore[misc]
    chosen["sparse"] = lambda key: sparse_panel(scale, key)
    return chosen


def gaussian_panel(name: str, variances: Float[Array, " dim"], scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Alternating descent, constructed minimisers, and on isotropic inputs SGD, beside the limits, over the rate."""
    source, dim = GaussianSource(variances), len(variances)
    units = [round(rate * dim) for rate in scale.rates]
    risks, constructed, sampled, grams = [], [], [], {}
    for rate, num_units in zip(scale.rates, units, strict=True):
        start_keys = jax.random.split(jax.random.fold_in(key, num_units), scale.num_seeds)
        starts = [random_encoder(start_key, dim, num_units) for start_key in start_keys]
        runs = [_descended(variances, start, scale) for start in starts]
        risks.append(np.stack([run.risk for run in runs]))
        minimiser = limits.minimiser(start_keys[0], variances, num_units)
        constructed.append(float(population_risk(minimiser, variances)))
        in_sample = name == "isotropic" and rate in _SAMPLED_RATES
        sampled.append(float(_by_samples(starts[0], source, start_keys[0], scale).risk[-1]) if in_sample else math.nan)
        if rate == _SHOWN_RATE:
            for when, encoder in (("before", starts[0]), ("after", runs[0].module.encoder)):
                units_gram, directions_gram = _grams(encoder, variances)
                grams[f"units_{when}"] = (("unit", "other_unit"), units_gram)
                grams[f"directions_{when}"] = (("direction", "other_direction"), directions_gram)
    deviations = jnp.sqrt(variances)
    rates = np.asarray(units) / dim
    return xarray.Dataset(
        {
            "alternating": (("rate", "seed", "step"), np.stack(risks)),
            "minimiser": ("rate", constructed),
            "sample_descent": ("rate", sampled),
            "limit": ("rate", np.asarray(limits.water_filling(deviations, jnp.asarray(units)).risk)),
            "limit_curve": ("curve_rate", np.asarray(limits.water_filling(deviations, dim * _CURVE).risk)),
            "principal_components": ("curve_rate", np.asarray(limits.principal_components(variances, dim * _CURVE))),
            "rate_distortion": ("curve_rate", np.asarray(limits.rate_distortion(variances, _CURVE))),
            **grams,
        },
        coords={"rate": rates, "curve_rate": _CURVE, "step": np.arange(scale.num_steps + 1)},
        attrs={"input_dim": dim, "spectrum": name},
    )


_SHOWN_RATE = 0.5


def image_panel(name: str, scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Held-out risks on whitened images (tied decoder) and on raw ones (best decoder), beside the Gaussian limits.

    Alternating descent sees the covariance: of all whitened images, the identity, and of the training half of the raw
    ones. SGD sees the training half itself, and overfits where it is small. The statistics that whiten, and
    the limits, are those of the whole set.
    """
    key_choice, key_split, key_run = jax.random.split(key, 3)
    images = load_images(name)
    if scale.num_images is not None and images.num_samples > scale.num_images:
        images = images.select(jax.random.permutation(key_choice, images.num_samples)[: scale.num_images])
    whitened, _ = whiten(images.samples, smallest_variance=_SMALLEST_VARIANCE)
    source = ImageSource(whitened, images.labels, whitened.shape[1:], name)
    training, held_out = source.split(source.num_samples // 2, key_split)
    sgd_rates = scale.image_rates if name == "digits" else _SLOW_SGD_RATES
    rows = [
        _whitened_risks(source, training, held_out, rate, rate in sgd_rates, scale, key_run)
        for rate in scale.image_rates
    ]
    centred = images.samples - jnp.mean(images.samples, axis=0, keepdims=True)
    raw = ImageSource(centred / jnp.sqrt(jnp.mean(centred**2)), images.labels, images.image_shape, name)
    raw_training, raw_held_out = raw.split(raw.num_samples // 2, key_split)
    deviations = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(raw.covariance), 0))
    raw_rates = scale.image_rates if name == "digits" else _RAW_RATES_OF_MANY_PIXELS
    raw_units = [max(1, round(rate * raw.input_dim)) for rate in raw_rates]
    raw_rows = [_raw_risks(raw, raw_training, raw_held_out, num_units, scale, key_run) for num_units in raw_units]
    return xarray.Dataset(
        {
            **_columns("rate", rows),
            "limit": ("rate", np.asarray(limits.gaussian(jnp.asarray([row["rate"] for row in rows])))),
            **_columns("raw_rate", raw_rows),
            "raw_limit": ("raw_rate", np.asarray(limits.water_filling(deviations, jnp.asarray(raw_units)).risk)),
            "raw_limit_curve": (
                "curve_rate",
                np.asarray(limits.water_filling(deviations, raw.input_dim * _raw_curve(raw_units, raw)).risk),
            ),
        },
        coords={
            "rate": [row["rate"] for row in rows],
            "raw_rate": np.asarray(raw_units) / raw.input_dim,
            "curve_rate": _raw_curve(raw_units, raw),
        },
        attrs={"input_dim": raw.input_dim, "whitened_dim": source.input_dim, "num_images": images.num_samples},
    )


def sparse_panel(scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Rotation, identity and denoiser at rate 1 over the sparsity: theory, and samples through a random rotation."""
    dim = 4 * scale.dim
    curve = np.linspace(0.05, 1.0, 39)
    theory = {
        name: np.array([[float(function(SparseSource(dim, q, law))) for q in curve] for law in AMPLITUDES])
        for name, function in (
            ("rotation", limits.rotation_risk),
            ("identity", limits.identity_risk),
            ("denoised", limits.denoised_risk),
        )
    }
    rotation = limits.minimiser(key, jnp.ones(dim), dim)
    simulated = np.array(
        [[_sparse_risks(rotation, SparseSource(dim, q, law), scale, key) for q in SPARSITIES] for law in AMPLITUDES]
    )
    return xarray.Dataset(
        {
            **{name: (("amplitude", "curve_sparsity"), values) for name, values in theory.items()},
            **{
                f"simulated_{name}": (("amplitude", "sparsity"), simulated[..., index])
                for index, name in enumerate(("rotation", "identity", "denoised"))
            },
            "denoised_at_simulated": (
                ("amplitude", "sparsity"),
                np.array(
                    [[float(limits.denoised_risk(SparseSource(dim, q, a))) for q in SPARSITIES] for a in AMPLITUDES]
                ),
            ),
            "critical_sparsity": (
                "amplitude",
                [float(limits.critical_sparsity(SparseSource(dim, 0.5, law))) for law in AMPLITUDES],
            ),
        },
        coords={"sparsity": list(SPARSITIES), "curve_sparsity": curve},
        attrs={"input_dim": dim, "num_samples": scale.num_samples, "amplitudes": list(AMPLITUDES)},
    )


def summarise(results: dict[str, xarray.Dataset]) -> dict[str, dict[str, Any]]:
    """For each panel the distances from the limits, ready for JSON."""
    summary: dict[str, dict[str, Any]] = {}
    for name, data in results.items():
        if "alternating" in data:
            last = data.alternating.isel(step=-1)
            distances = {
                "alternating_mean_excess": last.mean("seed") - data.limit,
                "alternating_largest_excess": last.max("seed") - data.limit,
                "alternating_smallest_excess_of_any_step": data.alternating.min(("seed", "step")) - data.limit,
                "minimiser_excess": data.minimiser - data.limit,
                "sample_descent_excess": data.sample_descent - data.limit,
            }
            summary[name] = {"rate": data.rate.values.tolist(), "limit": data.limit.values.tolist()}
        elif "held_out_trained" in data:
            distances = {
                "whitened_trained_excess": data.held_out_trained - data.limit,
                "whitened_sample_descent_excess": data.held_out_sample_descent - data.limit,
                "whitened_rotation_excess": data.held_out_rotation - data.limit,
                "raw_gaussian_excess": data.raw_gaussian - data.raw_limit,
                "raw_held_out_excess": data.raw_held_out - data.raw_limit,
            }
            summary[name] = {"rate": data.rate.values.tolist(), "raw_rate": data.raw_rate.values.tolist()}
        else:
            distances = {"denoised_excess": data.simulated_denoised - data.denoised_at_simulated}
            summary[name] = {
                "sparsity": data.sparsity.values.tolist(),
                "critical_sparsity": data.critical_sparsity.values.tolist(),
            }
        summary[name] |= data.attrs | {key: _json_numbers(value.values) for key, value in distances.items()}
    return summary


def _json_numbers(values: np.ndarray) -> object:
    """Nested lists, with `None` for what was not computed."""
    return [_json_numbers(value) if np.ndim(value) else None if np.isnan(value) else float(value) for value in values]


def _is_local(name: str) -> bool:
    folder = os.environ.get(DATA_FOLDER_VARIABLE)
    return folder is not None and (Path(folder) / name).exists()


def _block_variances(dim: int) -> Float[Array, " dim"]:
    """Variances 2.5, .7, .1 in shares 30, 30, 40 % of the directions, with mean 1."""
    first, second = round(0.3 * dim), round(0.3 * dim)
    variances = jnp.concatenate([jnp.full(first, 2.5), jnp.full(second, 0.7), jnp.full(dim - first - second, 0.1)])
    return variances / jnp.mean(variances)


def _descended(inputs: Any, start: Float[Array, "units dim"], scale: Scale) -> Curve:
    """Alternating descent from a given encoder, on a covariance or a source."""
    num_units, dim = start.shape
    problem = TwoLayerProblem(dim, num_units, "sign", "alternating", covariance=inputs, start=start)
    return simulate(problem, np.arange(scale.num_steps + 1), jax.random.key(0), return_module=True)


def _by_samples(start: Float[Array, "units dim"], source: Source, key: PRNGKeyArray, scale: Scale) -> Curve:
    """SGD on samples from a given encoder."""
    num_units, dim = start.shape
    problem = TwoLayerProblem(dim, num_units, "sign", "sgd", source=source, start=start)
    return simulate(problem, np.asarray([scale.num_sample_steps]), key, return_module=True)


def _grams(
    encoder: Float[Array, "units dim"], variances: Float[Array, " dim"]
) -> tuple[Float[np.ndarray, "units units"], Float[np.ndarray, "dim dim"]]:
    """|B̃ B̃ᵀ| and |B̃ᵀ B̃| of the rows B̃ = B Σ^{1/2} at unit length."""
    scaled = np.asarray(encoder) * np.sqrt(np.asarray(variances))
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.abs(scaled @ scaled.T), np.abs(scaled.T @ scaled)


def _whitened_risks(
    images: ImageSource,
    training: ImageSource,
    held_out: ImageSource,
    rate: float,
    by_samples: bool,
    scale: Scale,
    key: PRNGKeyArray,
) -> dict[str, float]:
    dim = training.input_dim
    num_units = round(rate * dim)
    rotation = limits.minimiser(key, jnp.ones(dim), num_units)
    start = random_encoder(key, dim, num_units)
    trained = _descended(images, start, scale).module
    risks = {
        "rate": num_units / dim,
        "held_out_rotation": float(sampled_risk(rotation, held_out.samples).mean),
        "held_out_trained": float(sampled_risk(tied_autoencoder(trained.encoder), held_out.samples).mean),
        "held_out_sample_descent": math.nan,
    }
    if by_samples:
        trained = _by_samples(start, training, key, scale).module
        risk = sampled_risk(tied_autoencoder(trained.encoder), held_out.samples)
        risks["held_out_sample_descent"] = float(risk.mean)
    return risks


def _raw_risks(
    images: ImageSource,
    training: ImageSource,
    held_out: ImageSource,
    num_units: int,
    scale: Scale,
    key: PRNGKeyArray,
) -> dict[str, float]:
    start = random_encoder(key, images.input_dim, num_units)
    trained = _descended(training, start, scale).module
    return {
        "raw_gaussian": float(population_risk(trained, images.covariance)),
        "raw_held_out": float(sampled_risk(trained, held_out.samples).mean),
    }


def _columns(dimension: str, rows: list[dict[str, float]]) -> dict[str, tuple[str, list[float]]]:
    return {name: (dimension, [row[name] for row in rows]) for name in rows[0] if name != "rate"}


def _raw_curve(units: list[int], images: ImageSource) -> Float[np.ndarray, " curve"]:
    return np.geomspace(units[0] / 1.5, units[-1] * 1.5, 40) / images.input_dim


def _sparse_risks(
    rotation: TwoLayerAutoencoder, source: SparseSource, scale: Scale, key: PRNGKeyArray
) -> tuple[float, float, float]:
    """With the linear decoder and with the denoiser after a rotation, and of the identity's signs."""
    samples = source.sample(key, scale.num_samples)
    codes = rotation.activation(samples @ rotation.encoder.T)
    denoised = limits.denoiser(source)(codes @ rotation.encoder)
    identity = source.mean_absolute * rotation.activation(samples)
    return (
        float(sampled_risk(rotation, samples).mean),
        float(jnp.mean((samples - identity) ** 2)),
        float(jnp.mean((samples - denoised) ** 2)),
    )
