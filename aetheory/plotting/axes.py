"""Colours and axes that all figures share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colour-blind-safe palette of M. Okabe and K. Ito."""


def new_axes() -> "Axes":
    """Axes of a new figure."""
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(layout="constrained")
    return ax
