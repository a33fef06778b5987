"""Spectra of random matrices beside their limiting density."""

from typing import TYPE_CHECKING, Any

import numpy as np

from aetheory.core.checks import as_float, check_real, fail
from aetheory.core.curve import Curve
from aetheory.plotting.axes import COLOURS, new_axes
from aetheory.spectra.covariance import SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUM_BINS = 40


def plot_spectrum(
    law: MarchenkoPastur | SampleCovariance, ax: "Axes | None" = None, *, eigenvalues: Any = None
) -> "Axes":
    """Draw the density of a limiting spectral law, and under it a histogram of eigenvalues.

    The continuous part is drawn; an atom at 0, and the eigenvalues that make it, are named in the legend.

    Arguments:
        law: of `ae.spectra`: a Marchenko–Pastur or free Poisson law, or that of samples of any covariance.
        ax: where to draw; new axes when omitted.
        eigenvalues: those of a sample, shape (any,), nonnegative, zeros included.

    Raises:
        ValueError: eigenvalues that are negative or not finite.
    """
    ax = new_axes() if ax is None else ax
    lower, upper = (float(edge) for edge in law.edges)
    if eigenvalues is not None:
        check_real("eigenvalues", as_float(eigenvalues), "finite and nonnegative", minimum=0.0)
        found = np.asarray(eigenvalues, np.float64).ravel()
        positive = found[found > 1e-9 * max(found.max(), 1e-300)]
        counts, ends = np.histogram(positive, _NUM_BINS)
        # normalised by all eigenvalues, zeros included, as the density of the continuous part is
        ax.stairs(
            counts / np.diff(ends) / found.size, ends, fill=True, color=COLOURS[0], alpha=0.3,
            label=f"{found.size} eigenvalues, {found.size - positive.size} zero",
        )  # fmt: skip
    # evenly spaced in the angle, which resolves both edges
    points = (lower + upper) / 2 - (upper - lower) / 2 * np.cos(np.linspace(0, np.pi, 402))[1:-1]
    density = np.asarray(law.density(as_float(points)))
    atom = float(law.atom)
    label = "limiting density" + (f", and an atom of {atom:.3g} at 0" if atom > 0 else "")
    ax.plot(points, density, color=COLOURS[1], linewidth=1.5, label=label)
    if lower < 1e-3 * upper:  # the density diverges there
        ax.set_ylim(0, 1.3 * float(density[points > 0.02 * upper].max()))
    ax.set(xlabel="eigenvalue", ylabel="density")
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_quantiles(curve: Curve, ax: "Axes | None" = None) -> "Axes":
    """Draw a spectrum along the training: bands between quantiles at either end, and the one in the middle as a line.

    Arguments:
        curve: a single one with the value `spectrum`, shape (num_times, num_levels), of increasing levels, such as
            `ae.predict(problem, times, quantiles=(0.05, 0.5, 0.95))` of a two-layer problem, or a simulation of a
            linear one with that option.
        ax: where to draw; new axes when omitted.

    Raises:
        ValueError: a curve without a spectrum.
    """
    if "spectrum" not in curve.values:
        raise fail("curve", "one with a `spectrum`, as the option `quantiles` adds it", curve)
    ax = new_axes() if ax is None else ax
    times, spectrum = np.asarray(curve.times), np.asarray(curve.spectrum)
    levels = spectrum.shape[1]
    for low in range(levels // 2):
        lower, upper = spectrum[:, low], spectrum[:, levels - 1 - low]
        ax.fill_between(times, lower, upper, color=COLOURS[0], alpha=0.25, linewidth=0)
    if levels % 2:
        ax.plot(times, spectrum[:, levels // 2], color=COLOURS[0], linewidth=1.5)
    ax.set(xlabel="step" if np.issubdtype(times.dtype, np.integer) else r"flow time $t$", ylabel="eigenvalue")
    return ax
