"""Matrices: phase diagrams, pairwise distances, dictionary atoms."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from aetheory.core.checks import check_samples, fail, static_integer
from aetheory.core.dictionary import check_group_size
from aetheory.plotting.axes import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_phases(
    columns: Any,
    rows: Any,
    values: Any,
    ax: "Axes | None" = None,
    *,
    limits: tuple[float | int, float | int] | None = None,
    label: str | None = None,
) -> "Axes":
    """Draw a phase diagram: values over two parameters as colours.

    Arguments:
        columns: the parameter along the horizontal axis, shape (num_columns,), increasing.
        rows: the one along the vertical axis, shape (num_rows,), increasing.
        values: shape (num_rows, num_columns); NaN where there is none yet.
        ax: where to draw; new axes when omitted.
        limits: the ends of the colour scale; those of the values when omitted.
        label: what the values are, beside the colour scale.

    Returns:
        The axes; the colour scale stands beside them.

    Raises:
        ValueError: shapes that do not fit.
    """
    across, down, table = (np.asarray(one, np.float64) for one in (columns, rows, values))
    if across.ndim != 1 or down.ndim != 1 or table.shape != (down.size, across.size):
        raise fail("values", f"of shape {(down.size, across.size)}, one for each row and column", values)
    ax = new_axes() if ax is None else ax
    low, high = (None, None) if limits is None else limits
    image = ax.pcolormesh(across, down, table, vmin=low, vmax=high, cmap="viridis", shading="nearest")
    ax.figure.colorbar(image, ax=ax, label=label or "")
    return ax


def plot_distances(matrix: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw a matrix of pairwise distances, such as of codes sorted by class; the largest hundredth is one colour.

    Arguments:
        matrix: shape (num_samples, num_samples), finite.
        ax: where to draw; new axes when omitted.

    Raises:
        ValueError: a matrix that is not square, or has NaN.
    """
    distances = np.asarray(check_samples("matrix", matrix, shape="(num_samples, num_samples)"))
    if distances.shape[0] != distances.shape[1]:
        raise fail("matrix", "square", matrix)
    ax = new_axes() if ax is None else ax
    ax.imshow(distances, cmap="viridis", interpolation="nearest", vmax=np.quantile(distances, 0.99))
    ax.set(xticks=[], yticks=[])
    return ax


def plot_atoms(
    dictionary: Any, image_shape: tuple[int, ...], ax: "Axes | None" = None, *, group_size: int = 1
) -> "Axes":
    """Draw the atoms of a dictionary of images: a group in each row, or all in a square where groups are single.

    Each atom is scaled to its own largest entry, with the sign of which the sum is positive.

    Arguments:
        dictionary: shape (input_dim, latent_dim), finite.
        image_shape: (height, width) with height · width = input_dim.
        ax: where to draw; new axes when omitted.
        group_size: d, the columns of a group.

    Raises:
        ValueError: shapes that do not fit.
    """
    atoms = np.asarray(check_samples("dictionary", dictionary, shape="(input_dim, latent_dim)"))
    height, width = image_shape[:2]
    if height * width != atoms.shape[0]:
        raise fail("image_shape", f"of {atoms.shape[0]} pixels, the rows of `dictionary`", image_shape)
    size = static_integer("group_size", group_size)
    num_groups = check_group_size(size, atoms.shape[1])
    across = size if size > 1 else int(np.ceil(atoms.shape[1] ** 0.5))
    canvas = _canvas(atoms, (height, width), across)
    ax = new_axes() if ax is None else ax
    ax.imshow(canvas, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    if size > 1:
        ax.set_yticks(np.arange(num_groups) * (height + 1) + height / 2, [str(k + 1) for k in range(num_groups)])
        ax.set_ylabel("group")
    return ax


def _canvas(
    atoms: Float[np.ndarray, "pixels latent_dim"], shape: tuple[int, int], across: int
) -> Float[np.ndarray, "rows columns"]:
    """All atoms beside each other, with a line of nothing between them."""
    height, width = shape
    down = -(-atoms.shape[1] // across)
    canvas = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for index, atom in enumerate(atoms.T):
        row, column = divmod(index, across)
        top, left = row * (height + 1), column * (width + 1)
        largest = np.abs(atom).max()
        scale = np.copysign(largest if largest > 0 else 1.0, atom.sum())
        canvas[top : top + height, left : left + width] = atom.reshape(height, width) / scale
    return canvas
