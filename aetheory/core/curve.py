"""`Curve`: the one object that simulation, theory and training return."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from aetheory.core.checks import is_concrete
from aetheory.core.meaning import Meaning, meaning
from aetheory.core.solve import SolverStats
from aetheory.core.theory import AbstractTheory

if TYPE_CHECKING:
    import xarray


class Values(eqx.Module):
    """Arrays by name, in their order: `values.train`, `values["train"]`; iteration goes over the names.

    Arguments:
        named: an array (or pytree) for each name.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    arrays: tuple[PyTree, ...]

    def __init__(self, **named: PyTree):
        self.names, self.arrays = tuple(named), tuple(named.values())

    def __check_init__(self) -> None:
        check_names(type(self), self.names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("names", "arrays") or name not in self.names:
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        return self.arrays[self.names.index(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Pairs of a name and its array."""
        return zip(self.names, self.arrays, strict=True)


def check_names(kind: type, names: Iterable[str]) -> None:
    """Raise ValueError where a value has the name of a field or method of a class, which would hide the value."""
    taken = [field.name for field in dataclasses.fields(kind)]
    taken += [name for name in dir(kind) if not name.startswith("_") and name not in taken]
    for name in names:
        if name in taken:
            raise ValueError(
                f"Argument `values`, or what `metrics` returns, must have names other than {', '.join(taken)}, which a "
                f"{kind.__name__} has itself, but got {name!r}."
            )


def named(values: PyTree, name: str) -> Values:
    """Recorded values by name: those of a dictionary or a named tuple by theirs, anything else as `name`."""
    if isinstance(values, Values):
        return values
    if isinstance(values, dict):
        return Values(**values)
    if hasattr(values, "_asdict"):
        return Values(**values._asdict())
    return Values(**{name: values})


class Curve(eqx.Module):
    """What was measured along training, or what a theory says of it.

    Each named value is also an attribute: `curve.train` and `curve.population` of the linear system, `curve.risk` of
    the two-layer one, `curve.distance` of recovery, whatever a training recorded.

    Arguments:
        times: flow times, or numbers of steps of a descent, shape (num_times,). Flow time is in units where
            dθ/dt = −∂L/∂θ with L = p R / 2.
        values: what was measured, shape (*batch, num_times) each; with further axes where a value has them.
        std: the standard deviation of each over the repeats of a simulation; `None` for a single run or a theory.
        lower, upper: the bracket around each of a theory that is approximated; `None` where it is not.
        stats: cost and outcome of the solve, with a leading axis of repeats for a simulation; `None` for a closed form.
        module: the trained module, where it was asked for; with a leading axis for several repeats.
        optimizer_state: of a gradient descent, to continue from.
        theory: the theory that made the curve; `None` for a simulation or a training.
        problem_type: the class of the problem that was simulated or predicted; `None` for a training of any module.
        label: how figures and messages call it.
        num_repeats: how many random draws were averaged; 0 where nothing was drawn.
    """

    times: Float[Array, "*batch times"] | Int[Array, "*batch times"]
    values: Values
    std: Values | None = None
    lower: Values | None = None
    upper: Values | None = None
    stats: SolverStats | None = None
    module: PyTree = None
    optimizer_state: PyTree = None
    theory: AbstractTheory | None = eqx.field(static=True, default=None)
    problem_type: type | None = eqx.field(static=True, default=None)
    label: str = eqx.field(static=True, default="curve")
    num_repeats: int = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        for values in (self.values, self.std, self.lower, self.upper):
            check_names(Curve, () if values is None else values.names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "values" or name not in self.values.names:
            raise AttributeError(
                f"a curve of {', '.join(self.values.names)} has no {name!r}" if name != "values" else name
            )
        return self.values[name]

    @classmethod
    def predicted(cls, theory: AbstractTheory, problem: Any, times: Array, values: Values, **more: Any) -> "Curve":
        """The curve that a theory has made of a problem, of shape (*batch, num_times); `more` are further fields."""
        return cls(times, values, theory=theory, problem_type=type(problem), label=theory.name, **more)

    @property
    def standard_error(self) -> Values | None:
        """Standard deviation over √repeats: the error bar of the mean; `None` without repeats."""
        return None if self.std is None else jax.tree.map(lambda std: std / math.sqrt(self.num_repeats), self.std)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes that all values share."""
        ends = [jnp.ndim(array) for array in jax.tree.leaves(self.values)]
        first = jax.tree.leaves(self.values)[0]
        return tuple(first.shape[: min(ends) - 1])

    def meaning(self, name: str) -> Meaning:
        """Long name, symbol and unit of one of its values, as the class of its problem declares them."""
        return meaning(self.problem_type, name)

    def to_xarray(self) -> "xarray.Dataset":
        """The curve as a labelled dataset over `time` (and `batch_0`, `batch_1`, … for batched curves).

        Raises:
            ValueError: the curves of a batch have different times.
        """
        import xarray

        described = {}
        for suffix, prefix, values in (
            ("", "", self.values),
            ("_std", "standard deviation over repeats of the ", self.std),
            ("_lower", "lower end of the bracket around the ", self.lower),
            ("_upper", "upper end of the bracket around the ", self.upper),
        ):
            for name, array in () if values is None else values.items():
                described[f"{name}{suffix}"] = self._variable(name, array, prefix)
        attributes: dict[str, Any] = {"label": self.label, "num_repeats": self.num_repeats}
        if self.stats is not None:
            attributes["num_steps"] = int(np.max(np.asarray(self.stats.num_steps)))
            attributes["solver"] = self.stats.message
        kind = "flow time" if jnp.issubdtype(self.times.dtype, jnp.floating) else "number of steps"
        time = ("time", self._common_times(), {"long_name": kind, "units": "1"})
        return xarray.Dataset(described, coords={"time": time}, attrs=attributes)

    def _variable(self, name: str, array: Any, prefix: str) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
        leading = len(self.batch_shape)
        further = np.ndim(array) - leading - 1
        dims = (*(f"batch_{k}" for k in range(leading)), "time", *(f"{name}_{k}" for k in range(further)))
        attributes = self.meaning(name).attributes
        return dims, np.asarray(array), attributes | {"long_name": prefix + attributes["long_name"]}

    def _common_times(self) -> np.ndarray:
        """The times without the leading axes that `jax.vmap` gives them."""
        times = np.asarray(self.times).reshape(-1, self.times.shape[-1])
        if (times != times[0]).any():
            raise ValueError("The curves of this batch have different times and do not fit one dataset.")
        return np.asarray(times[0])

    def __repr__(self) -> str:
        leaves = jax.tree.leaves((self.times, self.values, self.stats))
        if not all(isinstance(leaf, jax.Array | np.ndarray) and is_concrete(leaf) for leaf in leaves):
            return f"Curve({self.label}, traced, {', '.join(self.values)})"
        parts = [self.label, f"{self.times.shape[-1]} times in [{jnp.min(self.times):.4g}, {jnp.max(self.times):.4g}]"]
        if self.batch_shape:
            parts.append(f"batch of {'×'.join(str(size) for size in self.batch_shape)}")
        else:
            single = [(name, array) for name, array in self.values.items() if np.ndim(array) == 1]
            parts += [f"{name} {array[0]:.4g} → {array[-1]:.4g}" for name, array in single]
        if self.num_repeats:
            parts.append(f"{self.num_repeats} repeat" + "s" * (self.num_repeats > 1))
        if self.stats is not None:
            parts.append(f"{int(jnp.max(self.stats.num_steps))} steps")
            if not bool(jnp.all(self.stats.succeeded)):
                parts.append(self.stats.message)
        return f"Curve({', '.join(parts)})"
