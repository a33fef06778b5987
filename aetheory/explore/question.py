"""What a page shows at one place of its controls: curves, figures, a table, and the Python lines that make them."""

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
"""The theory that a problem means where none is named."""

_QUICK = {"method": ae.Rotations(32, 6)}
"""Options of theories without a closed form: a tenth of a second for a curve, and a wider bracket."""
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH, _HEIGHT, _ROW = 4.8, 3.4, 0.18
_LINES = (Path(__file__).parent / "lines.txt").read_text(encoding="utf-8")


class Question(NamedTuple):
    """A problem as `start` but for some `chosen` fields, followed until `last`, and what is drawn of it.

    The names of `theories` may be `OWN`; where no values are `shown`, they are those that `ae.plot` chooses.
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
        """The problem; raises ValueError as its class does."""
        return made(self.start, self.chosen)

    @property
    def span(self) -> tuple[str, tuple[Any, ...]]:
        """A function of NumPy and its arguments, which make the flow times or the numbers of steps."""
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
        """All that a simulation depends on, as lines of Python."""
        return (
            f"problem = {source(self.start, self.chosen)}",
            "times = np.{}{}".format(*self.span),
            f"ae.simulate(problem, times, jax.random.key(0), num_repeats={self.num_repeats})",
        )

    def simulate(self, progress: Callable[[int], None]) -> ae.Curve:
        """The simulation, which tells how many of its repeats are done."""
        options: dict[str, Any] = {"num_repeats": self.num_repeats, "progress": progress}
        if getattr(self.problem, "tied", False):  # a linear map with a spectrum
            options["quantiles"] = _LEVELS
        return ae.simulate(self.problem, self.times, jax.random.key(0), **options)

    def predict(self, name: str, **more: Any) -> ae.Curve:
        """The curve of a theory."""
        return ae.predict(self.problem, self.times, name, **_options(self.problem.theories[name]), **more)


def _options(theory: Any) -> dict[str, Any]:
    return _QUICK if "method" in keyword_only(theory.curve) else {}


class Answer(NamedTuple):
    """Curves, the figure of them, what was said against them or others, and the simulation with its spectrum."""

    question: Question
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
        *setting, simulated = self.question.simulation
        calls = [
            f'ae.predict(problem, times, "{one.label}"{_written(one)})' if one.theory else simulated
            for one in self.curves
        ]
        return _LINES.format(
            x64=jnp.result_type(float) == jnp.float64,
            setting="\n".join(setting),
            calls="".join(f"    {call},\n" for call in calls),
            size=tuple(self.figure.get_size_inches().round(2).tolist()),
            values=f", values={self.question.shown}" if self.question.shown else "",
            scale=self.question.scale,
        )


def _written(curve: ae.Curve) -> str:
    quick = _options(curve.theory).items()
    return "".join(f", {name}={'ae.' if name == 'method' else ''}{value!r}" for name, value in quick)


def answer(question: Question, simulation: ae.Curve | None = None) -> Answer:
    """The predicted curves, beside a simulation; what refuses or warns does so in the remarks.

    Raises:
        ValueError: as the problem does.
    """
    figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
    problem, found = question.problem, Answer(question, [], figure, [], simulation)
    ax, curves = found.figure.subplots(), {}  # type: tuple[Any, dict[str, Callable[[], Any]]]
    with heard(found.remarks, OWN):
        names = (problem.default_theory().name if name == OWN else name for name in question.theories)
        curves |= {name: partial(question.predict, name) for name in names}
    if simulation is not None:
        curves["simulation"] = lambda: _risks(simulation)
    for name, make in curves.items():
        with heard(found.remarks, name):
            ae.plot(curve := make(), ax, values=question.shown or None)
            found.curves.append(curve)
    found.figure.set_figheight(_HEIGHT + _ROW * -(-len(ax.lines) // 2))
    if found.curves:
        found.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    ax.set_yscale(question.scale)
    return found


def _risks(curve: ae.Curve) -> ae.Curve:
    """Without the spectrum."""

    def without(values: Any) -> Any:
        return values and ae.Values(**{name: one for name, one in values.items() if name != "spectrum"})

    return replace(curve, values=without(curve.values), std=without(curve.std))


@contextmanager
def heard(remarks: list[str], name: str) -> Iterator[None]:
    """Goes on after an error, which becomes a remark, as warnings do."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            remarks.append(f"{name}: {error}")
    remarks += [f"{name}: {one.message}" for one in said]


def figures(found: Answer) -> dict[str, Figure]:
    """What else there is to see of the problem, by title; what cannot be drawn is told in the remarks."""
    problem, predict = found.question.problem, found.question.predict
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
        with heard(found.remarks, title):
            into(figure.add_subplot(projection="3d" if title == "Prism" else None))
            drawn[title] = figure
    return drawn


def _law(problem: Any) -> Any:
    """Of the eigenvalues of the sample covariance."""
    if problem.sample_ratio == 0:
        raise ValueError("on the population itself (N = ∞) it is that of Σ")
    if problem.covariance is None:
        return ae.spectra.MarchenkoPastur(problem.sample_ratio)
    return ae.spectra.SampleCovariance(problem.covariance, problem.sample_ratio)
