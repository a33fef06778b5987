"""Figures. Every function draws into Matplotlib axes, returns them, and changes no global style."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import to_hex

from aetheory._checks import fail
from aetheory.theory.prism.geometry import Prism, prism
from aetheory.theory.prism.locate import locate
from aetheory.theory.prism.problem import LinearProblem
from aetheory.training.curve import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d import Axes3D

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
            lower, upper = (np.asarray(getattr(bound, risk)) for bound in (curve.lower, curve.upper))
            ax.fill_between(times, lower, upper, color=colour, alpha=0.3, linewidth=0)
    ax.set_xlabel(r"flow time $t$")
    ax.set_ylabel(r"risk $R = \mathbb{E}\,\|x-\hat x\|^2/p$")
    return ax


def plot_prism(
    problem: LinearProblem | None = None, ax: "Axes3D | None" = None, *, order: int = 3, risk: str = "train"
) -> "Axes3D":
    """Draw the triangular prism of Pareto-optimal monomials xᵐ yⁿ zʲ, its faces named.

    Arguments:
        problem: where given, the monomials are drawn by their size in this problem's expansion, and the faces that it
            is close to are filled; the title says where it lies.
        ax: three-dimensional axes; new ones when omitted.
        order: s, the order of the expansion whose prism is drawn.
        risk: "train" or "population".

    Returns:
        The axes.

    Raises:
        ValueError: an order at which the prism is flat, another risk, or axes that are not three-dimensional.

    Source: the prism of E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
    """
    from mpl_toolkits.mplot3d import Axes3D
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    hull = prism(order, risk)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.figure(layout="constrained").add_subplot(projection="3d")
    if not isinstance(ax, Axes3D):
        raise fail("ax", "three-dimensional axes", ax)
    location = None if problem is None else locate(problem)
    colours = dict(zip((face.names[0] for face in hull.faces), COLOURS, strict=False))
    for face in hull.faces:
        (name,) = face.names
        corners = np.array([vertex.monomials[0] for vertex in hull.vertices if name in vertex.names], float)
        near = location is not None and name in location.faces
        outline = Poly3DCollection([corners[_around(corners)]], facecolor=colours[name], edgecolor="0.3", linewidth=1)
        outline.set_alpha(0.45 if near else 0.12)
        ax.add_collection3d(outline)
        centre = np.array(hull.monomials, float).mean(axis=0)
        place = corners.mean(axis=0) + 0.4 * (corners.mean(axis=0) - centre)
        backing = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
        ax.text(*place, name, color=colours[name], ha="center", fontsize=9, fontweight="bold", bbox=backing, zorder=9)
    points = np.array(hull.monomials, float)
    sizes = np.full(len(points), 14.0) if problem is None else _monomial_sizes(problem, hull)
    ax.scatter(*points.T, s=sizes, color="0.15", depthshade=False)
    ax.set(xlabel="$m$, power of $p\\sigma^2$", ylabel="$n$, power of $H/p$", zlabel="$j$, power of $p/N$")
    for axis, values in zip((ax.xaxis, ax.yaxis, ax.zaxis), points.T, strict=True):
        axis.set_ticks(np.unique(values))
    ax.view_init(elev=22, azim=-68)
    ax.set_box_aspect(None, zoom=0.9)
    if location is not None:
        ax.set_title(f"{location.kind}: {' ∩ '.join(location.faces) or 'no face is close'}", fontsize=10)
    return ax


def _around(corners: Float[np.ndarray, "corners 3"]) -> Int[np.ndarray, " corners"]:
    """The order in which the corners of a plane convex polygon follow each other."""
    centred = corners - corners.mean(axis=0)
    plane = np.linalg.svd(centred)[2][:2]
    return np.argsort(np.arctan2(*(centred @ plane.T).T))


def _monomial_sizes(problem: LinearProblem, hull: Prism) -> Float[np.ndarray, " monomials"]:
    """Marker areas: one for each decade that a monomial is below the largest one, down to six."""
    logs = np.log10(
        np.maximum([float(r) for r in (problem.init_scale, problem.latent_ratio, problem.sample_ratio)], 1e-30)
    )
    size = np.array(hull.monomials) @ logs
    areas: Float[np.ndarray, " monomials"] = 3.0 + 9.0 * np.clip(6 + size - size.max(), 0, 6)
    return areas
