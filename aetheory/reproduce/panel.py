"""Jobs: lists of panels that are computed, stored, summarised and drawn by one function, `run`.

`prism`, `limits` and `recovery` (with `clustering`) each define a `Job`.
"""

import json
import string
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray
import zarr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aetheory.core.compilation import forget_programs
from aetheory.sweeps.output import OutputFolder, provenance

Size = Literal["default", "standard", "full"]
Rows = Iterable[tuple[str, str]]
Draw = Callable[[Sequence[Axes], xarray.Dataset], None]

_NUM_THREADS = 2
"""Panels computed at the same time: one compiles while the other computes."""

_EXPECTED_WARNINGS = (".* is estimated to be off", "The Taylor series is summed", "Up to .* false positives")
"""Warnings about deviations that the figures show."""


@dataclass(frozen=True)
class Panel:
    """One computation, with how its results are drawn and summarised.

    Arguments:
        name: group in `curves.zarr` and entry in `summary.json`.
        compute: returns the results.
        draw: for each figure, a function that draws the results into its axes and titles these.
        summary: variables and coordinates of the results that are written into `summary.json`.
        summary_rows: pairs of a description and a value for the table at the end.
    """

    name: str
    compute: Callable[[], xarray.Dataset]
    draw: Mapping[str, Draw]
    summary: Sequence[str] = ()
    summary_rows: Callable[[xarray.Dataset], Rows] = lambda data: ()

    def summarise(self, data: xarray.Dataset) -> dict[str, Any]:
        """Attributes and the variables of the summary that exist, as values for JSON."""
        return data.attrs | {name: _for_json(data[name].values) for name in self.summary if name in data}


@dataclass(frozen=True)
class Sheet:
    """One figure: rows and columns of axes, size in inches, and a function that adds what belongs to no panel."""

    shape: tuple[int, int]
    size: tuple[float, float]
    widths: Sequence[float] | None = None
    decorate: Callable[[Sequence[Axes]], None] = lambda axes: None


@dataclass(frozen=True)
class Job:
    """All panels of one system, and the figures that they share, by name."""

    name: str
    panels: Sequence[Panel]
    sheets: Mapping[str, Sheet]

    def write_figures(self, folder: OutputFolder, results: Mapping[str, xarray.Dataset]) -> None:
        """Draw the panels that have results; axes without a title stay empty."""
        for name, sheet in self.sheets.items():
            drawn = [panel for panel in self.panels if name in panel.draw and panel.name in results]
            if not drawn:
                continue
            figure = Figure(figsize=sheet.size, layout="constrained")
            axes = figure.subplots(*sheet.shape, squeeze=False, width_ratios=sheet.widths).ravel().tolist()
            for panel in drawn:
                panel.draw[name](axes, results[panel.name])
            sheet.decorate(axes)
            for letter, ax in zip(string.ascii_lowercase, axes, strict=False):
                title = ax.get_title()
                if ax.get_legend() is None and ax.get_legend_handles_labels()[0]:
                    ax.legend(frameon=False, fontsize=8)
                ax.set_title("")
                ax.set_title(f"({letter}) {title}" if title and len(axes) > 1 else title, loc="left", fontsize=10)
                ax.spines[["top", "right"]].set_visible(not (ax.lines or ax.patches))  # images keep their frame
                if not title:
                    ax.set_axis_off()
            folder.write_figure(figure, name)


def run(make: Callable[[Size, int], Job], size: Size, path: Path, seed: int) -> dict[str, Any]:
    """Compute a job's panels into the folder `path`; returns the summary that is also written there.

    An interrupted job continues with the panels that were not finished; a finished job starts again. Panels whose data
    can neither be found nor be downloaded are left out and named.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    start, folder = time.perf_counter(), OutputFolder(path)
    job = make(size, seed)
    origin = {"system": job.name, "size": size, "seed": seed, **provenance()}
    results = _stored(job, folder, json.dumps(origin))
    (path / "summary.json").unlink(missing_ok=True)
    missing: dict[str, str] = {}
    for panel, data in _computed([panel for panel in job.panels if panel.name not in results]):
        if isinstance(data, FileNotFoundError):
            missing[panel.name] = str(data)
        else:
            results[panel.name] = data
            folder.write_dataset(panel.name, data)
            # written last: a group without it is incomplete
            zarr.open_group(path / "curves.zarr", path=panel.name).attrs["origin"] = json.dumps(origin)
        forget_programs()
        print(f"{panel.name}: done after {time.perf_counter() - start:.0f} s", flush=True)
    job.write_figures(folder, results)
    done = [panel for panel in job.panels if panel.name in results]
    summaries = {panel.name: panel.summarise(results[panel.name]) for panel in done}
    rows = {text: value for panel in done for text, value in panel.summary_rows(results[panel.name])}
    rows |= {f"{name}: left out": reason for name, reason in missing.items()}
    seconds = round(time.perf_counter() - start, 1)
    summary = origin | {"panels": summaries, "rows": rows, "seconds": seconds}
    folder.write_json("summary.json", summary)
    print(f"{overview({job.name: summary})}\nWrote figures, summary.json and curves.zarr in {path}.")
    return summary


def overview(summaries: Mapping[str, dict[str, Any]]) -> str:
    """Table of all rows of the summaries that `run` returned, which are given by the job's name."""
    rows = [(name, *row) for name, summary in summaries.items() for row in summary["rows"].items()]
    width = max((len(text) for _, text, _ in rows), default=0) + 2
    seconds = sum(summary["seconds"] for summary in summaries.values())
    return "\n".join([*(f"{name:<10}{text:<{width}}{value}" for name, text, value in rows), f"In {seconds:.0f} s."])


def _computed(panels: Sequence[Panel]) -> Iterator[tuple[Panel, xarray.Dataset | FileNotFoundError]]:
    """Each panel with its results, or with the error that names missing data, in the order in which they finish."""
    is_x64 = jnp.result_type(float) == jnp.float64

    def compute(panel: Panel) -> xarray.Dataset | FileNotFoundError:
        with jax.enable_x64(is_x64):  # a setting of each thread
            try:
                return panel.compute()
            except FileNotFoundError as error:
                return error

    pool = ThreadPoolExecutor(_NUM_THREADS)
    with warnings.catch_warnings():  # for all threads
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        try:
            futures = {pool.submit(compute, panel): panel for panel in panels}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _stored(job: Job, folder: OutputFolder, origin: str) -> dict[str, xarray.Dataset]:
    """Results of the panels that an interrupted run of the same job has finished."""
    results: dict[str, xarray.Dataset] = {}
    if (folder.path / "summary.json").exists():
        return results
    for panel in job.panels:
        try:
            data = folder.read_dataset(panel.name)
        except FileNotFoundError:
            continue
        if data.attrs.pop("origin", None) == origin:
            results[panel.name] = data
    return results


def _for_json(values: Any) -> Any:
    """Arrays as nested lists, with None in place of NaN."""
    if np.ndim(values):
        return [_for_json(one) for one in values]
    value = np.asarray(values).item()
    return None if isinstance(value, float) and np.isnan(value) else value
