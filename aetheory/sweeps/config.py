"""Sweeps described by a file, and resumed from the folder they write to."""

import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray

from aetheory.core.checks import fail
from aetheory.core.store import replacing
from aetheory.sweeps.problems import Prediction, Simulation
from aetheory.sweeps.run import sweep
from aetheory.sweeps.store import open_store

_CONFIG = "sweep.toml"
_TASKS: dict[str, Any] = {"simulate": Simulation, "predict": Prediction}
_TABLES = ("grid", "options", *_TASKS)
_KEYS = {"function", "store", "times", "repeats", "seed", "dtype", *_TABLES}


class SweepConfig(NamedTuple):
    """A sweep as a file describes it; see `read_config`."""

    functions: tuple[str, ...]
    store: Path
    grid: Any
    times: list[float]
    repeats: int | None
    seed: int
    dtype: str
    options: dict[str, dict[str, Any]]


def find_config(name: str) -> Path:
    """The file with that path, or the example with that name that comes with the package.

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

    The keys are `function` ("simulate", "predict", "module:name" of a function of (parameters, key), or a list of
    them), `store` (a folder, relative to the working directory), the table `grid` as for `aetheory.sweep`, `times` of
    simulate and predict, `repeats` of all but predict, `seed` (0), `dtype` ("float64"), and the tables `simulate`,
    `predict` and `options` with options of these functions. A list of numbers may be written as {start, stop, num,
    scale = "linear" | "log"}.

    Raises:
        ValueError: it is not TOML, or a key is missing, unknown or not what it must be.
    """
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"Argument `config` must be a TOML file, but '{path}' is not: {error}.") from error
    functions = content.get("function", [])
    functions = functions if isinstance(functions, list) else [functions]
    content = {"seed": 0, "dtype": "float64", **content}
    needed = {"function", "store", "grid"}
    if "simulate" in functions or "predict" in functions:
        needed.add("times")
    if unknown := sorted(content.keys() - _KEYS):
        raise fail("config", f"made of the keys {sorted(_KEYS)}", unknown)
    if missing := sorted(needed - content.keys()):
        raise fail("config", f"inclusive of {', '.join(sorted(needed))}", f"a file without {missing}")
    _check_content(functions, content)
    options = {name: content.get(name if name in _TASKS else "options", {}) for name in functions}
    times, repeats = _expand(content.get("times", [])), content.get("repeats")
    grid, store = _expand(content["grid"]), Path(content["store"])
    return SweepConfig(tuple(functions), store, grid, times, repeats, content["seed"], content["dtype"], options)


def _check_content(functions: list[Any], content: dict[str, Any]) -> None:
    """Raise ValueError where the value of a key is not what it must be."""
    for name in functions or [functions]:
        if not isinstance(name, str) or not (name in _TASKS or name.count(":") == 1):
            raise fail("function", "'simulate', 'predict', 'module:name' or a list of them", name)
    if content["dtype"] not in ("float32", "float64"):
        raise fail("dtype", "'float32' or 'float64'", content["dtype"])
    store, seed, repeats, times = (content.get(name) for name in ("store", "seed", "repeats", "times"))
    if not isinstance(store, str) or not store:
        raise fail("store", "the path of a folder", store)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise fail("seed", "a nonnegative integer below 2⁶³", seed)
    if "repeats" in content and (type(repeats) is not int or repeats < 1):
        raise fail("repeats", "a positive integer", repeats)
    if "times" in content and not (isinstance(times, dict) or _are_numbers(times)):
        raise fail("times", "a list of numbers, or a range", times)
    for name in _TABLES:
        if not isinstance(content.get(name, {}), dict):
            raise fail(name, "a table of options", content[name])


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def _expand(values: Any) -> Any:
    """A list for a range, also inside an axis whose members vary together; anything else as it is."""
    if not isinstance(values, Mapping):
        return values
    if not {"start", "stop", "num"} <= values.keys():
        return {name: _expand(member) for name, member in values.items()}
    scale, count, ends = values.get("scale", "linear"), values["num"], [values["start"], values["stop"]]
    if not {"start", "stop", "num", "scale"}.issuperset(values) or scale not in ("linear", "log"):
        raise fail("grid", "ranges of start, stop, num and scale ('linear' or 'log')", dict(values))
    if not _are_numbers(ends) or type(count) is not int or count < 1 or (scale == "log" and min(ends) <= 0):
        requirement = "ranges between numbers (positive ones where 'log'), in positive integers `num`"
        raise fail("grid", requirement, dict(values))
    spaced: Any = np.geomspace if scale == "log" else np.linspace
    return spaced(*ends, count).tolist()


def run_config(text: str, config: SweepConfig, client: Any = None) -> dict[str, xarray.Dataset]:
    """Run or continue a sweep, and keep `text`, its description, beside the results; returns a dataset per function.

    Raises:
        ValueError: the store belongs to another sweep.
        ImportError: a function of the user's own cannot be found.
    """
    description = config.store / _CONFIG
    tasks = {name: _task(name, config) for name in config.functions}
    config.store.mkdir(parents=True, exist_ok=True)
    if not description.exists() and any(config.store.iterdir()):
        raise fail("store", "a new folder or that of a sweep", str(config.store))
    before = description.read_text() if description.exists() else None
    _write_text(description, text)  # which may have a function more than the last time
    key, results = jax.random.key(config.seed), {}
    try:
        for name, task in tasks.items():
            options = {} if name in _TASKS else config.options[name]
            repeats = None if name == "predict" else config.repeats
            results[name] = sweep(task, config.grid, key, repeats, _path(config.store, name), client=client, **options)
    except ValueError:  # of a store of another sweep
        if before is not None:
            _write_text(description, before)
        raise
    return results


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text)


def stored_config(store: Path) -> Path:
    """The description of the sweep in a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    if not (store / _CONFIG).is_file():
        raise FileNotFoundError(f"There is no sweep in '{store}': '{store / _CONFIG}' is missing.")
    return store / _CONFIG


def _path(store: Path, function: str) -> Path:
    return store / f"{function.replace(':', '.')}.zarr"


def _task(name: str, config: SweepConfig) -> Any:
    if name in _TASKS:
        return _TASKS[name](config.times, **config.options[name])
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    if not hasattr(found, attribute):
        raise ImportError(f"Module '{module}' has no function '{attribute}'.")
    return getattr(found, attribute)


def draw_store(store: Path, variable: str) -> list[Path]:
    """Draw the results in a sweep's folder, and write the figures into it; returns their files.

    Raises:
        FileNotFoundError: there is no sweep, or nothing of it is computed yet.
        ValueError: no result of that name.
    """
    from aetheory.plotting.sweeps import curves_figure, deviation_figure, location_figure

    paths = {name: _path(store, name) for name in read_config(stored_config(store)).functions}
    sweeps = {name: open_store(path) for name, path in paths.items() if path.exists()}
    if not sweeps:
        raise FileNotFoundError(f"Nothing in '{store}' is computed yet.")
    figures = {"curves": curves_figure(sweeps, variable)}
    if {"simulate", "predict"} <= sweeps.keys():
        figures["deviation"] = deviation_figure(sweeps["simulate"], sweeps["predict"], variable)
    if {"simulate", "predict"} & sweeps.keys():
        figures["location"] = location_figure(next(iter(sweeps.values())))
    files = []
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            files.append(store / f"{name}.{suffix}")
            with replacing(files[-1]) as draft:
                figure.savefig(draft, format=suffix, dpi=200)
    return files
