"""`predict`: what theory says of training, of any problem."""

import warnings
from typing import Any

import jax

from aetheory.core.checks import check_instance, check_options, keyword_only
from aetheory.core.curve import Curve
from aetheory.core.problem import AbstractProblem


def predict(problem: AbstractProblem, times: Any, theory: Any = None, *, regime: Any = None, **options: Any) -> Curve:
    """The curve that a theory predicts for a problem, in the limit of large dimensions unless it says otherwise.

    Arguments:
        problem: what would be trained. Its numbers may be scalars, arrays of shapes that broadcast (a batch), or
            traced, unless the theory says otherwise.
        times: flow times, shape (num_times,), nonnegative and in increasing order; for a descent, numbers of steps.
        theory: the name of one of `problem.theories` (for linear problems also several faces of the prism that meet),
            or a theory itself. By default the problem's own choice: for a `LinearProblem` what `ae.locate` finds.
        regime: the same by the name that linear problems know it under.
        options: of the theory; see the theory's `curve`.

    Returns:
        A `Curve` of shape (*batch, num_times), with the theory that made it, and a bracket (`lower`, `upper`) where it
        is approximated.

    Raises:
        ValueError: an argument is out of its range, or not known to the theory.
        RuntimeError: a flow ran out of steps (with `throw`).

    Warns:
        UserWarning: outside the range that the theory was tested on, or where the problem knows the theory to be
            inaccurate (`problem.caveat`).
    """
    check_instance("problem", problem, AbstractProblem, "a problem, such as an ae.LinearProblem")
    if theory is not None and regime is not None:
        raise ValueError("Arguments `theory` and `regime` are two names of one choice: give one of them.")
    named = regime if theory is None else theory
    chosen = problem.default_theory() if named is None else problem.find_theory(named)
    check_options(keyword_only(chosen.curve), options, chosen.name)
    if (reason := problem.caveat(chosen, options)) is not None:
        warnings.warn(reason, stacklevel=2)
    with jax.default_matmul_precision("highest"):  # as `exact_products`, but not in the stack that warnings count in
        curve: Curve = chosen.curve(problem, times, **options)
    return curve
