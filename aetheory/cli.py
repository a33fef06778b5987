"""The command line: `aetheory reproduce`."""

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
