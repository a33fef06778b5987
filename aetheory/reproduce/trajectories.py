"""Three trainings of two-layer autoencoders on isotropic inputs beside their predictions: panel (c) of the limits.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468; predictions: derived in this library.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.plotting import COLOURS

FLOWS = {"tied": "s", "joint": "^"}
"""The flows that are simulated beside alternating descent, and their marks."""
_STEP_SIZE = 0.1  # of alternating descent
_RATES = (0.5, 1.0, 2.0)
_TIMES, _LINE = np.geomspace(0.1, 20.0, 12), np.geomspace(0.05, 20.0, 100)


def simulate_flows(
    problem: ae.TwoLayerProblem, start: Float[Array, "units dim"], rates: Sequence[float]
) -> dict[str, Any]:
    """Risks of the tied and of the joint flow from a given encoder; NaN at other rates than these."""
    if problem.rate not in rates:
        return {name: np.full(len(_TIMES), np.nan) for name in FLOWS}
    flows = {name: dataclasses.replace(problem, method=name, start=start) for name in FLOWS}
    return {name: ae.simulate(flow, _TIMES, jax.random.key(0), rtol=1e-4).risk for name, flow in flows.items()}


def with_predictions(
    data: xarray.Dataset, problems: Sequence[ae.TwoLayerProblem], flows: Sequence[dict[str, Any]]
) -> xarray.Dataset:
    """The dataset with flows, predictions of flows and descents, and the largest deviations over the times."""
    units = jnp.asarray([float(one.num_units) for one in problems])
    descents = dataclasses.replace(problems[0], num_units=units)
    predicted = np.asarray(ae.predict(descents, data.step.values).risk)
    gap = np.abs(data.alternating.mean("seed") - predicted).max("step")
    data = data.assign(predicted_alternating=(("rate", "step"), predicted), alternating_excess_over_prediction=gap)
    times, places = np.unique(np.concatenate([_TIMES, _LINE]), return_inverse=True)
    for name in FLOWS:
        simulated = np.asarray([one[name] for one in flows])
        if np.isnan(simulated).all():
            continue
        risk = np.full((len(problems), len(times)), np.nan)
        for index in np.flatnonzero(~np.isnan(simulated).any(axis=1)):
            risk[index] = ae.predict(dataclasses.replace(problems[int(index)], method=name), times).risk
        points, line = np.split(risk[:, places], [len(_TIMES)], axis=1)
        data[name] = (("rate", "flow_time"), simulated)
        data[f"{name}_line"] = (("rate", "line_time"), line)
        data[f"{name}_excess_over_prediction"] = ("rate", np.abs(simulated - points).max(axis=1))
    return data


def draw(ax: Axes, data: xarray.Dataset) -> None:
    """All trainings in the time of their flow: marks on the predicted lines, and the limit of each rate (dashed)."""
    times = 2 * _STEP_SIZE * data.step.values
    steps = np.unique(np.geomspace(1, len(times) - 1, 12).round().astype(int))
    for colour, rate in zip(COLOURS, _RATES, strict=False):
        runs = data.sel(rate=rate, method="nearest")
        ax.plot(times[1:], runs.predicted_alternating[1:], color=colour, linewidth=1)
        ax.plot(times[steps], runs.alternating.mean("seed")[steps], "o", color=colour, markersize=4)
        ax.axhline(float(runs.limit), color=colour, linewidth=0.8, linestyle="--")
        ax.annotate(f"$r={float(runs.rate):g}$", (0.055, float(runs.limit) + 0.01), color=colour, fontsize=8)
        for name, mark in FLOWS.items():
            if name in runs and not np.isnan(runs[name]).any():
                ax.plot(_LINE, runs[f"{name}_line"], color=colour, linewidth=1)
                ax.plot(_TIMES, runs[name], mark, color=colour, markersize=4, markerfacecolor="none")
    label = r"flow time of $\frac{d}{2}R$ ($2\eta\,\times$ steps)"
    ax.set(xscale="log", xlim=(0.05, 20), ylim=(0.15, 1), xlabel=label, title="training, and its prediction (lines)")
