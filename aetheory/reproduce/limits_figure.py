"""The figure of the limits of two-layer autoencoders."""

from typing import Any

import xarray
from matplotlib.figure import Figure

from aetheory.plotting import COLOURS

_SPECTRA = {"blocks": COLOURS[0], "power-law": COLOURS[1]}
_GREY = "0.45"


def draw(results: dict[str, xarray.Dataset]) -> Figure:
    """Seven panels: rates, spectra, steps, structure; whitened images, raw images, sparse sources."""
    figure = Figure(figsize=(16.5, 8.2), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    axes = [figure.add_subplot(grid[row, column]) for row, column in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))]
    images = {name: data for name, data in results.items() if "held_out_trained" in data}
    dim = results["isotropic"].attrs["input_dim"]
    draw_rates(axes[0], results["isotropic"])
    axes[0].set_title(f"(a) isotropic, sign, $d={dim}$", loc="left", fontsize=10)
    draw_spectra(axes[1], results)
    axes[1].set_title(f"(b) two other spectra, $d={dim}$", loc="left", fontsize=10)
    draw_steps(axes[2], results["isotropic"])
    axes[2].set_title("(c) alternating descent from Gaussian rows", loc="left", fontsize=10)
    draw_structure(figure.add_subfigure(grid[0, 3]), results)
    _draw_whitened(axes[3], images, results["isotropic"])
    axes[3].set_title("(e) whitened images, held out", loc="left", fontsize=10)
    _draw_raw(axes[4], images)
    axes[4].set_title("(f) raw images, held out", loc="left", fontsize=10)
    draw_sparse(axes[5], results["sparse"])
    axes[5].set_title(
        f"(g) sparse inputs at rate 1, $d={results['sparse'].attrs['input_dim']}$", loc="left", fontsize=10
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    for ax in (axes[0], axes[1], axes[2], axes[3], axes[4]):
        ax.set_ylabel(r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/d$")
    draw_key(figure.add_subplot(grid[1, 3]))
    return figure


def draw_rates(ax: Any, data: xarray.Dataset) -> None:
    """Risk over the rate on isotropic inputs: limit, linear, Shannon; minimisers and both descents as marks."""
    ax.plot(data.curve_rate, data.limit_curve, color="black", linewidth=1.5)
    ax.plot(data.curve_rate, data.principal_components, color=_GREY, linewidth=1.2, linestyle="--")
    ax.plot(data.curve_rate, data.rate_distortion, color=_GREY, linewidth=1.2, linestyle=":")
    last = data.alternating.isel(step=-1)
    ax.plot(
        data.rate, data.minimiser, linestyle="none", marker="D", markersize=9, color=COLOURS[2], markerfacecolor="none"
    )
    ax.plot(data.rate, data.sample_descent, linestyle="none", marker="x", markersize=8, color=COLOURS[1])
    ax.plot(data.rate, last.mean("seed"), linestyle="none", marker="o", markersize=4, color=COLOURS[0])
    ax.set_xlabel("rate $r = n/d$")
    ax.set_ylim(0, 1)


def draw_spectra(ax: Any, results: dict[str, xarray.Dataset]) -> None:
    """Risk over the rate for block and power-law spectra, the marks as in `draw_rates`."""
    for name, colour in _SPECTRA.items():
        data = results[name]
        ax.plot(
            data.curve_rate,
            data.limit_curve,
            color=colour,
            linewidth=1.5,
            label=name.replace("power-law", "power law $1/j$"),
        )
        ax.plot(data.curve_rate, data.principal_components, color=colour, linewidth=1, linestyle="--", alpha=0.6)
        ax.plot(data.curve_rate, data.rate_distortion, color=colour, linewidth=1, linestyle=":", alpha=0.8)
        ax.plot(
            data.rate, data.minimiser, linestyle="none", marker="D", markersize=9, color=colour, markerfacecolor="none"
        )
        last = data.alternating.isel(step=-1).mean("seed")
        ax.plot(data.rate, last, linestyle="none", marker="o", markersize=4, color=colour)
    ax.set_xlabel("rate $r = n/d$")
    ax.set_ylim(0, 1)
    ax.legend(frameon=False, fontsize=9)


def draw_steps(ax: Any, data: xarray.Dataset) -> None:
    """Risk of alternating descent over its steps, the limit of each rate as a dashed line."""
    for colour, rate in zip(COLOURS, (0.5, 0.8, 1.0, 1.5, 2.0), strict=False):
        runs = data.sel(rate=rate, method="nearest")
        ax.plot(data.step + 1, runs.alternating.T, color=colour, linewidth=1.2)
        ax.axhline(float(runs.limit), color=colour, linewidth=0.8, linestyle="--")
        ax.annotate(f"$r={rate:g}$", (1.05, float(runs.alternating[0, 0]) + 0.012), color=colour, fontsize=8)
    ax.set_xscale("log")
    ax.set_xlabel("step + 1")


def draw_structure(part: Any, results: dict[str, xarray.Dataset]) -> None:
    """Inner products of the rows and of the directions, before and after descent."""
    axes = part.subplots(2, 2)
    for row, (name, gram) in zip(axes, (("isotropic", "units"), ("blocks", "directions")), strict=True):
        for ax, when in zip(row, ("before", "after"), strict=True):
            image = ax.imshow(results[name][f"{gram}_{when}"], cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            product = r"\tilde B\tilde B^\top" if gram == "units" else r"\tilde B^\top\tilde B"
            ax.set_xlabel(f"{name}, $|{product}|$ {when}", fontsize=8)
    part.colorbar(image, ax=axes, shrink=0.6, extend="max", location="right")
    part.suptitle(r"(d) structure at $r=0.5$, $\tilde B=B\Sigma^{1/2}$", fontsize=10, x=0.02, ha="left")


def _draw_whitened(ax: Any, images: dict[str, xarray.Dataset], isotropic: xarray.Dataset) -> None:
    curve = isotropic.sel(curve_rate=isotropic.curve_rate[isotropic.curve_rate < 1.1])
    ax.plot(curve.curve_rate, curve.limit_curve, color="black", linewidth=1.5)
    for colour, (name, data) in zip(COLOURS, images.items(), strict=False):
        ax.plot(data.rate, data.held_out_sample_descent, linestyle="none", marker="x", markersize=8, color=colour)
        ax.plot(data.rate, data.held_out_trained, linestyle="none", marker="o", markersize=4, color=colour)
        ax.plot(
            data.rate,
            data.held_out_rotation,
            linestyle="none",
            marker="s",
            markersize=5,
            color=colour,
            markerfacecolor="none",
        )
        ax.plot([], [], color=colour, linewidth=4, label=f"{name}, {data.attrs['whitened_dim']} directions")
    ax.set_xlabel("rate $r = n/d$")
    ax.legend(frameon=False, fontsize=9)


def _draw_raw(ax: Any, images: dict[str, xarray.Dataset]) -> None:
    for colour, (name, data) in zip(COLOURS, images.items(), strict=False):
        ax.plot(
            data.curve_rate,
            data.raw_limit_curve,
            color=colour,
            linewidth=1.5,
            label=f"{name}, $d={data.attrs['input_dim']}$",
        )
        ax.plot(data.raw_rate, data.raw_gaussian, linestyle="none", marker="o", markersize=4, color=colour)
        ax.plot(
            data.raw_rate,
            data.raw_held_out,
            linestyle="none",
            marker="^",
            markersize=7,
            color=colour,
            markerfacecolor="none",
        )
    ax.set_xscale("log")
    ax.set_xlabel("rate $r = n/d$")
    ax.legend(frameon=False, fontsize=9)


def draw_sparse(ax: Any, data: xarray.Dataset) -> None:
    """Risk over the sparsity at rate 1: rotation, identity and denoiser, theory as lines and samples as marks."""
    rotation = data.rotation.isel(amplitude=0)
    ax.plot(data.curve_sparsity, rotation, color="black", linewidth=1.5)
    ax.annotate("rotation", (0.12, float(rotation[0]) + 0.015), fontsize=8)
    ax.plot(
        data.sparsity,
        data.simulated_rotation.isel(amplitude=0),
        linestyle="none",
        marker="o",
        markersize=4,
        color="black",
    )
    for index, (colour, amplitude) in enumerate(zip(COLOURS, data.attrs["amplitudes"], strict=False)):
        row = data.isel(amplitude=index)
        for name, line, marker in (("identity", "--", "s"), ("denoised", "-", "^")):
            ax.plot(
                data.curve_sparsity,
                row[name],
                color=colour,
                linewidth=1.5,
                linestyle=line,
                label=f"{amplitude}, {name}",
            )
            ax.plot(
                data.sparsity,
                row[f"simulated_{name}"],
                linestyle="none",
                marker=marker,
                markersize=5,
                color=colour,
                markerfacecolor="none",
            )
        critical = float(row.critical_sparsity)
        if critical < 1:
            ax.axvline(critical, color=colour, linewidth=0.8, linestyle=":")
            ax.annotate("critical sparsity", (critical + 0.01, 0.98), color=colour, fontsize=8)
    ax.set_xlabel("sparsity $q$")
    ax.set_ylabel("risk")
    ax.set_ylim(0, 1.3)
    ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def draw_key(ax: Any) -> None:
    """What lines and marks mean in all panels."""
    grey = "0.35"
    entries: list[tuple[str, dict[str, Any]]] = [
        ("limit: isotropic, or water-filling", {"linestyle": "-"}),
        ("linear autoencoder (principal components)", {"linestyle": "--"}),
        ("Shannon: any code of $n$ bits", {"linestyle": ":"}),
        ("alternating descent; (e) with the tied decoder", {"linestyle": "none", "marker": "o", "markersize": 4}),
        ("SGD on samples; (e) with the tied decoder", {"linestyle": "none", "marker": "x", "markersize": 8}),
        ("constructed minimiser", {"linestyle": "none", "marker": "D", "markersize": 9, "markerfacecolor": "none"}),
        (
            "(e) random rotation, (g) identity",
            {"linestyle": "none", "marker": "s", "markersize": 5, "markerfacecolor": "none"},
        ),
        (
            "(f) on held-out images, (g) denoised",
            {"linestyle": "none", "marker": "^", "markersize": 7, "markerfacecolor": "none"},
        ),
    ]
    for label, look in entries:
        ax.plot([], [], color=grey, label=label, **look)
    ax.legend(loc="center", frameon=False, fontsize=10)
    ax.set_axis_off()
