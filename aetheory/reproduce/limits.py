"""The limits of two-layer autoencoders: gradient methods against theory, on Gaussian, image and sparse inputs.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468; K. Kögler et al., arXiv:2402.05013.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes
from threadpoolctl import threadpool_limits

from aetheory.core.curve import Curve
from aetheory.core.predict import predict
from aetheory.core.simulate import simulate
from aetheory.plotting import COLOURS
from aetheory.reproduce.panel import Headline, Job, Panel, Sheet, Size
from aetheory.sources.gaussian import GaussianSource
from aetheory.sources.images import DATA_FOLDER_VARIABLE, ImageSource, load_images, whiten
from aetheory.sources.source import Source
from aetheory.sources.sparse import SparseSource
from aetheory.two_layer import limits
from aetheory.two_layer.network import population_risk, random_encoder, sampled_risk, tied_autoencoder
from aetheory.two_layer.problem import TwoLayerProblem

SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
AMPLITUDES = ("rademacher", "gaussian")
_SETS = ("digits", "mnist", "fashion-mnist", "cifar-10")
_SAMPLED_RATES = (0.5, 1.0, 2.0)
_SHOWN_RATE = 0.5  # whose structure is drawn
_SLOW_SGD_RATES = (0.5,)  # of the larger sets, for they take the time
_RAW_RATES_OF_MANY_PIXELS = (0.03, 0.06, 0.125, 0.25)
_CURVE = np.linspace(0.05, 3.0, 60)
_SMALLEST_VARIANCE = 1e-3
"""Share of the largest variance below which a direction of a set of images is left out of its whitened form."""


class Scale(NamedTuple):
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


def job(size: Size, seed: int) -> Job:
    """Three spectra, sets of images, and sparse sources.

    The larger sets are no quick job, and what is not at hand is asked for in the full size only.
    """
    scale = _SCALES[size]
    spectra = {
        "isotropic": jnp.ones(scale.dim),
        "blocks": block_variances(scale.dim),
        "power-law": GaussianSource.power_law(scale.dim, 1.0).variances,
    }
    sets = [one for one in _SETS if one == "digits" or size == "full" or (size == "default" and _is_local(one))]
    keys = (jax.random.fold_in(jax.random.key(seed), index) for index in range(len(spectra) + len(sets) + 1))
    panels = [_gaussian_panel(name, variances, scale, next(keys)) for name, variances in spectra.items()]
    panels += [_image_panel(name, place, scale, next(keys)) for place, name in enumerate(sets)]
    panels.append(_sparse_panel(scale, next(keys)))
    return Job("limits", panels, {"figure": Sheet((2, 4), (16.5, 8.2), decorate=_decorate)})


def _is_local(name: str) -> bool:
    folder = os.environ.get(DATA_FOLDER_VARIABLE)
    return folder is not None and (Path(folder) / name).exists()


def block_variances(dim: int) -> Float[Array, " dim"]:
    """Variances 2.5, .7, .1 in shares 30, 30, 40 % of the directions, with mean 1."""
    share = round(0.3 * dim)
    variances = jnp.repeat(jnp.array([2.5, 0.7, 0.1]), jnp.array([share, share, dim - 2 * share]))
    return variances / jnp.mean(variances)


def _gaussian_panel(name: str, variances: Float[Array, " dim"], scale: Scale, key: PRNGKeyArray) -> Panel:
    dim = len(variances)
    problems = [TwoLayerProblem(dim, round(rate * dim), "sign", "alternating", variances) for rate in scale.rates]
    draw = {"isotropic": _draw_isotropic, "blocks": _draw_blocks, "power-law": _draw_power_law}[name]
    headlines = partial(_headlines, f"{name}: alternating descent above the limit", "alternating_mean_excess")
    compute = partial(_descents, scale=scale, key=key)
    return Panel(name, [problems], compute, {"figure": draw}, _summarise_descents, headlines)


@threadpool_limits.wrap(limits=1, user_api="blas")
def _descents(problems: Sequence[TwoLayerProblem], _: Path, scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Alternating descent, constructed minimisers, and on isotropic inputs SGD, beside the limits, over the rate.

    One BLAS thread, here and below: factorisations of a few hundred rows are slower by several that wait for another.
    """
    variances, dim = problems[0].covariance, problems[0].input_dim
    rows, structure = [], {}
    for problem in problems:
        keys = jax.random.split(jax.random.fold_in(key, problem.num_units), scale.num_seeds)
        starts = [random_encoder(one, dim, problem.num_units) for one in keys]
        runs = [_descended(problem, start, scale) for start in starts]
        minimiser = population_risk(limits.minimiser(keys[0], variances, problem.num_units), variances)
        sampled = problem.is_isotropic and problem.rate in _SAMPLED_RATES
        by_samples = _by_samples(None, starts[0], keys[0], scale).risk[-1] if sampled else math.nan
        rows.append((np.stack([run.risk for run in runs]), float(minimiser), float(by_samples)))
        if problem.rate == _SHOWN_RATE:
            structure = _structure("before", starts[0], variances) | _structure(
                "after", runs[0].module.encoder, variances
            )
    units = np.asarray([problem.num_units for problem in problems])
    limit, limit_curve = (
        predict(dataclasses.replace(problems[0], num_units=jnp.asarray(number)), [0], "water-filling").risk[:, 0]
        for number in (units, dim * _CURVE)
    )
    alternating, minimiser, by_samples = zip(*rows, strict=True)
    return xarray.Dataset(
        {
            "alternating": (("rate", "seed", "step"), np.stack(alternating)),
            "minimiser": ("rate", list(minimiser)),
            "sample_descent": ("rate", list(by_samples)),
            "limit": ("rate", np.asarray(limit)),
            "limit_curve": ("curve_rate", np.asarray(limit_curve)),
            "principal_components": ("curve_rate", np.asarray(limits.principal_components(variances, dim * _CURVE))),
            "rate_distortion": ("curve_rate", np.asarray(limits.rate_distortion(variances, _CURVE))),
            **structure,
        },
        {"rate": units / dim, "curve_rate": _CURVE, "step": np.arange(scale.num_steps + 1)},
        {"input_dim": dim},
    )


def _descended(problem: TwoLayerProblem, start: Float[Array, "units dim"], scale: Scale) -> Curve:
    """Alternating descent from a given encoder."""
    one = dataclasses.replace(problem, start=start)
    return simulate(one, np.arange(scale.num_steps + 1), jax.random.key(0), return_module=True)


def _by_samples(source: Source, start: Float[Array, "units dim"], key: PRNGKeyArray, scale: Scale) -> Curve:
    """SGD on samples from a given encoder."""
    num_units, dim = start.shape
    problem = TwoLayerProblem(dim, num_units, "sign", "sgd", source=source, start=start)
    return simulate(problem, np.asarray([scale.num_sample_steps]), key, return_module=True)


def _structure(when: str, encoder: Float[Array, "units dim"], variances: Float[Array, " dim"]) -> dict[str, Any]:
    """|B̃ B̃ᵀ| and |B̃ᵀ B̃| of the rows B̃ = B Σ^{1/2} at unit length."""
    scaled = np.asarray(encoder) * np.sqrt(np.asarray(variances))
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return {
        f"units_{when}": (("unit", "other_unit"), np.abs(scaled @ scaled.T)),
        f"directions_{when}": (("direction", "other_direction"), np.abs(scaled.T @ scaled)),
    }


def _summarise_descents(data: xarray.Dataset) -> dict[str, Any]:
    last = data.alternating.isel(step=-1)
    excess = {
        "alternating_mean_excess": last.mean("seed") - data.limit,
        "alternating_largest_excess": last.max("seed") - data.limit,
        "alternating_smallest_excess_of_any_step": data.alternating.min(("seed", "step")) - data.limit,
        "minimiser_excess": data.minimiser - data.limit,
        "sample_descent_excess": data.sample_descent - data.limit,
    }
    return _for_json({"rate": data.rate, "limit": data.limit} | data.attrs | excess)


def _for_json(found: dict[str, Any]) -> dict[str, Any]:
    """Nested lists in place of arrays, with `None` for what was not computed."""

    def plain(values: Any) -> Any:
        return [plain(one) for one in values] if np.ndim(values) else None if np.isnan(values) else float(values)

    return {name: plain(value.values) if hasattr(value, "values") else value for name, value in found.items()}


def _headlines(what: str, entry: str, told: dict[str, Any]) -> Iterator[Headline]:
    """The largest size of an entry's numbers."""
    yield f"{what}, at most", f"{np.nanmax(np.abs(np.asarray(told[entry], float))):.4f}"


def _image_panel(name: str, place: int, scale: Scale, key: PRNGKeyArray) -> Panel:
    draw = {"figure": partial(_draw_images, name=name, colour=COLOURS[place])}
    headlines = partial(_headlines, f"{name}: whitened images off the Gaussian limit", "whitened_rotation_excess")
    return Panel(name, [name], partial(_images, scale=scale, key=key), draw, _summarise_images, headlines)


@threadpool_limits.wrap(limits=1, user_api="blas")
def _images(name: str, _: Path, scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Held-out risks on whitened images (tied decoder) and on raw ones (best decoder), beside the Gaussian limits.

    Alternating descent sees the covariance: of all whitened images, the identity, and of the training half of the raw
    ones. SGD sees the training half itself, and overfits where it is small. The statistics that whiten, and
    the limits, are those of the whole set.
    """
    key_choice, key_split, key_run = jax.random.split(key, 3)
    images = load_images(name)
    if scale.num_images is not None and images.num_samples > scale.num_images:
        images = images.select(jax.random.permutation(key_choice, images.num_samples)[: scale.num_images])
    few_pixels = name == "digits"
    whitened, _ = whiten(images.samples, smallest_variance=_SMALLEST_VARIANCE)
    source = ImageSource(whitened, images.labels, whitened.shape[1:], name)
    sampled = scale.image_rates if few_pixels else _SLOW_SGD_RATES
    halves = source.split(source.num_samples // 2, key_split)
    rows = [_whitened_risks(source, *halves, rate, rate in sampled, scale, key_run) for rate in scale.image_rates]
    centred = images.samples - jnp.mean(images.samples, axis=0, keepdims=True)
    raw = ImageSource(centred / jnp.sqrt(jnp.mean(centred**2)), images.labels, images.image_shape, name)
    halves, dim = raw.split(raw.num_samples // 2, key_split), raw.input_dim
    units = [max(1, round(rate * dim)) for rate in (scale.image_rates if few_pixels else _RAW_RATES_OF_MANY_PIXELS)]
    raw_rows = [_raw_risks(raw, *halves, number, scale, key_run) for number in units]
    deviations = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(raw.covariance), 0))
    curve = np.geomspace(units[0] / 1.5, units[-1] * 1.5, 40)
    limit, limit_curve = (limits.water_filling(deviations, jnp.asarray(number)).risk for number in (units, curve))
    rates = np.asarray([row.pop("rate") for row in rows])
    return xarray.Dataset(
        {
            **{entry: ("rate", [row[entry] for row in rows]) for entry in rows[0]},
            "limit": ("rate", np.asarray(limits.gaussian(jnp.asarray(rates)))),
            **{entry: ("raw_rate", [row[entry] for row in raw_rows]) for entry in raw_rows[0]},
            "raw_limit": ("raw_rate", np.asarray(limit)),
            "raw_limit_curve": ("curve_rate", np.asarray(limit_curve)),
        },
        {"rate": rates, "raw_rate": np.asarray(units) / dim, "curve_rate": curve / dim},
        {"input_dim": dim, "whitened_dim": source.input_dim, "num_images": images.num_samples},
    )


def _whitened_risks(
    images: ImageSource,
    training: ImageSource,
    held_out: ImageSource,
    rate: float,
    sampled: bool,
    scale: Scale,
    key: Any,
) -> dict[str, float]:
    dim, num_units = images.input_dim, round(rate * images.input_dim)
    start = random_encoder(key, dim, num_units)
    problem = TwoLayerProblem(dim, num_units, "sign", "alternating", covariance=images.covariance)
    networks = {
        "held_out_rotation": limits.minimiser(key, jnp.ones(dim), num_units),
        "held_out_trained": tied_autoencoder(_descended(problem, start, scale).module.encoder),
    }
    if sampled:
        networks["held_out_sample_descent"] = tied_autoencoder(_by_samples(training, start, key, scale).module.encoder)
    risks = {entry: float(sampled_risk(network, held_out.samples).mean) for entry, network in networks.items()}
    return {"rate": num_units / dim, "held_out_sample_descent": math.nan} | risks


def _raw_risks(
    images: ImageSource, training: ImageSource, held_out: ImageSource, num_units: int, scale: Scale, key: PRNGKeyArray
) -> dict[str, float]:
    start = random_encoder(key, images.input_dim, num_units)
    problem = TwoLayerProblem(images.input_dim, num_units, "sign", "alternating", covariance=training.covariance)
    trained = _descended(problem, start, scale).module
    return {
        "raw_gaussian": float(population_risk(trained, images.covariance)),
        "raw_held_out": float(sampled_risk(trained, held_out.samples).mean),
    }


def _summarise_images(data: xarray.Dataset) -> dict[str, Any]:
    excess = {
        "whitened_trained_excess": data.held_out_trained - data.limit,
        "whitened_sample_descent_excess": data.held_out_sample_descent - data.limit,
        "whitened_rotation_excess": data.held_out_rotation - data.limit,
        "raw_gaussian_excess": data.raw_gaussian - data.raw_limit,
        "raw_held_out_excess": data.raw_held_out - data.raw_limit,
    }
    return _for_json({"rate": data.rate, "raw_rate": data.raw_rate} | data.attrs | excess)


def _sparse_panel(scale: Scale, key: PRNGKeyArray) -> Panel:
    headlines = partial(_headlines, "sparse: inputs, denoised: simulated off predicted", "denoised_excess")
    compute = partial(_sparse, scale=scale, key=key)
    return Panel("sparse", [4 * scale.dim], compute, {"figure": _draw_sparse}, _summarise_sparse, headlines)


@threadpool_limits.wrap(limits=1, user_api="blas")
def _sparse(dim: int, _: Path, scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Rotation, identity and denoiser at rate 1 over the sparsity: theory, and samples through a random rotation."""
    risks = {"rotation": limits.rotation_risk, "identity": limits.identity_risk, "denoised": limits.denoised_risk}
    curve = np.linspace(0.05, 1.0, 39)
    rotation = limits.minimiser(key, jnp.ones(dim), dim)

    def over(sparsities: Any, function: Any) -> Float[np.ndarray, "amplitudes sparsities ..."]:
        return np.array([[function(SparseSource(dim, q, law)) for q in sparsities] for law in AMPLITUDES], float)

    def sampled(source: SparseSource) -> list[float]:
        """With the linear decoder after a rotation, of the identity's signs, and with the denoiser."""
        samples = source.sample(key, scale.num_samples)
        codes = rotation.activation(samples @ rotation.encoder.T)
        outputs = (
            source.mean_absolute * rotation.activation(samples),
            limits.denoiser(source)(codes @ rotation.encoder),
        )
        errors = [float(jnp.mean((samples - output) ** 2)) for output in outputs]
        return [float(sampled_risk(rotation, samples).mean), *errors]

    simulated = over(SPARSITIES, sampled)
    variables = {name: (("amplitude", "curve_sparsity"), over(curve, risk)) for name, risk in risks.items()}
    for index, name in enumerate(risks):
        variables[f"simulated_{name}"] = (("amplitude", "sparsity"), simulated[..., index])
    variables["denoised_at_simulated"] = (("amplitude", "sparsity"), over(SPARSITIES, limits.denoised_risk))
    variables["critical_sparsity"] = ("amplitude", over((0.5,), limits.critical_sparsity)[:, 0])
    attributes = {"input_dim": dim, "num_samples": scale.num_samples, "amplitudes": list(AMPLITUDES)}
    return xarray.Dataset(variables, {"sparsity": list(SPARSITIES), "curve_sparsity": curve}, attributes)


def _summarise_sparse(data: xarray.Dataset) -> dict[str, Any]:
    excess = {"denoised_excess": data.simulated_denoised - data.denoised_at_simulated}
    return _for_json({"sparsity": data.sparsity, "critical_sparsity": data.critical_sparsity} | data.attrs | excess)


_GREY = "0.45"
_RISK = r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/d$"
_OPEN: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none"}
_LOOKS: dict[str, dict[str, Any]] = {
    "limit": {"linestyle": "-", "linewidth": 1.5, "label": "limit: isotropic, or water-filling"},
    "linear": {"linestyle": "--", "linewidth": 1.1, "label": "linear autoencoder (principal components)"},
    "shannon": {"linestyle": ":", "linewidth": 1.1, "label": "Shannon: any code of $n$ bits"},
    "descent": {
        "linestyle": "none", "marker": "o", "markersize": 4, "label": "alternating descent; (e) with the tied decoder"
    },
    "samples": {"linestyle": "none", "marker": "x", "markersize": 8, "label": "SGD on samples; (e) with the tied decoder"},
    "minimiser": _OPEN | {"marker": "D", "markersize": 9, "label": "constructed minimiser"},
    "square": _OPEN | {"marker": "s", "markersize": 5, "label": "(e) random rotation, (g) identity"},
    "triangle": _OPEN | {"marker": "^", "markersize": 7, "label": "(f) on held-out images, (g) denoised"},
}  # fmt: skip
"""How lines and marks look in all panels, and what they mean."""


def _plot(ax: Axes, horizontal: Any, vertical: Any, look: str, colour: str, **more: Any) -> None:
    ax.plot(horizontal, vertical, **_LOOKS[look] | {"label": None, "color": colour} | more)


def _draw_over_rate(ax: Axes, data: xarray.Dataset, colours: Sequence[str], title: str) -> None:
    """Limit, linear and Shannon as lines; minimisers and both descents as marks."""
    line, other, descent, sampled, minimiser = colours
    _plot(ax, data.curve_rate, data.limit_curve, "limit", line)
    _plot(ax, data.curve_rate, data.principal_components, "linear", other)
    _plot(ax, data.curve_rate, data.rate_distortion, "shannon", other)
    _plot(ax, data.rate, data.minimiser, "minimiser", minimiser)
    _plot(ax, data.rate, data.sample_descent, "samples", sampled)
    _plot(ax, data.rate, data.alternating.isel(step=-1).mean("seed"), "descent", descent)
    ax.set(xlabel="rate $r = n/d$", ylabel=_RISK, ylim=(0, 1), title=title)


def _draw_isotropic(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """Also the steps of descent, with the limit of each rate as a dashed line, and the line in the images' panel."""
    dim = data.attrs["input_dim"]
    _draw_over_rate(axes[0], data, ("black", _GREY, *COLOURS[:3]), f"isotropic, sign, $d={dim}$")
    for colour, rate in zip(COLOURS, (0.5, 0.8, 1.0, 1.5, 2.0), strict=False):
        runs = data.sel(rate=rate, method="nearest")
        axes[2].plot(data.step + 1, runs.alternating.T, color=colour, linewidth=1.2)
        axes[2].axhline(float(runs.limit), color=colour, linewidth=0.8, linestyle="--")
        axes[2].annotate(f"$r={rate:g}$", (1.05, float(runs.alternating[0, 0]) + 0.012), color=colour, fontsize=8)
    title = "alternating descent from Gaussian rows"
    axes[2].set(xscale="log", xlabel="step + 1", ylabel=_RISK, title=title)
    low = data.sel(curve_rate=data.curve_rate[data.curve_rate < 1.1])
    _plot(axes[4], low.curve_rate, low.limit_curve, "limit", "black")
    _draw_structure(axes[3], data, "isotropic", "units", 1)


def _draw_blocks(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    _draw_spectrum(axes[1], data, COLOURS[0], "blocks")
    _draw_structure(axes[3], data, "blocks", "directions", 0)


def _draw_power_law(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    _draw_spectrum(axes[1], data, COLOURS[1], "power law $1/j$")


def _draw_spectrum(ax: Axes, data: xarray.Dataset, colour: str, label: str) -> None:
    _draw_over_rate(ax, data, [colour] * 5, f"two other spectra, $d={data.attrs['input_dim']}$")
    ax.plot([], [], color=colour, label=label)
    ax.legend(frameon=False, fontsize=9)


def _draw_structure(ax: Axes, data: xarray.Dataset, name: str, gram: str, row: int) -> None:
    """Inner products of the rows or of the directions, before and after descent."""
    product = r"\tilde B\tilde B^\top" if gram == "units" else r"\tilde B^\top\tilde B"
    for column, when in enumerate(("before", "after")):
        inner = ax.inset_axes((0.5 * column, 0.52 * row, 0.46, 0.42), xticks=[], yticks=[])
        image = inner.imshow(data[f"{gram}_{when}"], cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
        inner.set_xlabel(f"{name}, $|{product}|$ {when}", fontsize=8)
    if row:
        ax.figure.colorbar(image, ax=ax, shrink=0.6, extend="max", location="right")
    ax.set_title(r"structure at $r=0.5$, $\tilde B=B\Sigma^{1/2}$")
    ax.set_axis_off()


def _draw_images(axes: Sequence[Axes], data: xarray.Dataset, name: str, colour: str) -> None:
    white, raw = axes[4], axes[5]
    _plot(white, data.rate, data.held_out_sample_descent, "samples", colour)
    _plot(white, data.rate, data.held_out_trained, "descent", colour)
    _plot(white, data.rate, data.held_out_rotation, "square", colour)
    white.plot([], [], color=colour, linewidth=4, label=f"{name}, {data.attrs['whitened_dim']} directions")
    white.set(title="whitened images, held out")
    _plot(raw, data.curve_rate, data.raw_limit_curve, "limit", colour, label=f"{name}, $d={data.attrs['input_dim']}$")
    _plot(raw, data.raw_rate, data.raw_gaussian, "descent", colour)
    _plot(raw, data.raw_rate, data.raw_held_out, "triangle", colour)
    raw.set(title="raw images, held out", xscale="log")
    for ax in (white, raw):
        ax.set(xlabel="rate $r = n/d$", ylabel=_RISK)
        ax.legend(frameon=False, fontsize=9)


def _draw_sparse(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """Risk over the sparsity at rate 1: rotation, identity and denoiser, theory as lines and samples as marks."""
    ax, rotation = axes[6], data.isel(amplitude=0)
    _plot(ax, data.curve_sparsity, rotation.rotation, "limit", "black")
    ax.annotate("rotation", (0.12, float(rotation.rotation[0]) + 0.015), fontsize=8)
    _plot(ax, data.sparsity, rotation.simulated_rotation, "descent", "black")
    for index, (colour, amplitude) in enumerate(zip(COLOURS, data.attrs["amplitudes"], strict=False)):
        row = data.isel(amplitude=index)
        for name, line, marker in (("identity", "--", "square"), ("denoised", "-", "triangle")):
            ax.plot(data.curve_sparsity, row[name], line, color=colour, linewidth=1.5, label=f"{amplitude}, {name}")
            _plot(ax, data.sparsity, row[f"simulated_{name}"], marker, colour, markersize=5)
        if (critical := float(row.critical_sparsity)) < 1:
            ax.axvline(critical, color=colour, linewidth=0.8, linestyle=":")
            ax.annotate("critical sparsity", (critical + 0.01, 0.98), color=colour, fontsize=8)
    title = f"sparse inputs at rate 1, $d={data.attrs['input_dim']}$"
    ax.set(xlabel="sparsity $q$", ylabel="risk", ylim=(0, 1.3), title=title)
    ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _decorate(axes: Sequence[Axes]) -> None:
    """What lines and marks mean in all panels."""
    for look in _LOOKS.values():
        axes[7].plot([], [], color="0.35", **look)
    axes[7].legend(loc="center", frameon=False, fontsize=10)
