"""Run the limits' panels with progress, storing each as soon as it is done."""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import xarray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from aetheory.reproduce import limits
from aetheory.reproduce.limits_figure import draw
from aetheory.reproduce.prism import Size
from aetheory.sweeps.output import OutputFolder, provenance


def run_limits(size: Size, path: Path, seed: int) -> dict[str, Any]:
    """Reproduce the figure of the limits at `size` into `path`; returns the summary that is also written there.

    A panel is stored when it ends, so that an interrupted run keeps it. Sets of images that are neither at hand nor
    downloadable are left out, and named.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    start, key = time.perf_counter(), jax.random.key(seed)
    folder = OutputFolder(path)
    panels = limits.panels(size)
    results: dict[str, xarray.Dataset] = {}
    missing: dict[str, str] = {}
    with tqdm(total=len(panels), unit="panel", disable=not sys.stderr.isatty()) as progress:
        for index, (name, compute) in enumerate(panels.items()):
            progress.set_description(name)
            try:
                # factorisations of a few hundred rows are faster by one thread than by several that wait for another
                with threadpool_limits(1, user_api="blas"):
                    results[name] = compute(jax.random.fold_in(key, index))
            except FileNotFoundError as error:
                missing[name] = str(error)
            else:
                folder.write_dataset(name, results[name])
            progress.update()
    folder.write_figure(draw(results))
    summary: dict[str, Any] = {
        "system": "limits",
        "size": size,
        "seed": seed,
        "panels": limits.summarise(results),
        "missing": missing,
        "seconds": round(time.perf_counter() - start, 1),
        **provenance(),
    }
    folder.write_json("summary.json", summary)
    print(_table(results))
    for name, reason in missing.items():
        print(f"Left out {name}: {reason}")
    print(f"Wrote {path / 'figure.png'}, figure.svg, summary.json and curves.zarr in {summary['seconds']} s.")
    return summary


def _table(results: dict[str, xarray.Dataset]) -> str:
    lines = ["Risk minus limit at each rate (sparse: simulated minus predicted at each sparsity):"]
    for name, entries in limits.summarise(results).items():
        axes = [key for key in ("rate", "raw_rate", "sparsity") if key in entries]
        for key, values in entries.items():
            if not key.endswith("_excess"):
                continue
            rows = values if key == "denoised_excess" else [values]
            axis = "raw_rate" if key.startswith("raw") else axes[0]
            for label, row in zip(limits.AMPLITUDES if len(rows) > 1 else ("",), rows, strict=True):
                cells = "  ".join(
                    f"{point:.3g}: {value:+.4f}"
                    for point, value in zip(entries[axis], row, strict=True)
                    if value is not None
                )
                if cells:
                    lines.append(f"{name:<11}{label + ' ' if label else ''}{key.removesuffix('_excess'):<24}{cells}")
    return "\n".join(lines)
