import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import aetheory as ae
from aetheory.plotting import plot_spectrum


@pytest.mark.parametrize("ratio", [0.3, 2.0])
def test_histogram_and_density_have_the_mass_of_the_law(x64, ratio):
    law = ae.spectra.MarchenkoPastur(ratio)
    dim = 400
    spectrum = np.zeros(dim)
    found = ae.spectra.sample_wishart_spectrum(jax.random.key(0), dim, int(dim / ratio))
    spectrum[: len(found)] = found
    ax = plot_spectrum(law, eigenvalues=spectrum)
    (line,) = ax.get_lines()
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(1 - float(law.atom), abs=1e-3)
    values, edges, _ = ax.patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(1 - float(law.atom), abs=1e-9)
    middles = (edges[1:] + edges[:-1]) / 2
    distance = np.abs(values - np.interp(middles, *line.get_data())) @ np.diff(edges)
    assert distance < 0.1
    assert ("atom" in line.get_label()) == (ratio > 1)
    plt.close("all")


def test_bad_input(x64):
    with pytest.raises(ValueError, match="`eigenvalues` must be finite and nonnegative"):
        plot_spectrum(ae.spectra.MarchenkoPastur(0.5), eigenvalues=[1.0, -1.0])
    plt.close("all")
