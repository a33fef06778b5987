"""Population spectra of mean 1."""

import numpy as np


def power_law(dim, exponent):
    variances = np.arange(1, dim + 1.0) ** -exponent
    return variances / variances.mean()


def blocks(dim):
    """A quarter of 3, the rest of .2."""
    variances = np.where(np.arange(dim) < dim // 4, 3.0, 0.2)
    return variances / variances.mean()
