"""The limits of two-layer autoencoders: gradient methods against theory, on Gaussian, image and sparse inputs.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468; K. Kögler et al., arXiv:2402.05013.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.plotting import COLOURS
from aetheory.reproduce import trajectories
from aetheory.reproduce.panel import Draw, Job, Panel, Rows, Sheet, Size
from aetheory.sources.images import DATA_FOLDER_VARIABLE

SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
AMPLITUDES = ("rademacher", "gaussian")
_SETS = ("digits", "mnist", "fashion-mnist", "cifar-10")
_SAMPLED_RATES = (0.5, 1.0, 2.0)
_SHOWN_RATE = 0.5  # the rate at which the structure of the encoder is drawn
_SLOW_SGD_RATES = (0.5,)  # rates of SGD on the larger sets, which take the most time
_RAW_RATES_OF_MANY_PIXELS = (0.03, 0.06, 0.125, 0.25)
_SUMMARY = ("rate", "raw_rate", "sparsity", "limit", "critical_sparsity")
_DESCENT_SUMMARY = (
    *_SUMMARY, "alternating_mean_excess", "alternating_largest_excess", "alternating_smallest_excess_of_any_step",
    "minimiser_excess", "sample_descent_excess",
    *(f"{name}_excess_over_prediction" for name in ("alternating", *trajectories.FLOWS)),
)  # fmt: skip
_IMAGE_SUMMARY = (
    *_SUMMARY, "whitened_trained_excess", "whitened_sample_descent_excess", "whitened_rotation_excess",
    "raw_gaussian_excess", "raw_held_out_excess",
)  # fmt: skip
_CURVE = np.linspace(0.05, 3.0, 60)
_SMALLEST_VARIANCE = 1e-3  # share of the largest; directions of smaller variance are left out of whitened images

Encoder = Float[Array, "units dim"]
Images = ae.ImageSource


class Scale(NamedTuple):
    """Dimension, number of starts, steps of alternating descent and of SGD, samples, and images of each set.

    Images are coded at `image_rates`; the tied and the joint flow are simulated at `flow_rates`.
    """

    dim: int
    rates: tuple[float, ...]
    num_seeds: int
    num_steps: int
    num_sample_steps: int
    num_samples: int
    num_images: int | None
    image_rates: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    flow_rates: tuple[float, ...] = (1.0,)


_SCALES: dict[Size, Scale] = {
    "default": Scale(40, (0.5, 1.0, 2.0), 2, 150, 400, 1000, None, (0.5, 1.0), ()),
    "standard": Scale(100, (0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0), 3, 300, 1000, 4000, 10_000),
    "full": Scale(500, (0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0), 3, 300, 3000, 10_000, None),
}


def job(size: Size, seed: int) -> Job:
    """Three spectra, sets of images, and sparse sources.

    The standard size takes the larger sets of images from the data folder where they are there; the full size also
    downloads them.
    """
    scale, dim = _SCALES[size], _SCALES[size].dim
    local = Path(os.environ.get(DATA_FOLDER_VARIABLE, "/nowhere"))
    sets = [
        one for one in _SETS if one == "digits" or size == "full" or (size == "standard" and (local / one).exists())
    ]
    spectra: dict[str, tuple[Any, Draw]] = {
        "isotropic": (jnp.ones(dim), _draw_isotropic),
        "blocks": (block_variances(dim), partial(_draw_spectrum, colour=COLOURS[0], label="blocks")),
        "power-law": (
            ae.GaussianSource.power_law(dim, 1.0).variances,
            partial(_draw_spectrum, colour=COLOURS[1], label="power law $1/j$"),
        ),
    }
    panels: list[Panel] = []

    def add(name: str, compute: Any, draw: Draw, summary: Sequence[str], text: str, variable: str) -> None:
        key = jax.random.fold_in(jax.random.key(seed), len(panels))
        rows = partial(_summary_rows, f"{name}: {text}, at most", variable)
        panels.append(Panel(name, partial(compute, scale=scale, key=key), {"figure": draw}, summary, rows))

    for name, (variances, draw) in spectra.items():
        text = "alternating descent above the limit"
        add(name, partial(descents, variances), draw, _DESCENT_SUMMARY, text, "alternating_mean_excess")
    for name, colour in zip(sets, COLOURS, strict=False):
        draw_images, text = partial(_draw_images, name=name, colour=colour), "whitened images off the Gaussian limit"
        add(name, partial(coded_images, name), draw_images, _IMAGE_SUMMARY, text, "whitened_rotation_excess")
    text = "inputs, denoised: simulated off predicted"
    add("sparse", sparse_inputs, _draw_sparse, (*_SUMMARY, "denoised_excess"), text, "denoised_excess")
    return Job("limits", panels, {"figure": Sheet((2, 4), (16.5, 8.2), decorate=_decorate)})


def block_variances(dim: int) -> Float[Array, " dim"]:
    """Variances 2.5, .7, .1 in shares 30, 30, 40 % of the directions, with mean 1."""
    share = round(0.3 * dim)
    variances = jnp.concatenate([jnp.full(share, 2.5), jnp.full(share, 0.7), jnp.full(dim - 2 * share, 0.1)])
    return variances / jnp.mean(variances)


def descents(variances: Float[Array, " dim"], scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Alternating descent, constructed minimisers, and on isotropic inputs SGD, beside the limits, over the rate."""
    dim, units = scale.dim, [round(rate * scale.dim) for rate in scale.rates]
    problems = [ae.TwoLayerProblem(dim, number, "sign", "alternating", variances) for number in units]
    alternating, minimisers, sampled, flows, structure = [], [], [], [], {}
    for problem, num_units in zip(problems, units, strict=True):
        keys = jax.random.split(jax.random.fold_in(key, num_units), scale.num_seeds)
        starts = [ae.two_layer.random_encoder(one, dim, num_units) for one in keys]
        runs = [_descend(problem, start, scale) for start in starts]
        alternating.append([run.risk for run in runs])
        built = ae.limits.minimiser(keys[0], variances, num_units).encoder
        minimisers.append(float(ae.two_layer.optimal_risk(built, "sign", variances)))
        sampled.append(math.nan)
        if problem.is_isotropic:
            flows.append(trajectories.simulate_flows(problem, starts[0], scale.flow_rates))
            if problem.rate in _SAMPLED_RATES:
                sampled[-1] = float(_by_samples(ae.GaussianSource(variances), starts[0], keys[0], scale).risk[-1])
        if problem.rate == _SHOWN_RATE:
            structure = _structure(variances, before=starts[0], after=runs[0].module.encoder)

    def limit(number: Any) -> Float[np.ndarray, " rates"]:
        problem = dataclasses.replace(problems[0], num_units=jnp.asarray(number))
        return np.asarray(ae.predict(problem, [0], "water-filling").risk[:, 0])

    linear = ae.limits.principal_components(variances, dim * _CURVE)
    shannon = ae.limits.rate_distortion(variances, _CURVE)
    data = xarray.Dataset(
        _over("rate", minimiser=minimisers, sample_descent=sampled, limit=limit(units))
        | _over("curve_rate", limit_curve=limit(dim * _CURVE), principal_components=linear, rate_distortion=shannon)
        | _over(("rate", "seed", "step"), alternating=alternating)
        | structure,
        {"rate": np.asarray(units) / dim, "curve_rate": _CURVE, "step": np.arange(scale.num_steps + 1)},
        {"input_dim": dim},
    )
    last = data.alternating.isel(step=-1)
    data = data.assign(
        alternating_mean_excess=last.mean("seed") - data.limit,
        alternating_largest_excess=last.max("seed") - data.limit,
        alternating_smallest_excess_of_any_step=data.alternating.min(("seed", "step")) - data.limit,
        minimiser_excess=data.minimiser - data.limit,
        sample_descent_excess=data.sample_descent - data.limit,
    )
    return trajectories.with_predictions(data, problems, flows) if flows else data


def _over(dims: Any, **values: Any) -> dict[str, Any]:
    """Variables over the same dimensions."""
    return {name: (dims, np.asarray(array)) for name, array in values.items()}


def _descend(problem: ae.TwoLayerProblem, start: Encoder, scale: Scale) -> ae.Curve:
    """Alternating descent from a given encoder."""
    steps = np.arange(scale.num_steps + 1)
    return ae.simulate(dataclasses.replace(problem, start=start), steps, jax.random.key(0), return_module=True)


def _by_samples(source: Any, start: Encoder, key: PRNGKeyArray, scale: Scale) -> ae.Curve:
    """SGD on samples from a given encoder."""
    num_units, dim = start.shape
    problem = ae.TwoLayerProblem(dim, num_units, "sign", "sgd", source=source, start=start)
    return ae.simulate(problem, [scale.num_sample_steps], key, return_module=True)


def _structure(variances: Float[Array, " dim"], **encoders: Encoder) -> dict[str, Any]:
    """|B̃ B̃ᵀ| and |B̃ᵀ B̃| of the rows B̃ = B Σ^{1/2} at unit length."""
    found = {}
    for when, encoder in encoders.items():
        scaled = np.asarray(encoder) * np.sqrt(np.asarray(variances))
        scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
        found[f"units_{when}"] = (("unit", "other_unit"), np.abs(scaled @ scaled.T))
        found[f"directions_{when}"] = (("direction", "other_direction"), np.abs(scaled.T @ scaled))
    return found


def _summary_rows(text: str, variable: str, data: xarray.Dataset) -> Rows:
    """The largest absolute value of a variable."""
    yield text, f"{float(abs(data[variable]).max()):.4f}"


def coded_images(name: str, scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Held-out risks on whitened images (tied decoder) and on raw ones (best decoder), beside the Gaussian limits.

    Alternating descent sees the covariance: of all whitened images, the identity, and of the training half of the raw
    ones. SGD sees the training half itself, and overfits where it is small. The statistics that whiten, and
    the limits, are those of the whole set.
    """
    key_choice, key_split, key_run = jax.random.split(key, 3)
    images, few_pixels = ae.load_images(name), name == "digits"
    if scale.num_images is not None and images.num_samples > scale.num_images:
        images = images.select(jax.random.permutation(key_choice, images.num_samples)[: scale.num_images])
    whitened, _whitening = ae.sources.whiten(images.samples, smallest_variance=_SMALLEST_VARIANCE)
    white = Images(whitened, images.labels, whitened.shape[1:], name)
    halves = white.split(white.num_samples // 2, key_split)
    sampled = scale.image_rates if few_pixels else _SLOW_SGD_RATES
    rows = [_whitened(white, *halves, rate, rate in sampled, scale, key_run) for rate in scale.image_rates]
    centred = images.samples - jnp.mean(images.samples, axis=0, keepdims=True)
    raw = Images(centred / jnp.sqrt(jnp.mean(centred**2)), images.labels, images.image_shape, name)
    dim, halves = raw.input_dim, raw.split(raw.num_samples // 2, key_split)
    units = [max(1, round(rate * dim)) for rate in (scale.image_rates if few_pixels else _RAW_RATES_OF_MANY_PIXELS)]
    raw_rows = [_raw(raw, *halves, number, scale, key_run) for number in units]
    deviations = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(raw.covariance), 0))
    curve = np.geomspace(units[0] / 1.5, units[-1] * 1.5, 40)
    limit, limit_curve = (ae.limits.water_filling(deviations, jnp.asarray(number)).risk for number in (units, curve))
    rates = np.asarray([row.pop("rate") for row in rows])
    data = xarray.Dataset(
        _over("rate", limit=ae.limits.gaussian(jnp.asarray(rates)), **{k: [row[k] for row in rows] for k in rows[0]})
        | _over("raw_rate", raw_limit=limit, **{k: [row[k] for row in raw_rows] for k in raw_rows[0]})
        | _over("curve_rate", raw_limit_curve=limit_curve),
        {"rate": rates, "raw_rate": np.asarray(units) / dim, "curve_rate": curve / dim},
        {"input_dim": dim, "whitened_dim": white.input_dim, "num_images": images.num_samples},
    )
    names = ("trained", "sample_descent", "rotation")
    excess = {f"whitened_{name}_excess": data[f"held_out_{name}"] - data.limit for name in names}
    return data.assign({f"{k}_excess": data[k] - data.raw_limit for k in raw_rows[0]} | excess)


def _whitened(
    images: Images, training: Images, held_out: Images, rate: float, sampled: bool, scale: Scale, key: PRNGKeyArray
) -> dict[str, float]:
    dim, num_units = images.input_dim, round(rate * images.input_dim)
    start = ae.two_layer.random_encoder(key, dim, num_units)
    problem = ae.TwoLayerProblem(dim, num_units, "sign", "alternating", covariance=images.covariance)
    networks = {"rotation": ae.limits.minimiser(key, jnp.ones(dim), num_units)}
    trained = {"trained": _descend(problem, start, scale)}
    if sampled:
        trained["sample_descent"] = _by_samples(training, start, key, scale)
    networks |= {name: ae.two_layer.tied_autoencoder(run.module.encoder) for name, run in trained.items()}
    risks = {f"held_out_{name}": _sampled(network, held_out.samples) for name, network in networks.items()}
    return {"rate": num_units / dim, "held_out_sample_descent": math.nan} | risks


def _raw(
    images: Images, training: Images, held_out: Images, num_units: int, scale: Scale, key: PRNGKeyArray
) -> dict[str, float]:
    start = ae.two_layer.random_encoder(key, images.input_dim, num_units)
    problem = ae.TwoLayerProblem(images.input_dim, num_units, "sign", "alternating", covariance=training.covariance)
    trained = _descend(problem, start, scale).module
    exact = float(ae.population_risk(trained, images.covariance))
    return {"raw_gaussian": exact, "raw_held_out": _sampled(trained, held_out.samples)}


def _sampled(network: Any, samples: Float[Array, "samples dim"]) -> float:
    return float(ae.two_layer.sampled_risk(network, samples).mean)


def sparse_inputs(scale: Scale, key: PRNGKeyArray) -> xarray.Dataset:
    """Rotation, identity and denoiser at rate 1 over the sparsity: theory, and samples through a random rotation."""
    limits, dim = ae.limits, 4 * scale.dim
    risks = {"rotation": limits.rotation_risk, "identity": limits.identity_risk, "denoised": limits.denoised_risk}
    curve, rotation = np.linspace(0.05, 1.0, 39), limits.minimiser(key, jnp.ones(dim), dim)

    def over(sparsities: Any, function: Callable[[ae.SparseSource], Any]) -> Float[np.ndarray, "..."]:
        return np.array([[function(ae.SparseSource(dim, q, law)) for q in sparsities] for law in AMPLITUDES], float)

    def sampled(source: ae.SparseSource) -> list[float]:
        """With the linear decoder after a rotation, of the identity's signs, and with the denoiser."""
        samples = source.sample(key, scale.num_samples)
        rotated = rotation.activation(samples @ rotation.encoder.T) @ rotation.encoder
        outputs = (source.mean_absolute * rotation.activation(samples), limits.denoiser(source)(rotated))
        return [_sampled(rotation, samples), *(float(jnp.mean((samples - output) ** 2)) for output in outputs)]

    columns = np.moveaxis(over(SPARSITIES, sampled), -1, 0)
    simulated = {f"simulated_{name}": column for name, column in zip(risks, columns, strict=True)}
    expected = over(SPARSITIES, limits.denoised_risk)
    simulated |= {"denoised_at_simulated": expected, "denoised_excess": simulated["simulated_denoised"] - expected}
    return xarray.Dataset(
        _over(("amplitude", "curve_sparsity"), **{name: over(curve, risk) for name, risk in risks.items()})
        | _over(("amplitude", "sparsity"), **simulated)
        | _over("amplitude", critical_sparsity=over((0.5,), limits.critical_sparsity)[:, 0]),
        {"sparsity": list(SPARSITIES), "curve_sparsity": curve},
        {"input_dim": dim, "num_samples": scale.num_samples, "amplitudes": list(AMPLITUDES)},
    )


_RISK = r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/d$"
_LOOKS = {
    "limit": ("-", 0, "limit: isotropic, or water-filling"),
    "linear": ("--", 0, "linear autoencoder (principal components)"),
    "shannon": (":", 0, "Shannon: any code of $n$ bits"),
    "descent": ("o", 4, "alternating descent; (e) with the tied decoder"),
    "samples": ("x", 8, "SGD on samples; (e) with the tied decoder"),
    "minimiser": ("D", 9, "constructed minimiser"),
    "square": ("s", 5, "(e) random rotation, (g) identity"),
    "triangle": ("^", 7, "(f) on held-out images, (g) denoised"),
}
"""Lines and marks of all panels, the sizes of these, and what they mean."""


def _plot(ax: Axes, values: Any, look: str, colour: str, label: str | None = None) -> None:
    """Values over their own coordinate."""
    (mark, size, _), over = _LOOKS[look], getattr(values, "dims", [None])[0]
    filled = colour if mark in "ox-:" else "none"
    horizontal = values if over is None else values[over]
    ax.plot(horizontal, values, mark, color=colour, markersize=size, markerfacecolor=filled, label=label)


def _draw_over_rate(ax: Axes, data: xarray.Dataset, colours: Sequence[str], title: str) -> None:
    """Limit, linear and Shannon as lines; both descents and minimisers as marks."""
    lines = (data.limit_curve, data.principal_components, data.rate_distortion)
    marks = (data.alternating.isel(step=-1).mean("seed"), data.sample_descent, data.minimiser)
    for values, look, colour in zip((*lines, *marks), _LOOKS, colours, strict=False):
        _plot(ax, values, look, colour)
    ax.set(xlabel="rate $r = n/d$", ylabel=_RISK, ylim=(0, 1), title=title)


def _draw_isotropic(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """Also three trainings along their predictions, down to the limit of each rate, and the line of the images."""
    colours = ("black", "0.45", "0.45", *COLOURS[:3])
    _draw_over_rate(axes[0], data, colours, f"isotropic, sign, $d={data.attrs['input_dim']}$")
    trajectories.draw(axes[2], data)
    _plot(axes[4], data.limit_curve[data.curve_rate < 1.1], "limit", "black")
    _draw_structure(axes[3], data, "isotropic", "units", 1)


def _draw_spectrum(axes: Sequence[Axes], data: xarray.Dataset, colour: str, label: str) -> None:
    _draw_over_rate(axes[1], data, [colour] * 6, f"two other spectra, $d={data.attrs['input_dim']}$")
    axes[1].plot([], [], color=colour, label=label)
    if label == "blocks":
        _draw_structure(axes[3], data, "blocks", "directions", 0)


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
    for values, look in (("sample_descent", "samples"), ("trained", "descent"), ("rotation", "square")):
        _plot(white, data[f"held_out_{values}"], look, colour)
    white.plot([], [], color=colour, linewidth=4, label=f"{name}, {data.attrs['whitened_dim']} directions")
    _plot(raw, data.raw_limit_curve, "limit", colour, f"{name}, $d={data.attrs['input_dim']}$")
    _plot(raw, data.raw_gaussian, "descent", colour)
    _plot(raw, data.raw_held_out, "triangle", colour)
    raw.set_xscale("log")
    raw.set_xticks([0.25, 0.5, 1.0], ["0.25", "0.5", "1"])
    raw.minorticks_off()
    for ax, title in ((white, "whitened images, held out"), (raw, "raw images, held out")):
        ax.set(xlabel="rate $r = n/d$", ylabel=_RISK, title=title)


def _draw_sparse(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """Risk over the sparsity at rate 1: rotation, identity and denoiser, theory as lines and samples as marks."""
    ax, first = axes[6], data.isel(amplitude=0)
    _plot(ax, first.rotation, "limit", "black")
    _plot(ax, first.simulated_rotation, "descent", "black")
    ax.annotate("rotation", (0.12, float(first.rotation[0]) + 0.015), fontsize=8)
    for index, (colour, amplitude) in enumerate(zip(COLOURS, data.attrs["amplitudes"], strict=False)):
        row = data.isel(amplitude=index)
        for name, line, mark in (("identity", "linear", "square"), ("denoised", "limit", "triangle")):
            _plot(ax, row[name], line, colour, f"{amplitude}, {name}")
            _plot(ax, row[f"simulated_{name}"], mark, colour)
        if (critical := float(row.critical_sparsity)) < 1:
            ax.axvline(critical, color=colour, linewidth=0.8, linestyle=":")
            ax.annotate("critical sparsity", (critical + 0.01, 0.98), color=colour, fontsize=8)
    title = f"sparse inputs at rate 1, $d={data.attrs['input_dim']}$"
    ax.set(xlabel="sparsity $q$", ylabel="risk", ylim=(0, 1.3), title=title)
    ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _decorate(axes: Sequence[Axes]) -> None:
    """What lines and marks mean in all panels."""
    for look, (_, _, meaning) in _LOOKS.items():
        _plot(axes[7], [], look, "0.35", meaning)
    drawn = {line.get_marker() for line in axes[2].lines}
    for meaning, mark in trajectories.FLOWS.items():
        if mark in drawn:
            axes[7].plot([], [], mark, color="0.35", markerfacecolor="none", markersize=4, label=f"(c) {meaning} flow")
    axes[7].legend(loc="center", frameon=False, fontsize=10)
