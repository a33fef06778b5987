"""Risk curves: limits, simulations, fits and sensitivities."""

from typing import TYPE_CHECKING, Any

import numpy as np

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.inference import Fit
from aetheory.linear.sensitivities import RATIOS, Sensitivities
from aetheory.plotting.axes import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOK: dict[str, tuple[str, str]] = {"train": ("-", "o"), "population": ("--", "s")}


_SYMBOLS = {
    "init_scale": r"$p\sigma^2$",
    "latent_ratio": r"$H/p$",
    "sample_ratio": r"$p/N$",
    "init_strength": r"$H\sigma^2$",
    "time_unit": "time unit",
}


def plot_curve(
    curve: Curve,
    ax: "Axes | None" = None,
    *,
    risks: tuple[str, ...] = ("train", "population"),
    colour: str | None = None,
    label: str | None = None,
    markers: bool | None = None,
) -> "Axes":
    """Draw the risks of a curve against flow time: train solid and round, population dashed and square.

    A limit that comes with a bracket is drawn with a band between its ends.

    Arguments:
        curve: a single curve (no batch axes).
        ax: where to draw; new axes when omitted.
        risks: which of the two risks to draw.
        colour: one colour for both risks; the next of the axes' cycle when omitted.
        label: the legend entry (the curve's own label when omitted), to which the risk is added.
        markers: dots instead of a line; by default for simulations, with a band of one standard deviation over
            the repeats.

    Returns:
        The axes.

    Raises:
        ValueError: a batched curve, or an unknown risk.
    """
    if curve.train.ndim != 1:
        raise ValueError(f"Argument `curve` must be a single curve, but has shape {curve.train.shape}; index it first.")
    unknown = [risk for risk in risks if risk not in _LOOK]
    if unknown:
        raise fail("risks", "made of 'train' and 'population'", risks)
    from matplotlib.colors import to_hex

    ax = new_axes() if ax is None else ax
    markers = curve.num_repeats > 0 if markers is None else markers
    times = np.asarray(curve.times)
    for risk in risks:
        line, marker = _LOOK[risk]
        values = np.asarray(getattr(curve, risk))
        look: dict[str, Any] = {"linestyle": "none", "marker": marker} if markers else {"linestyle": line}
        if markers and risk == "population":
            look |= {"markerfacecolor": "none"}
        (drawn,) = ax.plot(
            times, values, color=colour, markersize=3.5, linewidth=1.5, label=f"{label or curve.label}, {risk}", **look
        )
        colour = to_hex(drawn.get_color())
        if curve.std is not None and markers:
            spread = np.asarray(getattr(curve.std, risk))
            ax.fill_between(times, values - spread, values + spread, color=colour, alpha=0.18, linewidth=0)
        if curve.lower is not None and curve.upper is not None:
            lower, upper = (np.asarray(getattr(bound, risk)) for bound in (curve.lower, curve.upper))
            ax.fill_between(times, lower, upper, color=colour, alpha=0.3, linewidth=0)
    ax.set_xlabel(r"flow time $t$")
    ax.set_ylabel(r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/p$")
    return ax


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
    ax.set_title("\n".join([f"{fit.name} regime", ", ".join(named)]), fontsize=8)
    ax.set_xlabel("recorded time")
    ax.set_ylabel("risk")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_sensitivities(
    sensitivities: Sensitivities, ax: "Axes | None" = None, *, risk: str = "population", elasticity: bool = False
) -> "Axes":
    """Draw how a risk answers to each ratio: its derivative in the ratio's logarithm, or its elasticity.

    A band about 0 to the derivative shows what a change of the ratio by its own size would do to first order.

    Arguments:
        sensitivities: of `ae.sensitivities`.
        ax: where to draw; new axes when omitted.
        risk: "train" or "population".
        elasticity: ∂log R/∂log θ instead of ∂R/∂log θ.

    Raises:
        ValueError: another risk.
    """
    if risk not in _LOOK:
        raise fail("risk", "'train' or 'population'", risk)
    ax = new_axes() if ax is None else ax
    shown = sensitivities.elasticities if elasticity else sensitivities.derivatives
    times = np.asarray(sensitivities.curve.times)
    for colour, line, name in zip(COLOURS, ("-", "--", ":"), RATIOS, strict=False):
        values = np.asarray(getattr(shown[name], risk))
        ax.plot(times, values, line, color=colour, linewidth=1.5, label=_SYMBOLS[name])
        ax.fill_between(times, 0, values, color=colour, alpha=0.12, linewidth=0)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set_xlabel(r"flow time $t$")
    ax.set_ylabel(r"$\partial\log R/\partial\log\theta$" if elasticity else r"$\partial R/\partial\log\theta$")
    ax.set_title(f"{sensitivities.curve.label}, {risk} risk", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax
