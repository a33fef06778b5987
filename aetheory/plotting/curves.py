"""Risk curves: limits, simulations, fits and sensitivities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aetheory.core.checks import check_instance, fail
from aetheory.core.curve import Curve
from aetheory.inference import Fit
from aetheory.inference.sensitivities import Sensitivities
from aetheory.plotting.axes import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
_LOOK = dict(zip(("train", "population"), _LOOKS, strict=False))


_SYMBOLS = {
    "init_scale": r"$p\sigma^2$",
    "latent_ratio": r"$H/p$",
    "sample_ratio": r"$p/N$",
    "init_strength": r"$H\sigma^2$",
    "time_unit": "time unit",
}


def plot(
    curve: Curve,
    ax: "Axes | None" = None,
    *,
    values: Sequence[str] | None = None,
    colour: str | None = None,
    label: str | None = None,
) -> "Axes":
    """Draw named values of a curve against time: the first as a line or round dots, the second dashed or square.

    A theory that comes with a bracket is drawn with a band between its ends, a simulation with a band of one standard
    deviation over its repeats.

    Arguments:
        curve: a single curve (no batch axes), of any system.
        ax: where to draw; new axes when omitted.
        values: which of the curve's values to draw; train and population risk where it has them, otherwise the first.
        colour: one colour for all of them; the next of the axes' cycle when omitted.
        label: the legend entry (the curve's own label when omitted), to which the name of the value is added.

    Returns:
        The axes.

    Raises:
        ValueError: a batched curve, or an unknown value.
    """
    check_instance("curve", curve, Curve, "a Curve")
    from matplotlib.colors import to_hex

    if curve.batch_shape:
        raise fail("curve", "a single curve (index a batch of them first)", curve)
    chosen = _default_values(curve) if values is None else tuple(values)
    if any(name not in curve.values for name in chosen):
        raise fail("values", f"made of {', '.join(map(repr, curve.values))}", values)
    ax = new_axes() if ax is None else ax
    markers, times = curve.num_repeats > 0, np.asarray(curve.times)
    for index, name in enumerate(chosen):
        line, marker = _LOOKS[index % len(_LOOKS)]
        drawn_values = np.asarray(curve.values[name])
        look: dict[str, Any] = {"linestyle": "none", "marker": marker} if markers else {"linestyle": line}
        if markers and index:
            look |= {"markerfacecolor": "none"}
        text = f"{label or curve.label}, {name.replace('_', ' ')}"
        (drawn,) = ax.plot(times, drawn_values, color=colour, markersize=3.5, linewidth=1.5, label=text, **look)
        colour = to_hex(drawn.get_color())
        if curve.std is not None and markers:
            spread = np.asarray(curve.std[name])
            ax.fill_between(times, drawn_values - spread, drawn_values + spread, color=colour, alpha=0.18, linewidth=0)
        if curve.lower is not None and curve.upper is not None:
            lower, upper = (np.asarray(bound[name]) for bound in (curve.lower, curve.upper))
            ax.fill_between(times, lower, upper, color=colour, alpha=0.3, linewidth=0)
    ax.set_xlabel("step" if np.issubdtype(times.dtype, np.integer) else r"flow time $t$")
    risk = set(chosen) <= {"train", "population", "risk"}
    ax.set_ylabel(r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/p$" if risk else ", ".join(chosen).replace("_", " "))
    return ax


def _default_values(curve: Curve) -> tuple[str, ...]:
    names = tuple(curve.values)
    return ("train", "population") if {"train", "population"} <= set(names) else names[:1]


def plot_fit(fit: Fit, ax: "Axes | None" = None) -> "Axes":
    """Draw the observations of a fit, with two standard errors where they are known, and the fitted curve.

    Arguments:
        fit: of `ae.fit`.
        ax: where to draw; new axes when omitted.

    Returns:
        The axes; the title names the regime and the parameters that the curve determines.
    """
    ax = new_axes() if ax is None else ax
    observed = fit.observations
    fine = np.linspace(observed.times[0], observed.times[-1], 201)
    curve = fit.curve(fine)
    determined = set(fit.free) - set(fit.not_identifiable)
    for index, risk in enumerate(observed.risks):
        line, marker = _LOOK[risk]
        colour = COLOURS[index]
        errors = None if observed.errors is None else 2 * observed.errors[index]
        look: dict[str, Any] = {"markerfacecolor": "none"} if risk == "population" else {}
        ax.errorbar(
            observed.times, observed.values[index], errors, linestyle="none", marker=marker, markersize=3.5,
            color=colour, elinewidth=1, label=f"observed, {risk}", **look,
        )  # fmt: skip
        ax.plot(fine, np.asarray(getattr(curve, risk)), line, color=colour, linewidth=1.5, label=f"fit, {risk}")
    named = [
        f"{_SYMBOLS[name]} = {one.value:.3g} ± {100 * one.standard_error:.2g} %"
        for name, one in fit.estimates.items()
        if one.identifiable and name in _SYMBOLS and not (name == "init_strength" and "init_scale" in determined)
    ]
    ax.set_title("\n".join([f"{fit.regime} regime", ", ".join(named)]), fontsize=8)
    ax.set(xlabel="recorded time", ylabel="risk")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_sensitivities(sensitivities: Sensitivities, ax: "Axes | None" = None, *, value: str | None = None) -> "Axes":
    """Draw how a risk answers to each ratio: its derivative in the ratio's logarithm.

    A band about 0 to it shows what a change of the ratio by its own size would do to first order.

    Arguments:
        sensitivities: of `ae.sensitivities`.
        ax: where to draw; new axes when omitted.
        value: which of the curve's values; the last one when omitted, which is the population risk of a linear problem.

    Raises:
        ValueError: a value that the curve does not have.
    """
    known = tuple(sensitivities.curve.values)
    if value not in (None, *known):
        raise fail("value", f"one of {', '.join(map(repr, known))}", value)
    value = known[-1] if value is None else value
    ax = new_axes() if ax is None else ax
    times = np.asarray(sensitivities.curve.times)
    for index, (name, answer) in enumerate(sensitivities.derivatives.items()):
        colour, line, values = COLOURS[index], _LOOKS[index % len(_LOOKS)][0], np.asarray(answer[value])
        ax.plot(times, values, line, color=colour, linewidth=1.5, label=_SYMBOLS.get(name, name))
        ax.fill_between(times, 0, values, color=colour, alpha=0.12, linewidth=0)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel=r"flow time $t$", ylabel=r"$\partial R/\partial\log\theta$")
    ax.set_title(f"{sensitivities.curve.label}, {value}", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax
