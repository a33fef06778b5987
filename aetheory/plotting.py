"""Figures. Every function draws into Matplotlib axes, returns them, and changes no global style."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_hex

from aetheory._checks import fail
from aetheory.training.curve import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colour-blind-safe palette of M. Okabe and K. Ito."""

_LOOK: dict[str, tuple[str, str]] = {"train": ("-", "o"), "population": ("--", "s")}


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
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
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
            bounds = (np.asarray(getattr(bound, risk)) for bound in (curve.lower, curve.upper))
            ax.fill_between(times, *bounds, color=colour, alpha=0.3, linewidth=0)
    ax.set_xlabel(r"flow time $t$")
    ax.set_ylabel(r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/p$")
    return ax
