"""Cyclic words in M = WWᵀ, S = XXᵀ/N and T = Σ, and their derivative along the gradient flow.

A word stands for the trace of the product of its letters. Both matrices are symmetric, so a word may be rotated and
reversed without changing the trace; the canonical word is the first in alphabetical order.
"""

from functools import lru_cache

from aetheory.core.checks import fail

# p·R: tr (M−I)S(M−I) and tr (M−I)², or tr (M−I)Σ(M−I). The empty word is tr I = p.
_RISK_WORDS: dict[str, dict[str, int]] = {
    "train": {"MMS": 1, "MS": -2, "S": 1},
    "population": {"MM": 1, "M": -2, "": 1},
}
_GENERAL_RISK_WORDS = {**_RISK_WORDS, "population": {"MMT": 1, "MT": -2, "T": 1}}

# Ṁ = −[2MSM + SM² + M²S − 2SM − 2MS], what each letter M turns into.
_FLOW: tuple[tuple[str, int], ...] = (("MSM", -2), ("SMM", -1), ("MMS", -1), ("SM", 2), ("MS", 2))

HIGHEST_ORDER, HIGHEST_ORDER_OF_ANY_COVARIANCE = 10, 6


@lru_cache(maxsize=1 << 18)
def canonical(word: str) -> str:
    """The alphabetically first rotation or reversed rotation of `word`."""
    length = len(word)
    forwards = word + word
    backwards = forwards[::-1]
    return min((line[start : start + length] for line in (forwards, backwards) for start in range(length)), default="")


def flow_derivative(expression: dict[str, int]) -> dict[str, int]:
    """Time derivative of a combination of traces of canonical words, letter by letter along the flow.

    Source: the flow dW/dt = −[(M−I)S + S(M−I)]W of E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; its words as
    diagrams: arXiv:2602.04548, Section 3.
    """
    derivative: dict[str, int] = {}
    for word, coefficient in expression.items():
        for position, letter in enumerate(word):
            if letter == "M":
                for replacement, factor in _FLOW:
                    image = canonical(word[:position] + replacement + word[position + 1 :])
                    derivative[image] = derivative.get(image, 0) + coefficient * factor
    return derivative


def risk_derivative(order: int, risk: str, any_covariance: bool = False) -> dict[str, int]:
    """The `order`-th time derivative of p·R as integer coefficients of canonical words; with T for Σ where it is any.

    A word with m letters M has a coefficient of sign (−1)ᵐ, so words with equally many M never cancel.
    """
    expression = (_GENERAL_RISK_WORDS if any_covariance else _RISK_WORDS)[risk]
    for _ in range(order):
        expression = flow_derivative(expression)
    return expression


def check_order_and_risk(order: int, risk: str) -> None:
    """Raise ValueError unless `order` is an integer from 0 to `HIGHEST_ORDER` and `risk` one of the two."""
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise fail("order", "a nonnegative integer", order)
    if order > HIGHEST_ORDER:
        cost = "takes about a minute and half a gigabyte, every further order four times more"
        raise fail("order", f"at most {HIGHEST_ORDER} (which {cost})", order)
    if risk not in _RISK_WORDS:
        raise fail("risk", "'train' or 'population'", risk)
