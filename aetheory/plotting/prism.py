"""The prism of monomials."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from aetheory.core.checks import fail
from aetheory.linear.geometry import Prism, prism
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.plotting.axes import COLOURS

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d import Axes3D


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
