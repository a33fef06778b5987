"""What is claimed of linear autoencoders (arXiv:2606.05335, 2602.04548, 1806.05413), and by this library."""

from aetheory.linear.claims import covariance, data, expansion, interior, regimes, simulations, spectra

CLAIMS = (
    *expansion.CLAIMS,
    *regimes.CLAIMS,
    *simulations.CLAIMS,
    *interior.CLAIMS,
    *covariance.CLAIMS,
    *spectra.CLAIMS,
    *data.CLAIMS,
)
