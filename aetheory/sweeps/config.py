"""Sweeps described by a file, and resumed from the folder they write to."""

import importlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray

from aetheory.core.checks import fail
from aetheory.sweeps.prism import Prediction, Simulation
from aetheory.sweeps.run import sweep
from aetheory.sweeps.store import open_store

_CONFIG = "sweep.toml"
_KEYS = {"function", "store", "grid", "times", "repeats", "seed", "dtype", "simulate", "predict", "options"}
_RANGE = {"start", "stop", "num", "scale"}


class SweepConfig(NamedTuple):
    """A sweep as a file describes it.

    Arguments:
        functions: "simulate", "predict" or "module:name" of a function of (parameters, key); each is run on the grid.
        store: a folder, in which each function has its own store.
        grid: as for `aetheory.sweep`.
        times: flow times of simulate and predict.
        repeats: independent draws of all but predict; `None` for one without an axis of its own.
        seed: of the sweep's key.
        dtype: "float32" or "float64".
        options: of each function: those of `Simulation` and `Prediction`, or of `aetheory.sweep`.
    """

    functions: tuple[str, ...]
    store: Path
    grid: Any
    times: list[float]
    repeats: int | None
    seed: int
    dtype: str
    options: dict[str, dict[str, Any]]


def find_config(name: str) -> Path:
    """The file of that path, or the example of that name that comes with the package.

    Raises:
        FileNotFoundError: there is neither.
    """
    shipped = Path(__file__).parent / "examples"
    for path in (Path(name), shipped / f"{name}.toml"):
        if path.is_file():
            return path
    examples = sorted(path.stem for path in shipped.glob("*.toml"))
    raise FileNotFoundError(f"There is no file '{name}', and no example of that name (there are {examples}).")


def read_config(path: Path) -> SweepConfig:
    """Read a sweep from a TOML file.

    The keys are `function` (a name or a list of them), `store` (a path, relative to the working directory), the table
    `grid`, `times`, `repeats`, `seed` (0), `dtype` ("float64"), and the tables `simulate`, `predict` and `options` with
    options of these functions. A list of numbers may be written as {start, stop, num, scale = "linear" | "log"}.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not TOML, or a key is missing, unknown or not what it must be.
    """
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"Argument `config` must be a TOML file, but '{path}' is not: {error}.") from error
    unknown = sorted(content.keys() - _KEYS)
    if unknown:
        raise fail("config", f"made of the keys {sorted(_KEYS)}", unknown)
    missing = [key for key in ("function", "store", "grid") if key not in content]
    if missing:
        raise fail("config", "inclusive of function, store and grid", f"a file without {missing}")
    functions = content["function"] if isinstance(content["function"], list) else [content["function"]]
    known = ("simulate", "predict")
    for name in functions:
        if not isinstance(name, str) or not (name in known or name.count(":") == 1):
            raise fail("function", "'simulate', 'predict' or 'module:name'", name)
    if "times" not in content and set(functions) & set(known):
        raise fail("config", "inclusive of times for simulate and predict", "a file without them")
    if content.get("dtype", "float64") not in ("float32", "float64"):
        raise fail("dtype", "'float32' or 'float64'", content["dtype"])
    grid = content["grid"]
    expanded = {name: _expand(values) for name, values in grid.items()} if isinstance(grid, dict) else grid
    return SweepConfig(
        tuple(functions),
        Path(content["store"]),
        expanded,
        _expand(content.get("times", [])),
        content.get("repeats"),
        content.get("seed", 0),
        content.get("dtype", "float64"),
        {name: content.get(name if name in known else "options", {}) for name in functions},
    )


def _expand(values: Any) -> Any:
    """A list for a range, also inside an axis whose members vary together."""
    if not isinstance(values, Mapping):
        return values
    if not {"start", "stop", "num"} <= values.keys():
        return {name: _expand(member) for name, member in values.items()}
    if not _RANGE.issuperset(values) or values.get("scale", "linear") not in ("linear", "log"):
        raise fail("grid", "ranges of start, stop, num and scale ('linear' or 'log')", dict(values))
    space = np.linspace if values.get("scale", "linear") == "linear" else np.geomspace
    return space(values["start"], values["stop"], values["num"]).tolist()


def run_config(text: str, config: SweepConfig, client: Any = None) -> dict[str, xarray.Dataset]:
    """Run a sweep, or go on with it, and keep its description beside its results.

    Arguments:
        text: the file that describes it.
        config: what the file says.
        client: a `distributed.Client`, or `None` for this process.

    Returns:
        The dataset of each function.

    Raises:
        ValueError: the store belongs to another sweep.
        ImportError: a function of the user's own cannot be found.
    """
    description = config.store / _CONFIG
    tasks = {name: _task(name, config) for name in config.functions}
    config.store.mkdir(parents=True, exist_ok=True)
    if not description.exists():
        if any(config.store.iterdir()):
            raise fail("store", "a new folder or that of a sweep", str(config.store))
        temporary = description.with_suffix(".tmp")
        temporary.write_text(text)
        os.replace(temporary, description)
    key = jax.random.key(config.seed)
    results = {}
    for name, task in tasks.items():
        options = {} if name in ("simulate", "predict") else config.options[name]
        repeats = None if name == "predict" else config.repeats
        path = config.store / store_name(name)
        results[name] = sweep(task, config.grid, key, repeats, path, client=client, **options)
    return results


def stored_config(store: Path) -> Path:
    """The description of the sweep in a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    path = store / _CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"There is no sweep in '{store}': '{path}' is missing.")
    return path


def store_name(function: str) -> str:
    """The folder of a function's results inside the sweep's."""
    return f"{function.replace(':', '.')}.zarr"


def _task(name: str, config: SweepConfig) -> Any:
    if name == "simulate":
        return Simulation(config.times, **config.options[name])
    if name == "predict":
        return Prediction(config.times, **config.options[name])
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def draw_store(store: Path, variable: str) -> list[Path]:
    """Draw what is in a sweep's folder, and write the figures into it.

    Returns:
        The files that were written.

    Raises:
        FileNotFoundError: there is no sweep, or nothing of it is computed yet.
        ValueError: no result of that name.
    """
    from aetheory.sweeps.figures import curves_figure, deviation_figure, location_figure
    from aetheory.sweeps.output import OutputFolder

    config = read_config(stored_config(store))
    paths = {name: store / store_name(name) for name in config.functions}
    sweeps = {name: open_store(path) for name, path in paths.items() if path.exists()}
    if not sweeps:
        raise FileNotFoundError(f"Nothing in '{store}' is computed yet.")
    figures = {"curves": curves_figure(sweeps, variable)}
    if {"simulate", "predict"} <= sweeps.keys():
        figures["deviation"] = deviation_figure(sweeps["simulate"], sweeps["predict"], variable)
    if {"simulate", "predict"} & sweeps.keys():
        figures["location"] = location_figure(next(iter(sweeps.values())))
    out = OutputFolder(store)
    for name, figure in figures.items():
        out.write_figure(figure, name)
    return [store / f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")]
