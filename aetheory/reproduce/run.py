"""Run a system's panels with progress, storing each as soon as it is done."""

import sys
import time
from pathlib import Path

import jax
from tqdm import tqdm

from aetheory.reproduce import prism
from aetheory.reproduce.output import OutputFolder, provenance


def run_prism(size: prism.Size, path: Path, seed: int) -> dict[str, object]:
    """Reproduce the prism's figure at `size` into `path`; returns the summary that is also written there.

    The curves of a panel are stored when its last simulation ends, so that an interrupted run keeps them.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    start = time.perf_counter()
    folder = OutputFolder(path)
    panels, key = prism.panels(size), jax.random.key(seed)
    results: dict[str, tuple[prism.Panel, list[prism.Result]]] = {}
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
            if progress.disable:
                print(f"{panel.name}: done after {time.perf_counter() - start:.0f} s", flush=True)
    folder.write_figure(prism.draw(results))
    summary = {
        "system": "prism",
        "size": size,
        "seed": seed,
        "panels": prism.summarise(results),
        "seconds": round(time.perf_counter() - start, 1),
        **provenance(),
    }
    folder.write_json("summary.json", summary)
    print(_table(results))
    print(f"Wrote {path / 'figure.png'}, figure.svg, summary.json and curves.zarr in {summary['seconds']} s.")
    return summary


def _table(results: dict[str, tuple[prism.Panel, list[prism.Result]]]) -> str:
    lines = [
        "Largest |theory - simulation|, its share of the initial risk, and the simulation's largest standard error:",
        f"{'panel':<15}{'train':>10}{'share':>9}{'error':>10}{'population':>13}{'share':>9}{'error':>10}",
    ]
    for name, (_, done) in results.items():
        cells = ""
        for risk, width in (("train", 10), ("population", 13)):
            largest = max(result.deviation(risk) for result in done)
            share = max(result.relative_deviation(risk) for result in done)
            noise = max(result.noise(risk) for result in done)
            cells += f"{largest:>{width}.5f}{share:>9.2%}{noise:>10.5f}"
        lines.append(f"{name:<15}{cells}")
    return "\n".join(lines)
