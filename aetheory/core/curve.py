"""Risk curves: the one object that simulation and theory both return."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aetheory.core.checks import is_concrete
from aetheory.core.solve import SolverStats

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


class Risks(eqx.Module):
    """A train and a population value of one shape."""

    train: Float[Array, "*shape"]
    population: Float[Array, "*shape"]


class Curve(eqx.Module):
    """Train and population risk R = (1/p) E‖x − x̂‖² along a flow.

    Arguments:
        times: flow time, shape (num_times,), in units where dθ/dt = −∂L/∂θ with L = p R / 2.
        train: risk averaged over the training samples, shape (*batch, num_times).
        population: risk averaged over the source, shape (*batch, num_times).
        std: standard deviation of both over the repeats of a simulation; `None` for a single run or a limit.
        lower, upper: the bracket around both of a limit that is approximated; `None` where it is not.
        stats: cost and outcome of the solve, with a leading axis of repeats for a simulation; `None` for a closed form.
        label: what produced the curve, e.g. "simulation" or "large-data".
        num_repeats: how many random draws were averaged; 0 for a deterministic limit.
    """

    times: Float[Array, " times"]
    train: Float[Array, "*batch times"]
    population: Float[Array, "*batch times"]
    std: Risks | None = None
    lower: Risks | None = None
    upper: Risks | None = None
    stats: SolverStats | None = None
    label: str = eqx.field(static=True, default="curve")
    num_repeats: int = eqx.field(static=True, default=0)

    @property
    def standard_error(self) -> Risks | None:
        """Standard deviation over √repeats: the error bar of the mean; `None` without repeats."""
        if self.std is None:
            return None
        return Risks(self.std.train / self.num_repeats**0.5, self.std.population / self.num_repeats**0.5)

    def to_xarray(self) -> "xarray.Dataset":
        """The curve as a labelled dataset over `time` (and `batch_0`, `batch_1`, … for batched curves)."""
        import xarray

        dims = (*(f"batch_{axis}" for axis in range(self.train.ndim - 1)), "time")
        described = {}
        for risk in ("train", "population"):
            described[risk] = (dims, np.asarray(getattr(self, risk)), {"long_name": f"{risk} risk", "units": "1"})
            for bound in ("lower", "upper"):
                if (risks := getattr(self, bound)) is not None:
                    name = f"{bound} end of the bracket around the {risk} risk"
                    values = np.asarray(getattr(risks, risk))
                    described[f"{risk}_{bound}"] = (dims, values, {"long_name": name, "units": "1"})
            if self.std is not None:
                name = f"standard deviation of the {risk} risk over repeats"
                values = np.asarray(getattr(self.std, risk))
                described[f"{risk}_std"] = (dims, values, {"long_name": name, "units": "1"})
        time = ("time", self._common_times(), {"long_name": "flow time", "units": "1"})
        attributes: dict[str, Any] = {"label": self.label, "num_repeats": self.num_repeats}
        if self.stats is not None:
            attributes["num_steps"] = int(np.max(np.asarray(self.stats.num_steps)))
            attributes["solver"] = self.stats.message
        return xarray.Dataset(described, coords={"time": time}, attrs=attributes)

    def _common_times(self) -> Float[np.ndarray, " times"]:
        """The times without the leading axes that `jax.vmap` gives them."""
        times = np.asarray(self.times).reshape(-1, self.times.shape[-1])
        if (times != times[0]).any():
            raise ValueError("The curves of this batch have different times and do not fit one dataset.")
        common: Float[np.ndarray, " times"] = times[0]
        return common

    def plot(self, ax: "Axes | None" = None, **options: Any) -> "Axes":
        """Draw the curve; see `aetheory.plotting.plot_curve` for the options."""
        from aetheory.plotting import plot_curve

        axes: Axes = plot_curve(self, ax=ax, **options)
        return axes

    def __repr__(self) -> str:
        leaves = jax.tree.leaves(self)
        if not all(isinstance(leaf, jax.Array | np.ndarray) and is_concrete(leaf) for leaf in leaves):
            return f"Curve({self.label}, traced, shape {getattr(self.train, 'shape', None)})"
        first, last = jnp.min(self.times), jnp.max(self.times)
        parts = [f"{self.label}", f"{self.times.shape[-1]} times in [{first:.4g}, {last:.4g}]"]
        if self.train.ndim == 1:
            parts += [
                f"train {self.train[0]:.4g} → {self.train[-1]:.4g}",
                f"population {self.population[0]:.4g} → {self.population[-1]:.4g}",
            ]
        else:
            parts.append(f"batch of {'×'.join(str(size) for size in self.train.shape[:-1])}")
        if self.num_repeats:
            parts.append(f"{self.num_repeats} repeat" + "s" * (self.num_repeats > 1))
        if self.stats is not None:
            parts.append(f"{int(jnp.max(self.stats.num_steps))} steps")
            if not bool(jnp.all(self.stats.succeeded)):
                parts.append(self.stats.message)
        return f"Curve({', '.join(parts)})"
