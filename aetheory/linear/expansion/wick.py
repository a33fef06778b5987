"""Exact expectations of traces of words in two independent real Wishart matrices and Σ, by loop equations.

Wick's formula for the Gaussian entries would sum over (2m−1)!!·(2k−1)!! pairings of a word with m letters M and k
letters S. Gaussian integration by parts removes one letter at a time instead, and products of traces that agree up to
rotation, reversal and order are collected after every letter, so that their number stays small (2000 at order 5).
"""

from typing import NamedTuple

from aetheory.linear.expansion.polynomial import Polynomial
from aetheory.linear.expansion.words import canonical, risk_derivative

VARIABLES = ("p", "H", "sigma^2", "1/N")

# A monomial p^a H^b σ^{2m} N^{−c} is the integer a + b·B + m·B² + c·B³: multiplying monomials adds integers, which is
# several times faster than adding tuples. Exponents stay below 64. Those of τ_k = tr Σᵏ/p, k = 1, 2, …, follow.
_BITS = 8
_P, _H, _VARIANCE, _INVERSE_SAMPLES = (1 << (_BITS * place) for place in range(4))

Traces = tuple[str, ...]
PackedPolynomial = dict[int, int]
Expression = dict[Traces, PackedPolynomial]


class _Wishart(NamedTuple):
    """A letter GGᵀ with G of iid centred Gaussian entries: the weights that integration by parts gives it."""

    letter: str
    closed: int  # the factor paired with its own transpose: degrees of freedom × variance
    joined: int  # paired with the factor of another letter: the variance
    between: str = ""  # what stands between two paired factors: their covariance


WEIGHTS = _Wishart("M", closed=_H + _VARIANCE, joined=_VARIANCE)
SAMPLES = _Wishart("S", closed=0, joined=_INVERSE_SAMPLES)
GENERAL_SAMPLES = SAMPLES._replace(between="T")


def loop_equation(traces: Traces, wishart: _Wishart) -> list[tuple[Traces, int]]:
    """E of a product of traces as a sum of products with one letter less, each with its monomial.

    Integration by parts of one Wishart letter L = GGᵀ with variance v and n degrees of freedom, in the trace tr LA:

        E tr(LA) = n v E tr A + v Σ_{A = BLC} E[tr(B Cᵀ L) + tr(LB) tr C] + v Σ_{tr LB} E[tr(A Bᵀ L) + tr(A B L)],

    where the first sum runs over the letters L in A, the second over those in the other traces of the product. Columns
    of G with a covariance Σ leave it between the factors that are paired: tr ΣA, tr(B Σ Cᵀ L) + tr(LB) tr(ΣC) and
    tr(A Σ Bᵀ L) + tr(A Σ B L).

    Source: Wick's formula as used for Theorem 3.1 of arXiv:2602.04548, summed by integration by parts.
    """
    # The trace with the fewest of these letters meets the fewest new products.
    chosen = min(
        (index for index, word in enumerate(traces) if wishart.letter in word),
        key=lambda index: (traces[index].count(wishart.letter), -len(traces[index])),
    )
    others = traces[:chosen] + traces[chosen + 1 :]
    rest, between = _open(traces[chosen], traces[chosen].index(wishart.letter)), wishart.between
    images = [_collect((between + rest, *others), wishart.closed)]
    for position in _positions(rest, wishart.letter):
        before, after = rest[:position], rest[position + 1 :]
        images.append(_collect((before + between + after[::-1] + wishart.letter, *others), wishart.joined))
        images.append(_collect((wishart.letter + before, between + after, *others), wishart.joined))
    for index, other in enumerate(others):
        remaining = others[:index] + others[index + 1 :]
        for position in _positions(other, wishart.letter):
            partner = _open(other, position)
            images.append(_collect((rest + between + partner[::-1] + wishart.letter, *remaining), wishart.joined))
            images.append(_collect((rest + between + partner + wishart.letter, *remaining), wishart.joined))
    return images


def integrate_out(expression: Expression, wishart: _Wishart) -> Expression:
    """Expectation over one of the two matrices: what is left are traces of words without its letter."""
    levels: dict[int, Expression] = {}
    for traces, polynomial in expression.items():
        levels.setdefault(sum(word.count(wishart.letter) for word in traces), {})[traces] = polynomial
    for count in range(max(levels), 0, -1):
        lower = levels.setdefault(count - 1, {})
        for traces, polynomial in levels.pop(count, {}).items():
            for image, monomial in loop_equation(traces, wishart):
                target = lower.setdefault(image, {})
                for exponents, coefficient in polynomial.items():
                    product = exponents + monomial
                    target[product] = target.get(product, 0) + coefficient
    return levels[0]


def expected_risk_derivative(order: int, risk: str) -> Polynomial:
    """E R^{(s)}(0) for s = `order`, a polynomial in p, H, σ² and 1/N with integer coefficients.

    The samples are integrated out first, then the weights; the expectation of L = pR/2 is p/2 times the result.

    Source: arXiv:2602.04548, Theorem 3.1: the coefficients are polynomials.
    """
    return _expected(risk_derivative(order, risk), SAMPLES, VARIABLES)


def expected_risk_derivative_of_any_covariance(order: int, risk: str) -> Polynomial:
    """The same for inputs of any covariance Σ: a polynomial also in τ_k = tr Σᵏ/p, k = 1, …, order + 1.

    Source: derived here, as arXiv:2602.04548, Theorem 3.1.
    """
    moments = tuple(f"tau{k}" for k in range(1, order + 2))
    return _expected(risk_derivative(order, risk, any_covariance=True), GENERAL_SAMPLES, VARIABLES + moments)


def _expected(words: dict[str, int], samples: _Wishart, variables: tuple[str, ...]) -> Polynomial:
    expression: Expression = {}
    for word, coefficient in words.items():
        traces, monomial = _collect((word,), 0)
        target = expression.setdefault(traces, {})
        target[monomial] = target.get(monomial, 0) + coefficient
    polynomial = integrate_out(integrate_out(expression, samples), WEIGHTS)[()]
    size = len(variables)
    terms = {_unpack(exponents - _P, size): coefficient for exponents, coefficient in polynomial.items()}
    return Polynomial.from_terms(variables, terms)


def _open(word: str, position: int) -> str:
    """The cyclic `word` cut at the letter at `position`, without it."""
    return word[position + 1 :] + word[:position]


def _positions(word: str, letter: str) -> list[int]:
    return [position for position, other in enumerate(word) if other == letter]


def _collect(words: tuple[str, ...], monomial: int) -> tuple[Traces, int]:
    """The product in canonical form; tr Σᵏ is a factor p τ_k of the monomial, and the trace of the identity p."""
    traces = []
    for word in words:
        if word.strip("T"):
            traces.append(canonical(word))
        else:
            monomial += _P + (1 << (_BITS * (len(VARIABLES) + len(word) - 1)) if word else 0)
    return tuple(sorted(traces)), monomial


def _unpack(packed: int, size: int) -> tuple[int, ...]:
    return tuple((packed >> (_BITS * place)) & ((1 << _BITS) - 1) for place in range(size))
