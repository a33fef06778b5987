"""Figures of a finished or unfinished sweep: what it computed along its axes, and theory against simulation."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aetheory.core.checks import fail
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.plotting.axes import COLOURS

_MAX_SHOWN = 6
"""Largest number of panels, and of lines in a panel."""


def curves_figure(sweeps: dict[str, xarray.Dataset], variable: str = "population") -> Figure:
    """A result against time (or its own dimension): a panel for each value of an axis, a colour for each of another.

    Simulations are dots with an error bar of one standard deviation over the repeats, anything else is lines; further
    axes are cut in their middle.

    Arguments:
        sweeps: datasets of one grid by the name of their function, "simulate" or another.
        variable: which result.

    Raises:
        ValueError: no dataset has the variable, or it has no dimension besides the grid's.
    """
    datasets = {name: _mean(data[variable]) for name, data in sweeps.items() if variable in data}
    own = [
        dim for mean, _ in datasets.values() for dim in mean.dims if dim not in _grid_dims(next(iter(sweeps.values())))
    ]
    if not own:
        raise fail("variable", "a result of the sweep with a dimension besides the grid's", variable)
    first = next(iter(sweeps.values()))
    panel, *others = _grid_dims(first)
    others.sort(key=lambda dim: first.sizes[dim])
    cut = {dim: first.sizes[dim] // 2 for dim in others[:-1]}
    lines = [{dim: place} for dim in others[-1:] for place in _spread(first.sizes[dim])] or [{}]
    figure, axes = _panels(places := _spread(first.sizes[panel]))
    for ax, place in zip(axes, places, strict=True):
        for line, colour in zip(lines, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(lines))), strict=True):
            for name, (mean, spread) in datasets.items():
                values, bar = (one.isel({panel: place, **cut, **line}) for one in (mean, spread))
                along = np.asarray(values[own[0]])
                look = {"fmt": ".", "markevery": 3, "errorevery": 3} if name == "simulate" else {"fmt": "-"}
                label = _value(first, line) if name == [*datasets][-1] else None
                ax.errorbar(along, values, bar if bar.any() else None, color=colour, label=label, **look)
        ax.set_title(_value(first, {panel: place}), fontsize=9)
        ax.set_xlabel(own[0])
        if along.min() > 0 and along.max() > 100 * along.min():
            ax.set_xscale("log")
    axes[0].set_ylabel(variable)
    if others:
        axes[0].legend(fontsize=7, frameon=False)
    figure.suptitle(_value(first, cut), fontsize=9)
    return figure


def deviation_figure(simulation: xarray.Dataset, theory: xarray.Dataset, variable: str = "population") -> Figure:
    """The largest deviation of theory from the mean simulation over time, as a share of max(1, initial risk).

    A heat map over the last two axes of the grid for each value of the first, the largest over any other.

    Raises:
        ValueError: the two are not of one grid.
    """
    mean, _ = _mean(simulation[variable])
    if mean.sizes != theory[variable].sizes:
        raise fail("theory", f"of the grid {dict(mean.sizes)}", dict(theory.sizes))
    deviation = (abs(theory[variable] - mean) / np.maximum(1, mean.isel(time=0))).max("time")
    while deviation.ndim < 3:
        deviation = deviation.expand_dims(f"axis_{deviation.ndim}")
    deviation = deviation.transpose(*(dim for dim in deviation.dims if str(dim).startswith("axis_")), ...)
    deviation = deviation.max(deviation.dims[1:-2])
    figure, axes = _panels(places := _spread(len(deviation)))
    norm = LogNorm(1e-4, max(2e-4, float(deviation.max())))
    for ax, place in zip(axes, places, strict=True):
        image = ax.imshow(deviation[place], norm=norm, cmap="magma", origin="lower", aspect="auto")
        ax.set(xlabel=f"{deviation.dims[2]}, place along its axis", ylabel=deviation.dims[1])
        ax.set_title(_value(theory, {deviation.dims[0]: place}), fontsize=9)
    figure.colorbar(image, ax=axes, label="largest |theory − simulation|")
    return figure


def location_figure(dataset: xarray.Dataset, most: int = 1000) -> Figure:
    """Where each problem of the grid lies: its x, y and z, coloured by the nearest face of the prism.

    Arguments:
        dataset: a sweep over linear problems.
        most: how many problems to draw at most, spread evenly.

    Raises:
        ValueError: its grid does not span linear problems.
    """
    names = [str(name) for name, values in dataset.coords.items() if name not in ("time", "repeat", "regime")]
    spread = xarray.broadcast(*(dataset[name] for name in names))
    columns = {name: np.ravel(values) for name, values in zip(names, spread, strict=True)}
    problems = []
    for place in np.unique(np.linspace(0, len(columns[names[0]]) - 1, most).astype(int)):
        cell = {name: values[place].item() for name, values in columns.items()}
        problems.append(LinearProblem.from_parameters(cell))
    regimes = [locate(problem).regime for problem in problems]
    ratios = [(float(one.init_scale), float(one.latent_ratio), float(one.sample_ratio)) for one in problems]
    figure = plt.figure(figsize=(6.5, 5), layout="constrained")
    ax = figure.add_subplot(projection="3d")
    for regime, colour in zip(sorted(set(regimes)), COLOURS, strict=False):
        points = np.log10(np.maximum([one for one, name in zip(ratios, regimes, strict=True) if name == regime], 1e-4))
        ax.scatter(*points.T, color=colour, s=14, label=f"{regime}: {len(points)}")
    ax.set(xlabel=r"$\log_{10} p\sigma^2$", ylabel=r"$\log_{10} H/p$", zlabel=r"$\log_{10} p/N$")
    ax.set_title(f"closest face of the prism, {len(problems)} problems", fontsize=10)
    ax.legend(fontsize=8)
    return figure


def _mean(values: xarray.DataArray) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Mean and standard deviation over the repeats, if there are any."""
    return (values.mean("repeat"), values.std("repeat")) if "repeat" in values.dims else (values, 0 * values)


def _grid_dims(dataset: xarray.Dataset) -> list[str]:
    """The axes of the grid, which every result has; first one whose values are words or several parameters."""
    shared = set.intersection(*(set(values.dims) for values in dataset.data_vars.values())) - {"repeat", "time"}
    order = [str(dim) for dim in next(iter(dataset.data_vars.values())).dims if dim in shared]
    return sorted(order, key=lambda dim: dim in dataset.coords and dataset[dim].dtype.kind not in "OUT")


def _spread(size: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, size - 1, min(size, _MAX_SHOWN))})


def _panels(places: list[int]) -> tuple[Figure, Any]:
    count = len(places)
    figure, axes = plt.subplots(1, count, figsize=(3.2 * count + 1, 3.2), squeeze=False, layout="constrained")
    return figure, axes[0]


def _value(dataset: xarray.Dataset, places: dict[Any, int]) -> str:
    """The parameters at some places of the axes, in words."""
    along = [(name, values) for name, values in dataset.coords.items() if values.dims and values.dims[0] in places]
    found = [(name, values[places[values.dims[0]]].item()) for name, values in along]
    return ", ".join(f"{name} {value if isinstance(value, str) else f'{value:.3g}'}" for name, value in found)
