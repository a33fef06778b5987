"""How the room works: a job is a list of panels, and one runner computes, stores, draws and summarises them.

The other modules say what is computed: `prism`, `limits` and `recovery` (with `clustering`) declare a `Job` each.
"""

import json
import shutil
import string
import sys
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import xarray
import zarr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from aetheory.core.compilation import forget_programs
from aetheory.sweeps.output import OutputFolder, provenance

Size = Literal["default", "standard", "full"]
Lines = Iterable[tuple[str, str]]
Draw = Callable[[Sequence[Axes], xarray.Dataset], None]

_AT_A_TIME, _AHEAD = 2, 4
"""Problems computed together, whatever their panels; and how many of them there are before the first is stored."""

_SHOWN = (".* is estimated to be off", "The Taylor series is summed", "Up to .* false positives")
"""Warnings of what the figures show anyway."""

_SECONDS_BETWEEN_VIEWS = 20.0
"""Of what there is so far, from the first problem on: drawing one takes some seconds."""


@dataclass(frozen=True)
class Panel:
    """Problems that are computed one after the other, how they are drawn, and what is said of them.

    Arguments:
        name: of its group in `curves.zarr` and of its entry in `summary.json`.
        problems: what `compute` is called with in turn: problems beside their theories, or what names them.
        compute: of (one of the problems, a folder for the stores of sweeps), its results: of length 1 along `dim`.
        draw: by figure, draws all results into its axes and titles these.
        summarise: what is said of all results, ready for JSON.
        lines: of that, pairs of what and how much for the table at the end.
        dim: along which the results of several problems are put together.
    """

    name: str
    problems: Sequence[Any]
    compute: Callable[[Any, Path], xarray.Dataset]
    draw: Mapping[str, Draw]
    summarise: Callable[[xarray.Dataset], dict[str, Any]]
    lines: Callable[[dict[str, Any]], Lines] = lambda told: ()
    dim: str = ""


@dataclass(frozen=True)
class Sheet:
    """One figure: rows and columns of axes, its size in inches, and what is drawn last and belongs to no panel."""

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

    def write_figures(self, names: Iterable[str], folder: OutputFolder, results: Any, early: bool = False) -> None:
        """Draw the panels that have results; axes without a title stay empty."""
        for name in names:
            sheet = self.sheets[name]
            figure = Figure(figsize=sheet.size, layout="constrained")
            axes = figure.subplots(*sheet.shape, squeeze=False, width_ratios=sheet.widths).ravel().tolist()
            drawn = [one for one in self.panels if name in one.draw and one.name in results]
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
            if drawn:
                folder.write_figure(figure, name, early=early)


def run(make: Callable[[Size, int], Job], size: Size, path: Path, seed: int) -> dict[str, Any]:
    """Compute the panels of a job into `path`, with progress; returns the summary that is also written there.

    What is computed is stored at once, and figures are drawn with it now and then. A job that was interrupted goes on
    where it stopped when it is called again; one that was finished begins anew. Panels whose data are neither here nor
    can be downloaded are left out, and named.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    start, folder = time.perf_counter(), OutputFolder(path)
    viewed = start - _SECONDS_BETWEEN_VIEWS
    job = make(size, seed)
    store = _Store(folder, {"system": job.name, "size": size, "seed": seed, **provenance()})
    results: dict[str, xarray.Dataset] = {}
    missing: dict[str, str] = {}
    left = {panel.name: store.left(panel) for panel in job.panels}
    with _computing([partial(store.compute, panel, one) for panel in job.panels for one in left[panel.name]]) as found:
        for panel in job.panels:
            own = islice(found, len(left[panel.name]))
            try:
                for data in store.stored_after_each(panel, own, len(left[panel.name])):
                    results[panel.name] = data
                    if time.perf_counter() > viewed + _SECONDS_BETWEEN_VIEWS:
                        job.write_figures(panel.draw, folder, results, early=True)
                        viewed = time.perf_counter()
            except FileNotFoundError as error:
                missing[panel.name] = str(error)
                deque(own, maxlen=0)  # which lack the same
            forget_programs()
            print(f"{panel.name}: done after {time.perf_counter() - start:.0f} s", flush=True)
    job.write_figures(job.sheets, folder, results)
    done = [panel for panel in job.panels if panel.name in results]
    told = {panel.name: panel.summarise(results[panel.name]) for panel in done}
    lines = {what: much for panel in done for what, much in panel.lines(told[panel.name])}
    lines |= {f"{name}: left out": reason for name, reason in missing.items()}
    seconds = round(time.perf_counter() - start, 1)
    summary = store.origin | {"panels": told, "lines": lines, "seconds": seconds}
    store.finish(summary)
    print(f"{overview({job.name: summary})}\nWrote figures, summary.json and curves.zarr in {path}.")
    return summary


def overview(summaries: Mapping[str, dict[str, Any]]) -> str:
    """One table of what was found, a line each; `summaries` are what `run` returned, by the job's name."""
    rows = [(name, *line) for name, summary in summaries.items() for line in summary["lines"].items()]
    width = max((len(what) for _, what, _ in rows), default=0) + 2
    seconds = sum(summary["seconds"] for summary in summaries.values())
    return "\n".join([*(f"{name:<10}{what:<{width}}{much}" for name, what, much in rows), f"In {seconds:.0f} s."])


@contextmanager
def _computing(tasks: Iterable[Callable[[], xarray.Dataset]]) -> Iterator[Iterator[Future[xarray.Dataset]]]:
    """What the tasks return, in their order; the next ones are compiled while one runs."""
    x64 = jnp.result_type(float) == jnp.float64  # which is each thread's own

    def call(task: Callable[[], xarray.Dataset]) -> xarray.Dataset:
        with jax.enable_x64(x64):
            return task()

    def ahead(pool: ThreadPoolExecutor) -> Iterator[Future[xarray.Dataset]]:
        waiting: deque[Future[xarray.Dataset]] = deque()
        for task in tasks:
            waiting.append(pool.submit(call, task))
            if len(waiting) == _AHEAD:
                yield waiting.popleft()
        yield from waiting

    pool = ThreadPoolExecutor(_AT_A_TIME)
    with warnings.catch_warnings():  # here, for all threads
        for known in _SHOWN:
            warnings.filterwarnings("ignore", message=known)
        try:
            yield ahead(pool)
        finally:
            pool.shutdown(cancel_futures=True)


class _Store:
    """What a job leaves in its folder; what has another `origin`, all that results depend on, is not gone on with."""

    def __init__(self, folder: OutputFolder, origin: dict[str, Any]) -> None:
        self.folder, self.origin, self.stamp = folder, origin, json.dumps(origin)
        self.sweeps = folder.path / f"unfinished-{zlib.crc32(self.stamp.encode()):08x}"
        self.anew = (folder.path / "summary.json").exists()
        (folder.path / "summary.json").unlink(missing_ok=True)

    def left(self, panel: Panel) -> Sequence[Any]:
        """The problems that were not computed yet."""
        done = self.stored(panel.name)
        return panel.problems[0 if done is None else done.sizes.get(panel.dim, 1) :]

    def compute(self, panel: Panel, problem: Any) -> xarray.Dataset:
        """The results of one problem."""
        return panel.compute(problem, self.sweeps / panel.name)

    def stored_after_each(
        self, panel: Panel, found: Iterator[Future[xarray.Dataset]], count: int
    ) -> Iterator[xarray.Dataset]:
        """All results of a panel so far, after each problem that was not stored yet."""
        done = self.stored(panel.name)
        if done is not None:
            yield done
        for future in tqdm(found, panel.name, count, unit="problem", disable=not sys.stderr.isatty()):
            one = future.result()
            rules: Any = dict.fromkeys(("data_vars", "coords"), "minimal")
            rules |= dict.fromkeys(("compat", "join", "combine_attrs"), "override")
            done = one if done is None else xarray.concat([done, one], panel.dim, **rules)
            self.folder.write_dataset(panel.name, done)
            # last, so that a group that was not written to its end does not count
            zarr.open_group(self.folder.path / "curves.zarr", path=panel.name).attrs["origin"] = self.stamp
            yield done

    def stored(self, name: str) -> xarray.Dataset | None:
        """A panel's results of the interrupted job, if it is the same."""
        if self.anew:
            return None
        try:
            found = self.folder.read_dataset(name)
        except FileNotFoundError:
            return None
        return found if found.attrs.pop("origin", None) == self.stamp else None

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary; what was kept to go on with is of no use any more."""
        self.folder.write_json("summary.json", summary)
        for left in self.folder.path.glob("unfinished-*"):
            shutil.rmtree(left)
