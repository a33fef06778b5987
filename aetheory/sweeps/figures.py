"""Figures of a finished or unfinished sweep: what it computed along its axes, and theory against simulation."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aetheory.linear.faces import FACES
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.plotting import COLOURS
from aetheory.sweeps.prism import problem_columns

_MOST_LINES = 6
_MOST_PANELS = 6
_LOOK = {"train": "-", "population": "--"}


def curves_figure(sweeps: dict[str, xarray.Dataset], variable: str = "population") -> Figure:
    """A result against time (or its own dimension): a panel for each value of an axis, a colour for each of another.

    The panels are of an axis whose values are words, or along which several parameters vary together, where there is
    one, and otherwise of the first; the colours are of the longest of the others.

    Simulations are dots with a band of one standard deviation over the repeats, anything else is lines; further axes
    are cut in their middle.

    Arguments:
        sweeps: datasets of one grid by the name of their function, "simulate" or another.
        variable: which result.

    Raises:
        ValueError: no dataset has the variable, or it has no dimension besides the grid's.
    """
    datasets = {name: data for name, data in sweeps.items() if variable in data}
    if not datasets:
        raise ValueError(f"Argument `variable` must be a result of the sweep, but got {variable!r}.")
    first = next(iter(datasets.values()))
    grid, own = _grid_dims(first), _own_dims(first, variable)
    if not own:
        raise ValueError(f"Argument `variable` must have a dimension besides the grid's, but {variable!r} has none.")
    panel_dim, others = _panel_dim(first), [dim for dim in grid if dim != _panel_dim(first)]
    colour_dim = max(others, key=lambda dim: first.sizes[dim], default=None)
    rest = [dim for dim in others if dim != colour_dim]
    panels = _spread(first.sizes[panel_dim], _MOST_PANELS)
    lines = _spread(first.sizes[colour_dim], _MOST_LINES) if colour_dim else [0]
    middle = {dim: first.sizes[dim] // 2 for dim in rest}
    figure, axes = _panels(len(panels), share=False)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(lines)))
    for ax, panel in zip(axes, panels, strict=False):
        for line, colour in zip(lines, colours, strict=True):
            place = {panel_dim: panel, **({colour_dim: line} if colour_dim else {}), **middle}
            for name, data in datasets.items():
                _draw_line(ax, data[variable].isel(place), own[0], colour, dots=name == "simulate")
        ax.set_title(_value(first, panel_dim, panel), fontsize=10)
        ax.set_xlabel(_label(first, own[0]))
        along = _along(first, own[0])
        if along.min() > 0 and along.max() > 100 * along.min():
            ax.set_xscale("log")
    axes[0].set_ylabel(f"{variable} risk" if variable in _LOOK else variable)
    if colour_dim:
        handles = [Line2D([], [], color=colour) for colour in colours]
        labels = [_value(first, colour_dim, line) for line in lines]
        axes[0].legend(handles, labels, fontsize=7, frameon=False)
    figure.suptitle("; ".join(_value(first, dim, place) for dim, place in middle.items()), fontsize=9)
    return figure


def deviation_figure(simulation: xarray.Dataset, theory: xarray.Dataset, variable: str = "population") -> Figure:
    """The largest deviation of theory from the mean simulation over time, as a share of max(1, initial risk).

    A heat map over two axes of the grid for each value of a third (a curve where there is one axis); the largest over
    any further axis.

    Raises:
        ValueError: the two are not of one grid.
    """
    mean = simulation[variable].mean("repeat") if "repeat" in simulation.dims else simulation[variable]
    if mean.sizes != theory[variable].sizes:
        raise ValueError(f"Argument `theory` must be of the grid {dict(mean.sizes)}, but is of {dict(theory.sizes)}.")
    deviation = (abs(theory[variable] - mean) / np.maximum(1, mean.isel(time=0))).max("time")
    grid, panel_dim = _grid_dims(theory), None
    if len(grid) > 2:
        panel_dim = _panel_dim(theory)
        grid = [dim for dim in grid if dim != panel_dim]
    deviation, grid = deviation.max(grid[:-2]), grid[-2:]
    panels = _spread(theory.sizes[panel_dim], _MOST_PANELS) if panel_dim else [0]
    figure, axes = _panels(len(panels), share=True)
    figure.suptitle(f"{variable}: theory against simulation, worst over time", fontsize=9)
    finite = deviation.values[np.isfinite(deviation.values) & (deviation.values > 0)]
    limits = (finite.min(), finite.max()) if finite.size else (1e-3, 1.0)
    norm = LogNorm(max(limits[0], 1e-4), max(limits[1], 2e-4))
    image = None
    for ax, panel in zip(axes, panels, strict=False):
        part = deviation.isel({panel_dim: panel}) if panel_dim else deviation
        if part.ndim == 1:
            ax.plot(_along(theory, grid[-1]), part, marker="o", color=COLOURS[0])
            ax.set_yscale("log")
        else:
            rows, columns = part.dims
            image = ax.pcolormesh(
                np.arange(part.sizes[columns] + 1), np.arange(part.sizes[rows] + 1), part, norm=norm, cmap="magma"
            )
            _tick_cells(ax.xaxis, theory, str(columns))
            _tick_cells(ax.yaxis, theory, str(rows))
            ax.set_ylabel(_label(theory, str(rows)))
        ax.set_xlabel(_label(theory, grid[-1]))
        if panel_dim:
            ax.set_title(_value(theory, panel_dim, panel), fontsize=10)
    if image is not None:
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
    names = [
        str(name) for name, values in dataset.coords.items() if values.ndim == 1 and name not in ("time", "repeat")
    ]
    flat = dataset[names].stack(cell=_grid_dims(dataset), create_index=False)
    try:
        problems = problem_columns({name: flat[name].values for name in names}, whole=True)
    except KeyError as error:
        raise ValueError("Argument `dataset` must be a sweep over linear problems.") from error
    chosen = np.unique(np.linspace(0, len(problems.input_dim) - 1, most).astype(int))
    cells = [[float(values[place]) for values in problems] for place in chosen]
    regimes = np.array([locate(LinearProblem(*cell)).regime for cell in cells])
    p, h, n, variance = np.array(cells).T
    points = [np.log10(np.maximum(values, 1e-4)) for values in (p * variance, h / p, p / n)]
    figure = plt.figure(figsize=(6.5, 5), layout="constrained")
    ax = figure.add_subplot(projection="3d")
    for face, colour in zip((*FACES, "interior"), COLOURS, strict=True):
        here = regimes == face
        if here.any():
            ax.scatter(*(values[here] for values in points), color=colour, s=14, label=f"{face}: {here.sum()}")
    ax.set(xlabel=r"$\log_{10} p\sigma^2$", ylabel=r"$\log_{10} H/p$", zlabel=r"$\log_{10} p/N$")
    ax.set_title(f"closest face of the prism, {len(cells)} problems", fontsize=10)
    ax.legend(fontsize=8)
    ax.set_box_aspect(None, zoom=0.85)
    return figure


def _draw_line(ax: Any, values: xarray.DataArray, dim: str, colour: Any, *, dots: bool) -> None:
    spread = values.std("repeat") if "repeat" in values.dims else None
    mean = values.mean("repeat") if spread is not None else values
    along = _along(mean.to_dataset(name="mean"), dim)
    step = max(1, len(along) // 20) if dots else 1
    look = {"linestyle": "none", "marker": "o", "markersize": 3} if dots else {"linewidth": 1.5}
    ax.plot(along[::step], mean[::step], color=colour, **look)
    if spread is not None:
        ax.fill_between(along, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _grid_dims(dataset: xarray.Dataset) -> list[str]:
    """The axes of the grid: dimensions that every result has, the repeats left out."""
    shared = set.intersection(*(set(map(str, values.dims)) for values in dataset.data_vars.values()))
    order = [str(dim) for dim in next(iter(dataset.data_vars.values())).dims]
    return [dim for dim in order if dim in shared - {"repeat", "time"}]


def _panel_dim(dataset: xarray.Dataset) -> str:
    """The axis whose values are words or several parameters each, otherwise the first."""
    grid = _grid_dims(dataset)
    return next((dim for dim in grid if dim not in dataset.coords or dataset[dim].dtype.kind in "OUT"), grid[0])


def _own_dims(dataset: xarray.Dataset, variable: str) -> list[str]:
    return [str(dim) for dim in dataset[variable].dims if dim not in {*_grid_dims(dataset), "repeat"}]


def _spread(size: int, most: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, size - 1, min(size, most))})


def _panels(count: int, *, share: bool) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(
        1, count, figsize=(3.2 * count + 1, 3.2), sharey=share, squeeze=False, layout="constrained"
    )
    return figure, axes[0]


def _along(dataset: xarray.Dataset, dim: str) -> Any:
    return dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])


def _tick_cells(axis: Any, dataset: xarray.Dataset, dim: str) -> None:
    places = _spread(dataset.sizes[dim], 4)
    axis.set_ticks([place + 0.5 for place in places], [_number(dataset, dim, place) for place in places], fontsize=8)


def _label(dataset: xarray.Dataset, dim: str) -> str:
    return str(dataset[dim].attrs.get("long_name", dim)) if dim in dataset.coords else dim


def _number(dataset: xarray.Dataset, dim: str, place: int) -> str:
    if dim not in dataset.coords:
        return str(place)
    value = dataset[dim].values[place]
    return value if isinstance(value, str) else f"{value:.3g}"


def _value(dataset: xarray.Dataset, dim: str, place: int) -> str:
    if dim not in dataset.coords:
        members = [str(name) for name, values in dataset.coords.items() if values.dims == (dim,)]
        words = [name for name in members if isinstance(dataset[name].values[place], str)]
        if words:
            return str(dataset[words[0]].values[place])
        return ", ".join(f"{name} {_number(dataset, name, place)}" for name in members)
    return f"{dim} {_number(dataset, dim, place)}"
