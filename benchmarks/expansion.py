"""Loss expansion: exact and planar coefficients from nothing and from the cache, against the enumeration of pairings.

Run as `python benchmarks/expansion.py [highest order]`; order 10 takes about two minutes in all.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

from aetheory.linear import expansion
from aetheory.linear.expansion.words import risk_derivative
from aetheory.linear.problem import LinearProblem


def timed(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    result = function(*arguments)
    for leaf in jax.tree.leaves(result):
        if isinstance(leaf, jax.Array):
            leaf.block_until_ready()
    return time.perf_counter() - start


def pairings(points: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    if not points:
        yield ()
    for place in range(1, len(points)):
        for rest in pairings(points[1:place] + points[place + 1 :]):
            yield ((points[0], points[place]), *rest)


def enumerate_pairings(order: int, risk: str) -> dict[tuple[int, int, int, int], int]:
    """The peer: Wick's formula as it is written, one pairing of the factors of each kind after the other."""
    terms: dict[tuple[int, int, int, int], int] = {}
    for word, coefficient in risk_derivative(order, risk).items():
        length = len(word)
        # Letter i has outer indices i and i + 1; its two factors, left and right, share its inner index.
        factors = {kind: [2 * i + side for i in range(length) if word[i] == kind for side in (0, 1)] for kind in "MS"}
        for weights, samples in product(pairings(tuple(factors["M"])), pairings(tuple(factors["S"]))):
            parents = list(range(2 * length))

            def root(index: int, parents: list[int] = parents) -> int:
                while parents[index] != index:
                    index = parents[index]
                return index

            for a, b in weights + samples:
                parents[root((a // 2 + a % 2) % length)] = root((b // 2 + b % 2) % length)
                parents[root(length + a // 2)] = root(length + b // 2)
            outer = len({root(i) for i in range(length)})
            inner = [len({root(length + i) for i in range(length) if word[i] == kind}) for kind in "MS"]
            monomial = (max(outer, 1) - 1, inner[0], word.count("M"), word.count("S") - inner[1])
            terms[monomial] = terms.get(monomial, 0) + coefficient
    return terms


def main(highest: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AETHEORY_CACHE"] = folder
        print("exact and planar coefficients, seconds (computed / from the cache)")
        totals = {"exact": 0.0, "planar": 0.0}
        for order in range(highest + 1):
            line = f"  order {order:2d}"
            for name, function in (("exact", expansion.coefficients), ("planar", expansion.planar)):
                for risk in ("train", "population"):
                    computed = timed(function, order, risk)
                    read = timed(function, order, risk)
                    totals[name] += computed
                    line += f" | {name} {risk} {computed:8.3f} / {read:.4f}"
            print(line, flush=True)
        print(f"  all orders, both risks: exact {totals['exact']:.1f} s, planar {totals['planar']:.1f} s")

        print("against the enumeration of pairings")
        for order, risk in ((1, "train"), (2, "population"), (2, "train"), (3, "population")):
            peer = timed(enumerate_pairings, order, risk)
            os.environ["AETHEORY_CACHE"] = os.path.join(folder, f"fresh-{order}-{risk}")
            own = timed(expansion.coefficients, order, risk)
            exact = {monomial: Fraction(value) for monomial, value in enumerate_pairings(order, risk).items() if value}
            equal = exact == dict(expansion.coefficients(order, risk).polynomial.terms)
            print(
                f"  order {order} {risk:10s}: {peer:.3f} s against {own:.4f} s, ratio {peer / own:.0f}, equal: {equal}"
            )
        os.environ["AETHEORY_CACHE"] = folder

        batch = 1000
        problems = LinearProblem(100, 50, 200, jnp.linspace(0.001, 0.01, batch))
        orders = [expansion.planar(s).restrict("large-data") for s in range(min(highest, 8) + 1)]
        first, again = (timed(expansion.taylor_series, orders, problems) for _ in range(2))
        print(
            f"series of {len(orders)} orders at {batch} problems: {first:.2f} s with compilation, {again:.3f} s after"
        )
        series, times = expansion.taylor_series(orders, problems), jnp.linspace(0, 0.01, 50)
        for method in ("taylor", "pade", "conformal-pade"):
            first, again = (timed(expansion.resum, series, times, method) for _ in range(2))
            print(f"resummation at 50 times, {method}: {first:.2f} s with compilation, {again:.3f} s after")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
