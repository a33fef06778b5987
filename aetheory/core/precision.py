"""Matrix products in the precision of their numbers, whatever an accelerator would choose."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def exact_products(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function with its products of float32 matrices exact to float32, forwards and backwards.

    By itself JAX lets an accelerator round the factors to ten bits: on an H100 the small-data curve was off by .042 of
    the initial risk, and is by 6e-5 so.
    """

    @functools.wraps(function)
    def exact(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return exact
