"""Run a system's panels with progress, storing each as soon as it is done."""

import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from aetheory.reproduce import prism, resummation
from aetheory.sweeps.output import OutputFolder, provenance

_SECONDS_BETWEEN_VIEWS = 30.0


def run_prism(size: prism.Size, path: Path, seed: int) -> dict[str, Any]:
    """Reproduce the prism's figure at `size` into `path`; returns the summary that is also written there.

    The curves of a panel are stored when its last simulation ends, so that an interrupted run keeps them, and the
    figure is drawn with what is there now and then.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    start = time.perf_counter()
    folder = OutputFolder(path)
    panels, key = prism.panels(size), jax.random.key(seed)
    results: dict[str, tuple[prism.Panel, list[prism.Result]]] = {}
    sums = resummation.compute()
    folder.write_dataset("resummation", resummation.to_dataset(sums))
    viewed = -_SECONDS_BETWEEN_VIEWS
    total = sum(len(panel.settings) for panel in panels)
    with tqdm(total=total, unit="curve", disable=not sys.stderr.isatty()) as progress:
        for index, panel in enumerate(panels):
            progress.set_description(panel.name)
            done: list[prism.Result] = []
            for result in prism.run_panel(panel, jax.random.fold_in(key, index)):
                done.append(result)
                progress.update()
            results[panel.name] = (panel, done)
            folder.write_dataset(panel.name, prism.to_dataset(panel, done))
            if (now := time.perf_counter() - start) > viewed + _SECONDS_BETWEEN_VIEWS:
                folder.write_figure(prism.draw(results, sums), early=True)
                if viewed < 0:
                    print(f"First view after {now:.0f} s: {path / 'figure.png'}", flush=True)
                viewed = now
            if progress.disable:
                print(f"{panel.name}: done after {time.perf_counter() - start:.0f} s", flush=True)
    folder.write_figure(prism.draw(results, sums))
    summary: dict[str, Any] = {
        "system": "prism",
        "size": size,
        "seed": seed,
        "panels": prism.summarise(results),
        "resummation": resummation.summarise(sums),
        "seconds": round(time.perf_counter() - start, 1),
        **provenance(),
    }
    folder.write_json("summary.json", summary)
    print(_table(results))
    print(_resummation_line(summary["resummation"]))
    print(f"Wrote {path / 'figure.png'}, figure.svg, summary.json and curves.zarr in {summary['seconds']} s.")
    return summary


def _resummation_line(summary: dict[str, Any]) -> str:
    deviations = ", ".join(
        f"{method} {found['radius']:.1e} ({found['last_time']:.1e})" for method, found in summary["deviations"].items()
    )
    return (
        f"Sums of {summary['order'] + 1} terms of the large-data expansion, deviation as a share of the initial risk, "
        f"up to the radius of convergence {summary['radius']:.3f} (up to t = 3):\n  {deviations}"
    )


def _table(results: dict[str, tuple[prism.Panel, list[prism.Result]]]) -> str:
    lines = [
        "Largest |theory - simulation|, its share of the initial risk, and the simulation's largest standard error",
        "(free: in units of the squared initial scale):",
        f"{'panel':<15}{'train':>10}{'share':>9}{'error':>10}{'population':>13}{'share':>9}{'error':>10}",
    ]
    for name, (panel, done) in results.items():
        cells, unit = "", panel.scale**2
        for risk, width in (("train", 10), ("population", 13)):
            largest = max(result.deviation(risk) for result in done) / unit
            share = max(result.relative_deviation(risk) for result in done)
            noise = max(result.noise(risk) for result in done) / unit
            cells += f"{largest:>{width}.5f}{share:>9.2%}{noise:>10.5f}"
        lines.append(f"{name:<15}{cells}")
    return "\n".join(lines)
