"""How far apart rounding alone can put two computations of one number: the one place from which tests take it."""

import math

import jax.numpy as jnp
import numpy as np

DEVIATIONS = 6.0
"""The errors of the terms of a sum are as good as independent, and beyond six deviations lies one sum in 10⁸."""


def rounding(dtype, terms=1, condition=1.0, size=1.0):
    """eps · min(n, 6 √n) · condition · size: what two sums of the same n terms may differ by, each in its own order.

    A sum of n terms is off by at most n u Σ|terms|, where u = eps / 2, and but with probability 2 exp(−λ²/2) by at
    most λ √n u Σ|terms| (Higham and Mary, SIAM J. Sci. Comput. 41, 2019). What it is compared with may be off by as
    much. With the `size` left out, this is a relative tolerance.

    Arguments:
        dtype: the precision that was computed in.
        terms: n, how many rounded operations follow one another: the length of a sum, the operations of all steps.
        condition: by how much the result magnifies an error of the sum; 1 for the sum itself.
        size: Σ|terms| of the largest entry, for instance the largest variance where the sum is a covariance.
    """
    return float(jnp.finfo(dtype).eps) * min(terms, DEVIATIONS * math.sqrt(terms)) * float(condition) * float(size)


def assert_rounded(found, expected, dtype, terms=1, condition=1.0, size=1.0, absolute=False):
    """Two numbers or arrays agree up to rounding, relative to each entry or, where asked for, absolutely."""
    error = rounding(dtype, terms, condition, size)
    np.testing.assert_allclose(found, expected, **{"rtol": 0, "atol": error} if absolute else {"rtol": error})
