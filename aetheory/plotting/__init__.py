"""Figures. Every function draws into Matplotlib axes, returns them, and changes no global style."""

from aetheory.plotting.axes import COLOURS as COLOURS
from aetheory.plotting.curves import plot as plot
from aetheory.plotting.curves import plot_fit as plot_fit
from aetheory.plotting.curves import plot_sensitivities as plot_sensitivities
from aetheory.plotting.matrices import plot_atoms as plot_atoms
from aetheory.plotting.matrices import plot_distances as plot_distances
from aetheory.plotting.matrices import plot_phases as plot_phases
from aetheory.plotting.prism import plot_prism as plot_prism
from aetheory.plotting.spectra import plot_quantiles as plot_quantiles
from aetheory.plotting.spectra import plot_spectrum as plot_spectrum
