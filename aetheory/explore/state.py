"""The state of a page and its results: curves, figures, a table, and the Python lines that make them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure

import aetheory as ae
from aetheory.core.checks import keyword_only
from aetheory.explore.controls import made, source

OWN = "the problem's own choice"
"""Option of the page that selects the problem's default theory."""

_QUICK = {"method": ae.Rotations(32, 6)}
"""Options of theories without a closed form, which take a tenth of a second for a curve."""
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH, _HEIGHT, _ROW = 4.8, 3.4, 0.18
_LINES = (Path(__file__).parent / "lines.txt").read_text(encoding="utf-8")


class State(NamedTuple):
    """The values of a page's controls: the problem `start` with `chosen` fields, the last time, and what is drawn.

    `theories` are names, or `OWN`; where `shown` is empty, `ae.plot` chooses the values that are drawn.
    """

    start: Any
    chosen: dict[str, Any]
    last: float
    theories: tuple[str, ...] = (OWN,)
    shown: tuple[str, ...] = ()
    num_repeats: int = 4
    scale: str = "linear"

    @property
    def problem(self) -> Any:
        """The problem; raises ValueError where its class refuses the fields."""
        return made(self.start, self.chosen)

    @property
    def span(self) -> tuple[str, tuple[Any, ...]]:
        """Name and arguments of the NumPy function that makes the flow times or the numbers of steps."""
        if not self.problem.is_descent:
            return "linspace", (0, self.last, 61)
        last = max(1, round(self.last))
        return "arange", (0, last + 1, max(1, last // 50))

    @property
    def times(self) -> Any:
        """The times, shape (num_times,)."""
        return getattr(np, self.span[0])(*self.span[1])

    @property
    def simulation(self) -> tuple[str, ...]:
        """Lines of Python that make the simulation; equal lines make equal simulations."""
        return (
            f"problem = {source(self.start, self.chosen)}",
            "times = np.{}{}".format(*self.span),
            f"ae.simulate(problem, times, jax.random.key(0), num_repeats={self.num_repeats})",
        )

    def simulate(self, progress: Callable[[int], None]) -> ae.Curve:
        """Simulate; `progress` is called with the number of finished repeats."""
        options: dict[str, Any] = {"num_repeats": self.num_repeats, "progress": progress}
        if getattr(self.problem, "tied", False):  # a linear map with a spectrum
            options["quantiles"] = _LEVELS
        return ae.simulate(self.problem, self.times, jax.random.key(0), **options)

    def predict(self, name: str, **more: Any) -> ae.Curve:
        """The curve of a theory, given by name."""
        return ae.predict(self.problem, self.times, name, **_options(self.problem.theories[name]), **more)


def _options(theory: Any) -> dict[str, Any]:
    return _QUICK if "method" in keyword_only(theory.curve) else {}


class Results(NamedTuple):
    """Curves and their figure, remarks (errors and warnings), and the simulation with its spectrum."""

    state: State
    curves: list[ae.Curve]
    figure: Figure
    remarks: list[str]
    simulation: ae.Curve | None

    @property
    def csv(self) -> str:
        """All values of the curves over time, with spread or bracket."""
        tables = [one.to_xarray().to_dataframe().add_prefix(f"{one.label} ") for one in self.curves]
        return pandas.concat(tables, axis=1).to_csv() if tables else ""

    @property
    def code(self) -> str:
        """The lines of Python that make the curves and the figure."""
        *setting, simulated = self.state.simulation
        calls = [
            f'ae.predict(problem, times, "{one.label}"{_written(one)})' if one.theory else simulated
            for one in self.curves
        ]
        return _LINES.format(
            x64=jnp.result_type(float) == jnp.float64,
            setting="\n".join(setting),
            calls="".join(f"    {call},\n" for call in calls),
            size=tuple(self.figure.get_size_inches().round(2).tolist()),
            values=f", values={self.state.shown}" if self.state.shown else "",
            scale=self.state.scale,
        )


def _written(curve: ae.Curve) -> str:
    quick = _options(curve.theory).items()
    return "".join(f", {name}={'ae.' if name == 'method' else ''}{value!r}" for name, value in quick)


def compute(state: State, simulation: ae.Curve | None = None) -> Results:
    """Predicted curves beside a simulation; errors and warnings of theories become remarks.

    Raises:
        ValueError: the problem refuses its fields.
    """
    figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
    problem, found = state.problem, Results(state, [], figure, [], simulation)
    ax, curves = found.figure.subplots(), {}  # type: tuple[Any, dict[str, Callable[[], Any]]]
    with collect_remarks(found.remarks, OWN):
        names = (problem.default_theory().name if name == OWN else name for name in state.theories)
        curves |= {name: partial(state.predict, name) for name in names}
    if simulation is not None:
        curves["simulation"] = lambda: _risks(simulation)
    for name, make in curves.items():
        with collect_remarks(found.remarks, name):
            ae.plot(curve := make(), ax, values=state.shown or None)
            found.curves.append(curve)
    found.figure.set_figheight(_HEIGHT + _ROW * -(-len(ax.lines) // 2))
    if found.curves:
        found.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    ax.set_yscale(state.scale)
    return found


def _risks(curve: ae.Curve) -> ae.Curve:
    """The curve without its spectrum."""

    def without(values: Any) -> Any:
        return values and ae.Values(**{name: one for name, one in values.items() if name != "spectrum"})

    return replace(curve, values=without(curve.values), std=without(curve.std))


@contextmanager
def collect_remarks(remarks: list[str], name: str) -> Iterator[None]:
    """Turn an error or a warning inside the block into a remark."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            remarks.append(f"{name}: {error}")
    remarks += [f"{name}: {one.message}" for one in raised]


def figures(found: Results) -> dict[str, Figure]:
    """Further figures of the problem, by title; figures that cannot be drawn become remarks."""
    problem, predict = found.state.problem, found.state.predict
    draw: dict[str, Callable[[Any], Any]] = {}
    if isinstance(problem, ae.LinearProblem):
        draw["Prism"] = partial(ae.plotting.plot_prism, problem)
        draw["Spectrum of the data"] = lambda ax: ae.plotting.plot_spectrum(_law(problem), ax)
        if (simulated := found.simulation) is not None and problem.tied:
            draw["Spectrum of M = WWᵀ, simulated"] = lambda ax: ae.plotting.plot_quantiles(simulated, ax)
    if isinstance(problem, ae.TwoLayerProblem):
        own = problem.default_theory().name
        draw["Spectrum of K = BBᵀ"] = lambda ax: ae.plotting.plot_quantiles(predict(own, quantiles=_LEVELS), ax)
    drawn = {}
    for title, into in draw.items():
        figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
        with collect_remarks(found.remarks, title):
            into(figure.add_subplot(projection="3d" if title == "Prism" else None))
            drawn[title] = figure
    return drawn


def _law(problem: Any) -> Any:
    """The law of the eigenvalues of the sample covariance."""
    if problem.sample_ratio == 0:
        raise ValueError("with the population covariance (N = ∞) it is the spectrum of Σ")
    if problem.covariance is None:
        return ae.spectra.MarchenkoPastur(problem.sample_ratio)
    return ae.spectra.SampleCovariance(problem.covariance, problem.sample_ratio)
