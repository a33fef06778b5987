"""Simulations and limits of linear autoencoders as tasks: what is reduced and shared before anything is compiled.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from aetheory.core.checks import check_times, fail
from aetheory.core.predict import predict
from aetheory.core.solve import DEFAULT_MAX_STEPS, check_solver_options
from aetheory.linear import ensembles
from aetheory.linear.flow import evolve
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.sweeps.grid import Grid, Value
from aetheory.sweeps.task import Columns

_CHOICES = (("latent_dim", "latent_ratio"), ("num_samples", "sample_ratio"), ("init_variance", "init_scale"))
_DIMENSIONS = ("input_dim", "latent_dim", "latent_ratio", "num_samples", "sample_ratio")


class _Problems(NamedTuple):
    """p, H, N and σ² of some cells."""

    input_dim: Shaped[np.ndarray, " cells"]
    latent_dim: Shaped[np.ndarray, " cells"]
    num_samples: Shaped[np.ndarray, " cells"]
    init_variance: Shaped[np.ndarray, " cells"]


def problem_columns(columns: Mapping[str, Any], *, whole: bool) -> _Problems:
    """The problem of each cell, from dimensions or from their ratios.

    Arguments:
        columns: input_dim; latent_dim or latent_ratio = H/p; num_samples or sample_ratio = p/N; and, where it is
            wanted, init_variance or init_scale = pσ². Numbers or arrays.
        whole: round the dimensions that ratios give to the nearest positive integer (a limit needs no rounding).
    """
    given = {name: np.asarray(values, float) for name, values in columns.items() if name != "regime"}
    input_dim = given["input_dim"]
    latent_dim = given["latent_dim"] if "latent_dim" in given else input_dim * given["latent_ratio"]
    if "num_samples" in given:
        num_samples = given["num_samples"]
    else:
        with np.errstate(divide="ignore"):
            num_samples = input_dim / given["sample_ratio"]
    if whole:
        latent_dim, num_samples = (np.maximum(np.rint(sizes), 1) for sizes in (latent_dim, num_samples))
    if "init_variance" in given:
        init_variance = given["init_variance"]
    else:
        init_variance = given["init_scale"] / input_dim if "init_scale" in given else np.ones_like(input_dim)
    return _Problems(input_dim, latent_dim, num_samples, init_variance)


def _check_names(grid: Grid, extra: Sequence[str] = ()) -> None:
    for pair in _CHOICES:
        if sum(name in grid.names for name in pair) != 1:
            raise fail("grid", f"inclusive of exactly one of {pair[0]} and {pair[1]}", list(grid.names))
    allowed = {"input_dim", *(name for pair in _CHOICES for name in pair), *extra}
    if "input_dim" not in grid.names or not allowed.issuperset(grid.names):
        raise fail("grid", f"made of input_dim and of {sorted(allowed - {'input_dim'})}", list(grid.names))
    for axis in grid.axes:
        for name, values in axis.parameters.items():
            if name != "regime":
                _check_values(name, values)


def _check_values(name: str, values: Sequence[Any]) -> None:
    if isinstance(values[0], str | bool):  # an axis holds values of one kind
        raise fail(name, "a number", values[0])
    array = np.array(values, float)
    if name in ("input_dim", "latent_dim", "num_samples"):
        infinite = name == "num_samples"
        valid = (array > 0) & (array == np.floor(array)) & (infinite | np.isfinite(array))
        requirement = "positive integers" + (" or infinity" if infinite else "")
    else:
        zero = name in ("init_variance", "init_scale", "sample_ratio")
        valid = np.isfinite(array) & ((array > 0) | (zero & (array == 0)))
        requirement = "finite and nonnegative" if zero else "finite and positive"
    if not valid.all():
        raise fail(name, requirement, values[int(np.argmin(valid))])


class Simulation:
    """`aetheory.simulate` in every cell and draw, with programs shared as widely as the mathematics allows.

    A cell's parameters are input_dim, latent_dim or latent_ratio, num_samples (`jnp.inf` included) or sample_ratio, and
    init_variance or init_scale; ratios are rounded to whole dimensions. Its results are train and population, shape
    (num_times,), num_steps and succeeded. Problems whose law-exact reductions have one shape share a program.

    Arguments:
        times: flow times, shape (num_times,), nonnegative and in increasing order.
        rtol: tolerance of the adaptive solver, about the error of the risks as a share of their initial values.
        max_steps: the most steps the adaptive solver may take.

    Raises:
        ValueError: an argument is out of its range.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335, the experiments.
    """

    def __init__(self, times: Any, *, rtol: float = 1e-6, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        self._times = np.asarray(check_times(np.asarray(times, np.dtype(jnp.result_type(float)))), float)
        check_solver_options(rtol, max_steps)
        self._rtol, self._max_steps = float(rtol), max_steps

    def check(self, grid: Grid) -> None:
        """Raise ValueError unless the grid spans linear problems; their regimes, if it names them, play no part."""
        _check_names(grid, ("regime",))

    def static_names(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions."""
        return tuple(name for name in grid.names if name in _DIMENSIONS)

    def program(self, parameters: Mapping[str, Value]) -> Hashable:
        """The shapes of the reduced problem."""
        sizes = problem_columns(parameters, whole=True)
        num_samples = float(sizes.num_samples)
        whole = num_samples if math.isinf(num_samples) else int(num_samples)
        return ensembles.reduction(int(sizes.input_dim), int(sizes.latent_dim), whole)

    def inputs(self, columns: Columns) -> Columns:
        """Dimensions and initial variance as real numbers."""
        return dict(problem_columns(columns, whole=True)._asdict())

    def work(self, columns: Columns) -> Float[np.ndarray, " cells"]:
        """Flops of an evaluation times the fastest rate of the flow, which an explicit solver's steps follow."""
        sizes = problem_columns(columns, whole=True)
        p, h, n = sizes.input_dim, np.minimum(sizes.latent_dim, sizes.input_dim), sizes.num_samples
        rank = np.minimum(p, n)
        rows = np.minimum(p, rank + h)
        flops = np.minimum(4 * h**2 * (rows + rank), 6 * h * rows * rank)
        largest = (1 + np.sqrt(p / n)) ** 2
        work: Float[np.ndarray, " cells"] = (
            flops * largest * (1 + p * sizes.init_variance * (1 + np.sqrt(sizes.latent_dim / p)) ** 2)
        )
        return work

    def evaluate(self, program: Hashable, inputs: Mapping[str, Float[Array, ""]], key: PRNGKeyArray) -> dict[str, Any]:
        """One draw, along its flow."""
        assert isinstance(program, ensembles.Reduction)
        dtype = inputs["init_variance"].dtype
        dimensions = ensembles.Dimensions(*(inputs[name] for name in ("input_dim", "latent_dim", "num_samples")))
        # the draw that `simulate` makes first
        (key,) = jax.random.split(key, 1)
        ensemble = ensembles.gaussian(key, dimensions, program, inputs["init_variance"])
        times, rtol = jnp.asarray(self._times, dtype), jnp.asarray(self._rtol, dtype)
        risks, stats = evolve(ensemble, times, rtol=rtol, max_steps=self._max_steps)
        results = {"train": risks.train, "population": risks.population}
        return {**results, "num_steps": stats.num_steps, "succeeded": stats.succeeded}

    def compiler_options(self, platform: str) -> dict[str, Any]:
        """On a CPU those that compile in two thirds of the time: the matrix products are compiled already."""
        if platform != "cpu":
            return {}
        return {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}

    def settings(self) -> dict[str, Any]:
        """Times, tolerance and step limit."""
        settings = {"times": self._times.tolist(), "rtol": self._rtol, "max_steps": self._max_steps}
        return {"function": "simulate", **settings}

    def dims(self) -> Mapping[str, Sequence[str]]:
        """Both risks are curves."""
        return {"train": ("time",), "population": ("time",)}

    def coordinates(self) -> Mapping[str, Any]:
        """The flow times."""
        return {"time": self._times}


class Prediction:
    """`aetheory.predict` in every cell: one compiled program for each regime, whatever the dimensions.

    A cell's parameters are those of `Simulation` (ratios are not rounded), and the regime where `regime` is `None`:
    an axis named "regime" then, or without one the regime that `aetheory.locate` finds best for each cell.

    Arguments:
        times: flow times, shape (num_times,), nonnegative and in increasing order.
        regime: of every cell: a name, or a tuple of faces that meet.
        options: any other option of `aetheory.predict` (method, finite_size, num_nodes, tolerance, rtol, …).

    Raises:
        ValueError: an argument is out of its range.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
    """

    def __init__(self, times: Any, regime: str | Sequence[str] | None = None, **options: Any) -> None:
        self._times = np.asarray(check_times(np.asarray(times, np.dtype(jnp.result_type(float)))), float)
        self._regime = regime if regime is None or isinstance(regime, str) else tuple(regime)
        self._options = options
        forbidden = {"data", "held_out", "throw", "adjoint"}.intersection(options)
        if forbidden:
            raise fail("options", "free of data, held_out, throw and adjoint", sorted(forbidden))
        # what `predict` refuses, it refuses now
        jax.eval_shape(
            lambda value: (
                predict(
                    LinearProblem(value, value, value, value), self._times, self._regime or "large-data", **options
                ).train
            ),
            jnp.ones(()),
        )

    def check(self, grid: Grid) -> None:
        """Raise ValueError unless the grid spans linear problems, with regimes only where none is given."""
        _check_names(grid, () if self._regime is not None else ("regime",))

    def static_names(self, grid: Grid) -> tuple[str, ...]:
        """The regime, or all that decides it."""
        if self._regime is not None:
            return ()
        return ("regime",) if "regime" in grid.names else grid.names

    def program(self, parameters: Mapping[str, Value]) -> Hashable:
        """The regime."""
        if self._regime is not None:
            return self._regime
        if "regime" in parameters:
            return parameters["regime"]
        return locate(LinearProblem(*(float(value) for value in problem_columns(parameters, whole=True)))).regime

    def inputs(self, columns: Columns) -> Columns:
        """Dimensions and initial variance as real numbers."""
        return dict(problem_columns(columns, whole=False)._asdict())

    def work(self, columns: Columns) -> Float[np.ndarray, " cells"]:
        """The fastest rate of the flow, which an explicit solver's steps follow."""
        p, h, n, variance = problem_columns(columns, whole=False)
        work: Float[np.ndarray, " cells"] = (1 + np.sqrt(p / n)) ** 2 * (1 + p * variance * (1 + np.sqrt(h / p)) ** 2)
        return work

    def evaluate(self, program: Hashable, inputs: Mapping[str, Float[Array, ""]], key: PRNGKeyArray) -> dict[str, Any]:
        """The limit's curve; the key is not used."""
        times = jnp.asarray(self._times, inputs["init_variance"].dtype)
        curve = predict(LinearProblem(**inputs), times, program, throw=False, **self._options)
        succeeded = jnp.asarray(True) if curve.stats is None else curve.stats.succeeded
        return {"train": curve.train, "population": curve.population, "succeeded": succeeded}

    def compiler_options(self, platform: str) -> dict[str, Any]:
        """On a CPU the widest vectors it has: quadratures are exponentials and quotients at all times and nodes."""
        return {"xla_cpu_prefer_vector_width": 512} if platform == "cpu" else {}

    def settings(self) -> dict[str, Any]:
        """Times, regime and options."""
        regime = list(self._regime) if isinstance(self._regime, tuple) else self._regime
        options = {
            name: value if isinstance(value, str | int | float | None) else repr(value)
            for name, value in self._options.items()
        }
        return {"function": "predict", "times": self._times.tolist(), "regime": regime, **options}

    def dims(self) -> Mapping[str, Sequence[str]]:
        """Both risks are curves."""
        return {"train": ("time",), "population": ("time",)}

    def coordinates(self) -> Mapping[str, Any]:
        """The flow times."""
        return {"time": self._times}
