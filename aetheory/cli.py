"""The command line: `aetheory reproduce`, `aetheory fit`."""

import os
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from aetheory._cache import cache_directory

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class System(StrEnum):
    """The systems that can be reproduced."""

    prism = "prism"
    limits = "limits"
    recovery = "recovery"


class Precision(StrEnum):
    """Floating-point precision of the whole run."""

    float32 = "float32"
    float64 = "float64"


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"aetheory {version('aetheory')}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The theory of autoencoders: computed, simulated and compared."""


@app.command()
def reproduce(
    system: Annotated[System | None, typer.Argument(help="Which system; all of them when omitted.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: a minute a system.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Published sizes: hours.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results; each system gets its own inside.")] = Path(
        "results"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random draw.")] = 0,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.float64,
) -> None:
    """Compute theory and simulation, draw the figure, and write it with the numbers behind it.

    Writes figures, summary.json and curves.zarr under OUT/SYSTEM, and prints one table of all systems at the end.
    """
    if quick and full:
        raise typer.BadParameter("choose one of --quick and --full")
    _configure_jax(dtype is Precision.float64)
    # only now: nothing of JAX or Matplotlib is imported for `--help`
    from aetheory.reproduce.overview import overview
    from aetheory.reproduce.run import run_prism
    from aetheory.reproduce.run_limits import run_limits
    from aetheory.reproduce.run_recovery import run_recovery

    runs = {System.prism: run_prism, System.limits: run_limits, System.recovery: run_recovery}
    size: Literal["quick", "default", "full"] = "quick" if quick else "full" if full else "default"
    try:
        summaries = {
            name.value: runs[name](size, out / name.value, seed) for name in ([system] if system else list(System))
        }
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if system is None:
        typer.echo("\n" + overview(summaries))


@app.command()
def fit(
    path: Annotated[Path, typer.Argument(help="CSV file with columns time, train and population, or some of them.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Candidate regime, repeatable; a comma joins faces of an edge.")
    ] = None,
    free: Annotated[list[str] | None, typer.Option(help="Parameter to infer, repeatable; the ratios if none.")] = None,
    fixed: Annotated[list[str] | None, typer.Option(help="Known parameter, NAME=VALUE, repeatable.")] = None,
    time: Annotated[str | None, typer.Option(help="Name of the column of times.")] = None,
    train: Annotated[str | None, typer.Option(help="Name of the column of train risks.")] = None,
    population: Annotated[str | None, typer.Option(help="Name of the column of population risks.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result there.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the fit there.")] = None,
) -> None:
    """Infer initial scale, H/p, p/N, time unit and noise floor from a loss curve, and name its regime."""
    _configure_jax(True)
    import json

    from aetheory.inference import Observations
    from aetheory.inference import fit as fit_curve

    columns = {"time": time, "train": train, "population": population}
    try:
        known = {name: float(value) for name, _, value in (pair.partition("=") for pair in fixed or [])}
        observations = Observations.read_csv(path, {role: name for role, name in columns.items() if name is not None})
        candidates = [tuple(one.split(",")) for one in model] if model else None
        found = fit_curve(observations, candidates, free or None, fixed=known)
        typer.echo(str(found))
        if json_path is not None:
            json_path.write_text(json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if figure is not None:
            from matplotlib.figure import Figure

            from aetheory.plotting import plot_fit

            drawing = Figure(layout="constrained")
            plot_fit(found, drawing.subplots())
            drawing.savefig(figure)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _configure_jax(x64: bool) -> None:
    """Set the precision, and let a second run reuse the compiled programs of the first.

    JAX's own environment variable for the compilation cache wins over ours.
    """
    import jax

    settings = {
        "jax_enable_x64": x64,
        "jax_compilation_cache_dir": os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(cache_directory() / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
