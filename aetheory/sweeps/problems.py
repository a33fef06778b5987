"""`Simulation` and `Prediction`: the training of any problem, and its theory, in every cell of a grid."""

from collections.abc import Callable, Collection
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, Shaped

from aetheory.core.checks import check_times, common_float_dtype, fail, keyword_only
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
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
    label_of,
    size_of,
    solver_results,
    traceable,
)

CLOSED_FORM_BATCH = 16
"""Curves of a closed form that a CPU computes together. Of 64 together, a mean-field curve takes 1.5 times as long."""

_PADDED_CELLS = 1024
"""Experiments that are prepared together. The number is fixed, since JAX compiles for each number anew."""

_FLOW_COMPILER = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Compile in half the time (2.0 s for a flow in place of 4.3): the matrix products are compiled already."""

_CLOSED_FORM_COMPILER = {"xla_cpu_prefer_vector_width": 512}
"""The widest vectors: closed forms are exponentials and quotients at all times and nodes."""

_THEORY = ("regime", "theory")
"""Names of an axis whose values are names of theories."""


class _ProblemTask(Task):
    """A computation at given times for the problem that a cell's parameters describe."""

    def __init__(self, times: Any, problem: type[AbstractProblem] = LinearProblem, **options: Any) -> None:
        check_times(times)
        self._times, self._problem, self._options = np.asarray(times), problem, options
        self.coordinates = {"time": self._times}

    def settings(self) -> dict[str, Any]:
        """Problem, times and options."""
        options = {name: described(value) for name, value in self._options.items()}
        problem = f"{self._problem.__module__}.{self._problem.__qualname__}"
        return {"function": type(self).__name__, "problem": problem, "times": self._times.tolist(), **options}

    def _checked_cell(self, grid: Grid, ignored: Collection[str]) -> Cell:
        """The parameters of the first cell, after the values of every axis have been checked with it."""
        first = {name: value for name, value in grid.cell(0).items() if name not in ignored}
        for members in grid.axes.values():
            own = [name for name in members if name in first]
            try:  # all values at once where the problem takes arrays; otherwise each value raises for itself
                self._problem.from_parameters({**first, **{name: grid.arrays[name] for name in own}})
            except (TypeError, ValueError):
                for values in zip(*(members[name] for name in own), strict=True):
                    self._problem.from_parameters({**first, **dict(zip(own, values, strict=True))})
        return first

    def _times_in(self, dtype: Any) -> Shaped[np.ndarray, " times"]:
        """The times in this precision, unless they are numbers of steps or it is `None`."""
        return self._times.astype(dtype) if dtype is not None and self._times.dtype.kind == "f" else self._times


def _traceable_numbers(compute: Callable[[Cell], Any], cell: Cell) -> list[str]:
    return traceable(compute, cell, [name for name, value in cell.items() if not isinstance(value, str | bool)])


class Simulation(_ProblemTask):
    """`aetheory.simulate` in every cell and repeat, with a program for each static part of a law-exact reduction.

    A cell's parameters are those of `problem.from_parameters`: for the linear system input_dim, latent_dim or
    latent_ratio, num_samples (`jnp.inf` included) or sample_ratio, and init_variance or init_scale, where ratios are
    rounded to whole dimensions. The results are the values of the curve over time, num_steps and succeeded. Cells
    whose experiments differ in arrays only share a program. An axis named "regime" has no effect.

    Arguments:
        times: as for `simulate`.
        problem: the class of the problems.
        options: options of the problem's `experiment`: rtol, max_steps, …

    Raises:
        ValueError: an argument is out of its range.
    """

    def groups(self, grid: Grid) -> Groups:
        """A group for each combination of the parameters that must be known to prepare an experiment."""
        first, times = self._checked_cell(grid, _THEORY), self._times_in(grid.dtype)

        def experiment(cell: Cell) -> Any:
            return self._problem.from_parameters(cell).experiment(times, **self._options)

        traced = _traceable_numbers(lambda cell: eqx.filter(experiment(cell), eqx.is_array), first)
        combinations, number = grid.combinations(first.keys() - set(traced))
        numbers = {name: first[name] for name in traced}
        groups = []
        for fixed in combinations:
            size = size_of(vars(self._problem.from_parameters({**first, **fixed})))
            groups.append(_experiment_group(experiment, fixed, numbers, grid.dtype or float, size))
        return groups, number


def _experiment_group(experiment: Callable[[Cell], Any], fixed: Cell, numbers: Cell, dtype: Any, size: float) -> Group:
    """The static part of an experiment as a program, and its arrays as inputs, numbered in their order.

    Arguments:
        experiment: of the parameters of a cell.
        fixed: the parameters that must not be traced.
        numbers: the others, in the first cell. Arrays that do not follow from them are shared.
        dtype: of the numbers.
        size: as in `Group`.
    """
    first: dict[str, Any] = {}

    def arrays_of(columns: Cell) -> dict[str, Any]:
        arrays, rest = eqx.partition(experiment({**fixed, **columns}), eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        if not first:
            others, rest_structure = jax.tree.flatten(rest)
            kinds = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)  # which a compiled program depends on
            first["static"] = (structure, tuple(others), rest_structure, kinds)
            first["shared"] = {str(i): _on_host(leaf) for i, leaf in enumerate(leaves) if not _is_traced(leaf)}
        return {str(i): leaf for i, leaf in enumerate(leaves) if _is_traced(leaf)}

    def varied(columns: Cell) -> dict[str, Any]:
        if not numbers:
            return arrays_of({})
        count = len(columns[next(iter(numbers))])
        padded = {name: np.resize(columns[name].astype(dtype), max(count, _PADDED_CELLS)) for name in numbers}
        return {name: np.asarray(leaf)[:count] for name, leaf in jax.vmap(arrays_of)(padded).items()}

    def prepared(traced: Cell) -> list[Any]:
        return jax.tree.leaves(eqx.filter(experiment({**fixed, **traced}), eqx.is_array))

    def preparation() -> Any:
        traced = {name: np.asarray(value, dtype) for name, value in numbers.items()}
        return jax.make_jaxpr(prepared)(traced) if numbers else prepared({})

    varied({name: np.asarray([value]) for name, value in numbers.items()})
    program = Program(_run_experiment, first["static"])
    return Group(label_of(fixed), program, first["shared"], varied, size, 1, _FLOW_COMPILER, preparation)


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, jax.core.Tracer)


def _on_host(leaf: Any) -> Any:
    return leaf if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def _run_experiment(fixed: Any, inputs: dict[str, Any], key: PRNGKeyArray) -> OverTime:
    """The first repeat that `simulate` would draw from this key."""
    structure, others, rest_structure, kinds = fixed
    arrays = structure.unflatten([inputs[str(i)] for i in range(len(kinds))])
    experiment = eqx.combine(arrays, rest_structure.unflatten(others))
    values, stats, _ = experiment.outcome(jax.random.split(key, 1)[0])
    return OverTime(dict(values.items()), solver_results(stats))


class Prediction(_ProblemTask):
    """`aetheory.predict` in every cell, with a program for each theory and each combination of untraceable parameters.

    A cell's parameters are those of `Simulation` (ratios are not rounded), and the theory where `theory` is `None`:
    that of an axis named "regime" then, or without one the problem's default, which for linear problems is what
    `aetheory.locate` finds best. The results are the values of the curve over time, and succeeded.

    Arguments:
        times: as for `predict`.
        theory: of every cell: a name, for linear problems also a tuple of faces that meet, or a theory itself.
        problem: the class of the problems.
        options: options of the theory (method, finite_size, num_nodes, tolerance, rtol, …), except `throw`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, times: Any, theory: Any = None, problem: type[AbstractProblem] = LinearProblem, **options: Any
    ) -> None:
        super().__init__(times, problem, **options)
        self._theory = tuple(theory) if isinstance(theory, list) else theory
        if "throw" in options:
            raise fail("throw", "left out, since `on_error` decides", options["throw"])

    def groups(self, grid: Grid) -> Groups:
        """A group for each theory and each combination of the parameters that it must know."""
        axes = [name for name in _THEORY if name in grid.parameters and self._theory is None]
        first = self._checked_cell(grid, axes)
        theory = self._theory or (grid.cell(0)[axes[0]] if axes else self._default(first))
        for name in grid.parameters[axes[0]] if axes else (theory,):
            self._problem.from_parameters(first, continuous=True).find_theory(name)
        traced = _traceable_numbers(lambda cell: self._values(theory, cell), first)
        combinations, number = grid.combinations({*first} - {*traced} | {*axes})
        if self._theory or axes:
            pairs = [(self._theory or fixed.pop(axes[0]), index) for index, fixed in enumerate(combinations)]
        else:
            every = [(self._default(grid.cell(cell)), index) for cell, index in enumerate(number.tolist())]
            pairs = list(dict.fromkeys(every))
            positions = {pair: position for position, pair in enumerate(pairs)}
            number = np.array([positions[pair] for pair in every])
        groups = []
        for theory, index in pairs:
            fixed = combinations[index]
            program = Program(self._call, (theory, tuple(sorted(fixed.items()))))
            label = f"theory {_theory_name(theory)}, {label_of(fixed)}"
            chosen = self._problem.from_parameters({**first, **fixed}, continuous=True).find_theory(theory)
            batch = CLOSED_FORM_BATCH if chosen.is_explicit else 1
            group = columns_group(program, grid, traced, fixed, float)
            group = group._replace(label=label, cpu_batch=batch, compiler_options=_CLOSED_FORM_COMPILER)
            groups.append(group)
        return groups, number

    def _default(self, cell: Cell) -> Any:
        return self._problem.from_parameters(cell).default_theory()

    def _call(self, fixed: Any, inputs: dict[str, Any], key: PRNGKeyArray) -> OverTime:
        theory, parameters = fixed
        return self._values(theory, {**inputs, **dict(parameters)})

    def _values(self, theory: Any, cell: Cell) -> OverTime:
        problem = self._problem.from_parameters(cell, continuous=True)
        chosen = problem.find_theory(theory)
        quiet = {"throw": False} if "throw" in keyword_only(chosen.curve) else {}
        times = self._times_in(common_float_dtype(*cell.values()))
        curve = predict(problem, times, chosen, **self._options, **quiet)
        succeeded = True if curve.stats is None else curve.stats.succeeded
        return OverTime(dict(curve.values.items()), {"succeeded": succeeded})

    def settings(self) -> dict[str, Any]:
        """Problem, times, theory and options."""
        return {**super().settings(), "theory": _theory_name(self._theory)}


def _theory_name(theory: Any) -> Any:
    return described(theory.name if isinstance(theory, AbstractTheory) else theory)
