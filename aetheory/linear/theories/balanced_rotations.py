"""Orthogonal matrices whose lowest mixed moments are those of free elements, for `Rotations`.

Diagonal matrices D and U E Uᵀ are free in the limit of a large random rotation U. At finite size a mixed moment such as
tr D UEUᵀ D UEUᵀ fluctuates from one U to the next by about 1/size. The matrices here remove the leading fluctuations:
entries of equal size, U_ij² = 1/size, make all moments tr Dᵃ U Eᵇ Uᵀ exact, and permutations of their columns make
tr D UEUᵀ D' UE'Uᵀ nearly exact for spectra that vary smoothly with their rank.

Source: freeness: D. Voiculescu, Invent. Math. 104 (1991). Hadamard matrices: R. Paley, J. Math. Phys. 12 (1933). The
selection of permutations is derived for this library.
"""

from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int

_NUM_TRIALS = 400
"""Exchanges of two columns that are tried for each matrix; three times as many reduce the moments by half again."""

_NUM_COSINES = 3
"""Functions of the rank of an eigenvalue, cos(πk(rank + ½)/size), whose mixed moments are made small."""

_AMPLITUDE = 64.0
"""Of the cosines, which are rounded to whole numbers: sums are exact, and the same on every processor."""


@lru_cache(maxsize=8)
def balanced_rotations(size: int, number: int, seed: int) -> Float[np.ndarray, "number size size"]:
    """Orthogonal matrices with entries ± 1/√size whose lowest mixed moments nearly vanish.

    Of centred diagonal D, E, D', E' the free value of tr D UEUᵀ D' UE'Uᵀ is 0. Two columns are exchanged where that
    reduces the sum of squares of these moments over all D, E, D', E' that are cosines of the rank.

    Arguments:
        size: rows of a matrix; one of `rotation_sizes`.
        number: of matrices.
        seed: of the permutations.

    Returns:
        The matrices, in float64.
    """
    signs, rng = hadamard_matrix(size), np.random.RandomState(seed)  # whose stream never changes
    matrices = [_balanced(signs[rng.permutation(size)][:, rng.permutation(size)], rng) for _ in range(number)]
    rotations: Float[np.ndarray, "number size size"] = np.stack(matrices) / np.sqrt(size)
    return rotations


def _balanced(signs: Float[np.ndarray, "size size"], rng: np.random.RandomState) -> Float[np.ndarray, "size size"]:
    size = len(signs)
    orders = np.arange(1, _NUM_COSINES + 1)[:, None]
    cosines = np.rint(_AMPLITUDE * np.cos(np.pi * orders * (np.arange(size) + 0.5) / size))
    first, second = np.array(list(combinations_with_replacement(range(_NUM_COSINES), 2))).T

    def sum_of_squares(products: Float[np.ndarray, "cosines size size"]) -> float:
        moments = cosines @ (products[first] * products[second]) @ cosines.T
        return float(np.sum(moments[:, first, second] ** 2))

    products = (signs * cosines[:, None, :]) @ signs.T
    smallest = sum_of_squares(products)
    for left, right in rng.randint(size, size=(_NUM_TRIALS, 2)):
        exchanged = np.outer(signs[:, left], signs[:, left]) - np.outer(signs[:, right], signs[:, right])
        moved = products + (cosines[:, right] - cosines[:, left])[:, None, None] * exchanged
        if (found := sum_of_squares(moved)) < smallest:
            products, smallest = moved, found
            signs[:, [left, right]] = signs[:, [right, left]]
    return signs


def hadamard_matrix(size: int) -> Float[np.ndarray, "size size"]:
    """A Hadamard matrix H, H Hᵀ = size · I with entries ± 1, by Paley's construction and doubling.

    For a prime q ≡ 3 mod 4, I + Q with the Jacobsthal matrix of q, bordered by ± 1, has size q + 1.
    """
    prime = _paley_prime(size)
    residues = {i * i % prime for i in range(1, prime)}
    symbol = np.array([0.0] + [1.0 if i in residues else -1.0 for i in range(1, prime)])
    places = np.arange(prime)
    matrix: Float[np.ndarray, "size size"] = np.ones((prime + 1, prime + 1))
    matrix[1:, 0] = -1
    matrix[1:, 1:] = symbol[(places[:, None] - places) % prime] + np.eye(prime)
    while len(matrix) < size:
        matrix = np.kron([[1, 1], [1, -1]], matrix)
    return matrix


@lru_cache(maxsize=1)
def rotation_sizes(largest: int) -> Int[np.ndarray, " sizes"]:
    """The sizes up to a number for which `hadamard_matrix` has a construction."""
    return np.array([size for size in range(4, largest + 1, 4) if _paley_prime(size)])


def _paley_prime(size: int) -> int:
    """The largest prime q ≡ 3 mod 4 such that `size` is q + 1 times a power of 2; 0 where there is none."""
    while size > 3 and size % 4 == 0:
        if all((size - 1) % divisor for divisor in range(2, int(np.sqrt(size - 1)) + 1)):
            return size - 1
        size //= 2
    return 0
