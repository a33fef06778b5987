"""The command line: `aetheory reproduce`, `sweep`, `plot`, `fit` and `explore`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aetheory.core.cache import cache_directory
from aetheory.core.compilation import compile_quickly

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


_CACHE_SETTINGS = {"jax_persistent_cache_min_compile_time_secs": 0, "jax_persistent_cache_min_entry_size_bytes": -1}
"""Keep every compiled program, however small."""


_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Of libraries whose threads spin while they wait, where problems run side by side: on two cores that another job
shares, random rotations of 128 rows took 14 s by two such threads and 4 s by one, k-means of 500 images .16 and .001 s.
"""


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
    standard: Annotated[bool, typer.Option("--standard", help="Larger sizes: several minutes a system.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Published sizes: hours.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results; each system gets its own inside.")] = Path(
        "results"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random draw.")] = 0,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.float64,
) -> None:
    """Compute theory and simulation, draw the figure, and write it with the numbers behind it.

    Writes figures, summary.json and curves.zarr under OUT/SYSTEM; of all systems one table at the end, and one figure,
    OUT/overview.png.
    """
    if standard and full:
        raise typer.BadParameter("choose one of --standard and --full")
    if not full:
        compile_quickly(1 if standard else 0)
    _configure_jax(dtype is Precision.float64)
    # only now: nothing of JAX or Matplotlib is imported for `--help`
    from aetheory.reproduce import limits, overview, panel, prism, recovery
    from aetheory.sweeps.output import OutputFolder

    jobs = {System.prism: prism.job, System.limits: limits.job, System.recovery: recovery.job}
    size: Literal["default", "standard", "full"] = "standard" if standard else "full" if full else "default"
    try:
        summaries = {
            name.value: panel.run(jobs[name], size, out / name.value, seed)
            for name in ([system] if system else list(System))
        }
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if system is None:
        OutputFolder(out).write_figure(overview.draw(out), "overview")
        typer.echo(f"\n{panel.overview(summaries)}\nAll of them in one figure: {out / 'overview.png'}")


@app.command()
def sweep(
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of an example that comes along: regimes.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the sweep in this folder.")] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="With --resume: a function MODULE:NAME of the folder's that may be imported."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="local:N for N processes, tcp://HOST:PORT, or a Dask scheduler file (.json).")
    ] = None,
) -> None:
    """Compute functions on every cell of a grid, as a file describes it; results appear as they are computed.

    Ctrl-C finishes what is under way. The same command, or --resume with the folder, goes on from there. A folder can
    name any module, so that functions of one's own are imported again only where --run names them too.
    """
    if (config is None) == (resume is None):
        raise typer.BadParameter("give either a CONFIG or --resume STORE")
    _limit_threads()
    from aetheory.sweeps.config import find_config, read_config, run_config, stored_config

    store: Path | None = resume
    try:
        path = find_config(config) if config is not None else stored_config(resume or Path())
        description = read_config(path)
        if resume is not None:
            description = description._replace(store=resume)
            if foreign := [name for name in description.functions if ":" in name and name not in (run or [])]:
                confirmed = " ".join(f"--run {name}" for name in foreign)
                raise ValueError(f"It would import {', '.join(foreign)}. To allow it: --resume {resume} {confirmed}")
        store = description.store
        _configure_jax(description.dtype == "float64")
        with _cluster(cluster) as client:
            results = run_config(path.read_text(), description, client)
    except KeyboardInterrupt as error:
        typer.echo(f"\nStopped. To go on: aetheory sweep --resume {store}", err=True)
        raise typer.Exit(130) from error
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for name, dataset in results.items():
        sizes = ", ".join(f"{dim} {size}" for dim, size in dataset.sizes.items())
        typer.echo(f"{name}: {', '.join(sorted(map(str, dataset.data_vars)))} over {sizes}")
    typer.echo(f"In {store}. To draw it: aetheory plot {store}")


@app.command()
def plot(
    store: Annotated[Path, typer.Argument(help="The folder of a sweep.")],
    variable: Annotated[str, typer.Option(help="Which result to draw.")] = "population",
) -> None:
    """Draw a sweep: curves along its axes, theory against simulation, and where its problems lie in the prism.

    Writes the figures into STORE, as PNG and SVG.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from aetheory.sweeps.config import draw_store

    try:
        drawn = draw_store(store, variable)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for path in drawn:
        typer.echo(str(path))


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """A client of the cluster, whose local workers find the programs that others compiled."""
    if address is None:
        yield None
        return
    from aetheory.sweeps.cluster import connect

    for name, value in _CACHE_SETTINGS.items():
        os.environ.setdefault(name.upper(), str(value))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _compiled_programs())
    with connect(address) as client:
        yield client


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
    input_dim: Annotated[int | None, typer.Option(help="p, where known: corrects for the finite size.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The times are steps of gradient descent at this rate; needs --input-dim.")
    ] = None,
    reduction: Annotated[str, typer.Option(help="Of the loss of these steps: mean, sum or samples.")] = "mean",
    batch_size: Annotated[int | None, typer.Option(help="For --reduction sum.")] = None,
    momentum: Annotated[float, typer.Option(help="Of these steps.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulations that correct for the finite size.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result there.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the fit there.")] = None,
) -> None:
    """Infer initial scale, H/p, p/N, time unit and noise floor from a loss curve, and name its regime.

    Losses are per entry: ‖x − x̂‖²/p, as PyTorch's MSELoss gives it.
    """
    if learning_rate is not None and input_dim is None:
        raise typer.BadParameter("--learning-rate needs --input-dim")
    compile_quickly(1)
    _configure_jax(True)
    import json

    import jax

    from aetheory.inference import Observations
    from aetheory.inference import fit as fit_curve
    from aetheory.linear.flow_time import flow_time
    from aetheory.linear.problem import LinearProblem

    columns = {"time": time, "train": train, "population": population}
    try:
        known = {name: float(value) for name, _, value in (pair.partition("=") for pair in fixed or [])}
        given = {value: name for value, name in columns.items() if name is not None}
        observations = Observations.read_csv(path, given, LinearProblem)
        candidates = [tuple(one.split(",")) for one in model] if model else None
        if learning_rate is not None and input_dim is not None:
            options: Any = {"reduction": reduction, "batch_size": batch_size, "momentum": momentum}
            known.setdefault("time_unit", float(flow_time(1, learning_rate, input_dim=input_dim, **options)))
        key = None if input_dim is None else jax.random.key(seed)
        found = fit_curve(observations, candidates, free or None, fixed=known, input_dim=input_dim, key=key)
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


@app.command()
def explore(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 for one that is free.")] = 5006,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """Move problems by sliders on a local page: predicted curves at once, simulations beside them on a button.

    The page is served on 127.0.0.1 alone, and asks nothing of the network. Ctrl-C ends it.
    """
    if find_spec("panel") is None:
        typer.echo("Error: the explorer needs Panel: pip install 'aetheory[explore]'", err=True)
        raise typer.Exit(1)
    compile_quickly(1)
    _configure_jax(True)
    import matplotlib as mpl

    mpl.use("agg")
    from aetheory.explore.page import serve

    try:
        serve(port, browser)
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _configure_jax(x64: bool) -> None:
    """Set the precision, and let a second run reuse the compiled programs of the first; one thread for each problem.

    Environment variables that are set already win over ours.
    """
    _limit_threads()
    import jax

    settings = {
        "jax_enable_x64": x64,
        "jax_compilation_cache_dir": _compiled_programs(),
        **_CACHE_SETTINGS,
    }
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]


def _limit_threads() -> None:
    """Give BLAS and OpenMP one thread, which has an effect only before NumPy is loaded."""
    for name in _THREADS:
        os.environ.setdefault(name, "1")


def _compiled_programs() -> str:
    return os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(cache_directory() / "compiled")
