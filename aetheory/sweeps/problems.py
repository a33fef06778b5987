"""`simulate` and `predict` of any problem as tasks: what cells share, before anything is compiled."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, Shaped

from aetheory.core.checks import check_times, common_float_dtype, fail, keyword_only
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem
from aetheory.linear.problem import LinearProblem
from aetheory.sweeps.grid import Grid
from aetheory.sweeps.tasks import (
    Cell,
    Group,
    Groups,
    OverTime,
    Program,
    Task,
    columns_group,
    described,
    outcome,
    size_of,
)

_CELLS_AT_ONCE = 256
"""Experiments that are prepared together: always as many, for JAX compiles for each number of them."""

_FOR_FLOWS = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Compile in half the time (2.0 s for a flow in place of 4.3): the matrix products are compiled already."""

_FOR_CURVES = {"xla_cpu_prefer_vector_width": 512}
"""The widest vectors: quadratures are exponentials and quotients at all times and nodes."""

_THEORY = ("regime", "theory")
"""Names of an axis whose values are names of theories."""


class _ProblemTask(Task):
    """Something at given times of the problem that a cell's parameters describe."""

    def __init__(self, times: Any, problem: type[AbstractProblem] = LinearProblem, **options: Any) -> None:
        check_times(times)
        self._times, self._problem, self._options = np.asarray(times), problem, options
        self.coordinates = {"time": self._times}
        self.is_own = _is_own(problem, *options.values())

    def settings(self) -> dict[str, Any]:
        """Problem, times and options."""
        options = {name: described(value) for name, value in self._options.items()}
        problem = f"{self._problem.__module__}.{self._problem.__qualname__}"
        return {"function": type(self).__name__, "problem": problem, "times": self._times.tolist(), **options}

    def _check(self, grid: Grid, ignored: Collection[str]) -> Cell:
        """The parameters of the first cell, once the problem is known to take every value of every axis."""
        first = {name: value for name, value in grid.cell(0).items() if name not in ignored}
        for members in grid.axes.values():
            own = [name for name in members if name in first]
            try:  # at once where it takes arrays, otherwise each value, which then raises for itself
                self._problem.from_parameters({**first, **{name: grid.arrays[name] for name in own}})
            except (TypeError, ValueError):
                for values in zip(*(members[name] for name in own), strict=True):
                    self._problem.from_parameters({**first, **dict(zip(own, values, strict=True))})
        return first

    def _times_for(self, dtype: Any) -> Shaped[np.ndarray, " times"]:
        """The times in this precision, unless they are numbers of steps or it is `None`."""
        return self._times.astype(dtype) if dtype is not None and self._times.dtype.kind == "f" else self._times


class Simulation(_ProblemTask):
    """`aetheory.simulate` in every cell and draw, a program for each static part of a law-exact reduction.

    A cell's parameters are those of `problem.from_parameters`: for the linear system input_dim, latent_dim or
    latent_ratio, num_samples (`jnp.inf` included) or sample_ratio, and init_variance or init_scale, where ratios are
    rounded to whole dimensions. Its results are the values of the curve over time, num_steps and succeeded. Cells
    whose experiments differ in arrays only share a program. An axis named "regime" plays no part.

    Arguments:
        times: as for `simulate`.
        problem: the class of the problems.
        options: any option of the problem's `experiment`: rtol, max_steps, …

    Raises:
        ValueError: an argument is out of its range.
    """

    def groups(self, grid: Grid) -> Groups:
        """One for each combination of the parameters that the experiment must know; programs may be equal."""
        first, times = self._check(grid, _THEORY), self._times_for(grid.dtype)

        def experiment(cell: Cell) -> Any:
            return self._problem.from_parameters(cell).experiment(times, **self._options)

        traced = _traceable(lambda cell: eqx.filter(experiment(cell), eqx.is_array), first)
        combinations, number = grid.combinations(first.keys() - set(traced))
        # what is the same in all cells counts as known, so that the arrays that follow from it are shared
        varying = {name: first[name] for name in traced if len(set(grid.parameters[name])) > 1}
        alike = {name: value for name, value in first.items() if name not in varying}
        groups = []
        for own in combinations:
            size = size_of(vars(self._problem.from_parameters({**first, **own})))
            groups.append(_experiment_group(experiment, {**alike, **own}, varying, size, grid.dtype or float))
        return groups, number


def _experiment_group(experiment: Callable[[Cell], Any], known: Cell, varying: Cell, size: float, dtype: Any) -> Group:
    """The static part of an experiment, the arrays that follow from what is known, and those that vary among cells."""
    parts: list[Any] = []

    def split(columns: Cell) -> list[Any]:
        arrays, rest = eqx.partition(experiment({**known, **columns}), eqx.is_array)
        leaves, shape = jax.tree.flatten(arrays)
        varies = tuple(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        if not parts:
            others, rest_shape = jax.tree.flatten(rest)
            kinds = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)  # which a compiled program depends on
            parts.append((shape, varies, tuple(others), rest_shape, kinds))
            parts.append([_on_host(leaf) for leaf, varied in zip(leaves, varies, strict=True) if not varied])
        return [leaf for leaf, varied in zip(leaves, varies, strict=True) if varied]

    def varied(columns: Cell) -> list[Any]:
        if not varying:
            return split({})
        count = len(next(iter(columns.values())))
        whole = -(-count // _CELLS_AT_ONCE) * _CELLS_AT_ONCE
        filled = {name: np.resize(columns[name].astype(dtype), whole) for name in varying}
        starts = range(0, whole, _CELLS_AT_ONCE)
        pieces = [
            jax.vmap(split)({name: values[start : start + _CELLS_AT_ONCE] for name, values in filled.items()})
            for start in starts
        ]
        return [np.concatenate([np.asarray(part) for part in leaf])[:count] for leaf in zip(*pieces, strict=True)]

    varied({name: np.asarray([value]) for name, value in varying.items()})
    static, shared = parts
    return Group(Program(_run_experiment, static), shared, varied, size, _FOR_FLOWS)


def _on_host(leaf: Any) -> Any:
    return leaf if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def _run_experiment(fixed: Any, shared: list[Any], varied: list[Any], key: PRNGKeyArray) -> OverTime:
    """The draw that `simulate` makes first."""
    shape, varies, others, rest_shape, _ = fixed
    sources = iter(shared), iter(varied)
    arrays = shape.unflatten([next(sources[varied]) for varied in varies])
    values, stats, _ = eqx.combine(arrays, rest_shape.unflatten(others)).outcome(jax.random.split(key, 1)[0])
    return OverTime(dict(values.items()), outcome(stats))


class Prediction(_ProblemTask):
    """`aetheory.predict` in every cell: one compiled program for each theory, as far as it takes traced numbers.

    A cell's parameters are those of `Simulation` (ratios are not rounded), and the theory where `theory` is `None`: an
    axis named "regime" then, or without one the problem's own choice, for linear problems what `aetheory.locate`
    finds best. Its results are the values of the curve over time and succeeded.

    Arguments:
        times: as for `predict`.
        theory: of every cell: a name, for linear problems also a tuple of faces that meet, or a theory itself.
        problem: the class of the problems.
        options: any option of the theory (method, finite_size, num_nodes, tolerance, rtol, …), but for `throw`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, times: Any, theory: Any = None, problem: type[AbstractProblem] = LinearProblem, **options: Any
    ) -> None:
        super().__init__(times, problem, **options)
        self._theory = tuple(theory) if isinstance(theory, list) else theory
        self.is_own &= _is_own(problem, theory)
        if "throw" in options:
            raise fail("throw", "left out, since `on_error` decides", options["throw"])

    def groups(self, grid: Grid) -> Groups:
        """One for each theory and each combination of the parameters that it must know."""
        axes = [name for name in _THEORY if name in grid.parameters and self._theory is None]
        first = self._check(grid, axes)
        theory = self._theory or (grid.cell(0)[axes[0]] if axes else self._default(first))
        for name in grid.parameters[axes[0]] if axes else (theory,):
            self._problem.from_parameters(first, continuous=True).find_theory(name)
        traced = _traceable(lambda cell: self._values(theory, cell), first)
        combinations, number = grid.combinations({*first} - {*traced} | {*axes})
        theories = [self._theory or own.pop(axes[0]) for own in combinations] if self._theory or axes else None
        pairs = list(enumerate(theories or []))
        if theories is None:
            located = [self._default(grid.cell(cell)) for cell in range(number.size)]
            every = list(zip(number.tolist(), located, strict=True))
            pairs = list(dict.fromkeys(every))
            number = np.array([pairs.index(pair) for pair in every])
        groups = []
        for place, theory in pairs:
            program = Program(self._call, (theory, tuple(sorted(combinations[place].items()))))
            group = columns_group(program, grid, traced, combinations[place], float)
            groups.append(group._replace(compiler=_FOR_CURVES))
        return groups, number

    def _default(self, cell: Cell) -> Any:
        return self._problem.from_parameters(cell).default_theory()

    def _call(self, fixed: Any, shared: Cell, varied: Cell, key: PRNGKeyArray) -> OverTime:
        theory, own = fixed
        return self._values(theory, {**shared, **varied, **dict(own)})

    def _values(self, theory: Any, cell: Cell) -> OverTime:
        problem = self._problem.from_parameters(cell, continuous=True)
        chosen = problem.find_theory(theory)
        quiet = {"throw": False} if "throw" in keyword_only(chosen.curve) else {}
        curve = predict(problem, self._times_for(common_float_dtype(*cell.values())), chosen, **self._options, **quiet)
        succeeded = True if curve.stats is None else curve.stats.succeeded
        return OverTime(dict(curve.values.items()), {"succeeded": succeeded})

    def settings(self) -> dict[str, Any]:
        """Problem, times, theory and options."""
        return {**super().settings(), "theory": described(self._theory)}


def _is_own(problem: type[AbstractProblem], *options: Any) -> bool:
    """Whether this package defines the problem, and its options are plain."""
    return problem.__module__.startswith("aetheory.") and all(
        isinstance(one, str | int | float | tuple | list | None) for one in options
    )


def _traceable(compute: Callable[[Cell], Any], cell: Cell) -> list[str]:
    """The parameters that may be traced numbers in `compute`: all at once, or those that may be so by themselves."""

    def works(names: Sequence[str]) -> bool:
        try:
            jax.eval_shape(lambda traced: compute({**cell, **traced}), {name: float(cell[name]) for name in names})
        except (TypeError, ValueError, NotImplementedError):
            return False
        return True

    names = [name for name, value in cell.items() if not isinstance(value, str | bool)]
    return names if works(names) else [name for name in names if works([name])]
