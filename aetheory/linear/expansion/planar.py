"""The leading order in large dimension: free moments of two free Poisson elements.

As p, H and N grow together, (1/p) E tr of a word in M and S tends to a mixed moment of two free elements with free
cumulants κ_k(M) = y xᵏ and κ_k(S) = z^{k−1}: a polynomial in x = pσ², y = H/p and z = p/N.
"""

from collections.abc import Callable, Iterator

import numpy as np

from aetheory.linear.expansion.polynomial import Polynomial
from aetheory.linear.expansion.words import canonical, risk_derivative

VARIABLES = ("x", "y", "z")

# A polynomial in y and z with nonnegative coefficients is kept as its value at y = 2^32, z = y^13 (Kronecker's
# substitution), so that products of polynomials are products of integers. Up to order 10, words have at most 12 letters
# M and 11 letters S: no power of y exceeds 12, and a coefficient, which counts pairs of non-crossing partitions with
# given numbers of blocks, is at most a product of Narayana numbers, 60984 · 19404 < 2^32.
_DIGIT_BITS = 32
_Z_DIGITS = 13


def leading_risk_derivative(order: int, risk: str) -> Polynomial:
    """The limit of E R^{(s)}(0), s = `order`, at fixed x, y, z: a polynomial with integer coefficients.

    Source: the large-size limit of arXiv:2602.04548, Section 4.
    """
    moment = _free_moments()
    totals: dict[tuple[int, ...], int] = {}
    for word, coefficient in risk_derivative(order, risk).items():
        power = word.count("M")
        for y, z, count in _digits(moment(word)):
            monomial = (power, y, z)
            totals[monomial] = totals.get(monomial, 0) + coefficient * count
    return Polynomial.from_terms(VARIABLES, totals)


def _free_moments() -> Callable[[str], int]:
    """The moment of a canonical word at x = 1, as a packed polynomial in y and z.

    The letters of one kind that share a cumulant with the first one cut the word into independent words:

        τ(M A) = y τ(A) + Σ_{A = B M C} τ(M B) τ(C),        τ(S A) = τ(A) + z Σ_{A = B S C} τ(S B) τ(C).

    Source: the planar part of the loop equation in `wick.py`; moments from free cumulants: R. Speicher (1994).
    """
    known = {"": 1}

    def moment(word: str) -> int:
        if word not in known:
            samples = word.count("S")
            # The rarer letter makes the shorter sum.
            letter = "M" if samples == 0 or 0 < len(word) - samples <= samples else "S"
            cut = word.index(letter)
            rest = word[cut + 1 :] + word[:cut]
            alone = moment(canonical(rest))
            joined = sum(
                moment(canonical(letter + rest[:position])) * moment(canonical(rest[position + 1 :]))
                for position, other in enumerate(rest)
                if other == letter
            )
            shift = _DIGIT_BITS if letter == "M" else _DIGIT_BITS * _Z_DIGITS
            known[word] = (alone << shift) + joined if letter == "M" else alone + (joined << shift)
        return known[word]

    return moment


def _digits(packed: int) -> Iterator[tuple[int, int, int]]:
    """The monomials of a packed polynomial: power of y, power of z, coefficient."""
    size = -(-packed.bit_length() // _DIGIT_BITS)
    digits = np.frombuffer(packed.to_bytes(size * _DIGIT_BITS // 8, "little"), dtype="<u4")
    for place in np.flatnonzero(digits).tolist():
        z, y = divmod(place, _Z_DIGITS)
        yield y, z, int(digits[place])
