"""Risk curves: limits, simulations, fits and sensitivities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aetheory.core.checks import check_instance, fail
from aetheory.core.curve import Curve
from aetheory.core.meaning import meaning
from aetheory.inference import Fit
from aetheory.inference.fit_problem import LINEAR
from aetheory.inference.sensitivities import Sensitivities
from aetheory.plotting.axes import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
"""Line and marker of the first value, of the second, and so on."""


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
        values: which of the curve's values to draw; by default the first and those on the same axis.
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
        line, marker = _STYLES[index % len(_STYLES)]
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
    axes = {curve.meaning(name).axis for name in chosen}
    label_of_axis = axes.pop() if len(axes) == 1 else ""
    ax.set_ylabel(label_of_axis or ", ".join(curve.meaning(name).long_name for name in chosen))
    return ax


def _default_values(curve: Curve) -> tuple[str, ...]:
    """The first value, and those that share its declared axis."""
    first, *others = curve.values
    axis = curve.meaning(first).axis
    return (first, *(name for name in others if axis and curve.meaning(name).axis == axis))


def plot_fit(fit: Fit, ax: "Axes | None" = None) -> "Axes":
    """Draw the observations of a fit, with two standard errors where they are known, and the fitted curve.

    Arguments:
        fit: of `ae.fit`.
        ax: where to draw; new axes when omitted.

    Returns:
        The axes; the title names the theory and the parameters that the curve determines.
    """
    check_instance("fit", fit, Fit, "what `ae.fit` returns")
    ax = new_axes() if ax is None else ax
    observed = fit.observations
    fine = np.linspace(observed.times[0], observed.times[-1], 201)
    curve = fit.curve(fine)
    for index, name in enumerate(observed.risks):
        line, marker = _STYLES[index % len(_STYLES)]
        colour = COLOURS[index % len(COLOURS)]
        errors = None if observed.errors is None else 2 * observed.errors[index]
        look: dict[str, Any] = {"markerfacecolor": "none"} if index else {}
        ax.errorbar(
            observed.times, observed.values[index], errors, linestyle="none", marker=marker, markersize=3.5,
            color=colour, elinewidth=1, label=f"observed, {name}", **look,
        )  # fmt: skip
        ax.plot(fine, np.asarray(curve.values[name]), line, color=colour, linewidth=1.5, label=f"fit, {name}")
    ax.set_title("\n".join([f"{fit.regime} regime", ", ".join(_determined(fit))]), fontsize=8)
    axis = curve.meaning(observed.risks[0]).axis
    ax.set(xlabel="recorded time", ylabel=axis or ", ".join(observed.risks))
    ax.legend(frameon=False, fontsize=8)
    return ax


def _determined(fit: Fit) -> list[str]:
    """Estimates that the curve determines; a product of parameters only where these are not determined themselves."""
    lines = []
    for name, estimate in fit.estimates.items():
        factors = fit.problem.products.get(name, ())
        known = bool(factors) and all(fit.estimates[factor].identifiable for factor in factors)
        if estimate.identifiable and not known:
            error = "" if name in LINEAR else f" ± {100 * estimate.standard_error:.2g} %"
            lines.append(f"{meaning(type(fit.problem), name).label} = {estimate.value:.3g}{error}")
    return lines


def plot_sensitivities(sensitivities: Sensitivities, ax: "Axes | None" = None, *, value: str | None = None) -> "Axes":
    """Draw the derivatives of a value in the logarithm of each number of the problem.

    A filled derivative is the first-order effect of a change of the number by its own size.

    Arguments:
        sensitivities: of `ae.sensitivities`.
        ax: where to draw; new axes when omitted.
        value: which of the curve's values; the last one when omitted, the population risk where it has both.

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
        colour, line, values = COLOURS[index], _STYLES[index % len(_STYLES)][0], np.asarray(answer[value])
        label = meaning(sensitivities.curve.problem_type, name).label
        ax.plot(times, values, line, color=colour, linewidth=1.5, label=label)
        ax.fill_between(times, 0, values, color=colour, alpha=0.12, linewidth=0)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel=r"flow time $t$", ylabel=r"$\partial R/\partial\log\theta$")
    ax.set_title(f"{sensitivities.curve.label}, {value}", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax
