"""Laws of eigenvalues: limits, quadratures and samples."""

from aetheory.spectra.covariance import SampleCovariance as SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur as MarchenkoPastur
from aetheory.spectra.marchenko_pastur import Quadrature as Quadrature
from aetheory.spectra.marchenko_pastur import free_poisson as free_poisson
from aetheory.spectra.sampling import sample_wishart_spectrum as sample_wishart_spectrum
