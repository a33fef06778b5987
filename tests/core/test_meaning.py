import equinox as eqx
import jax.numpy as jnp
import pytest

import aetheory as ae
from aetheory.core.meaning import Meaning, check_fields, meaning


@pytest.mark.parametrize(
    "problem",
    [
        ae.LinearProblem(10, 5, 20, 0.1),
        ae.LinearRatios(1.0, 0.5, 0.5),
        ae.TwoLayerProblem(10, 5, method="alternating"),
        ae.RecoveryProblem(),
    ],
)
def test_every_free_number_has_a_name_and_a_range(problem):
    for name in problem.free_numbers:
        found = meaning(type(problem), name)
        assert found.symbol or found.unit != "1"
        assert "_" not in found.long_name


def test_every_value_of_a_theory_of_each_system_is_described():
    for problem, times in (
        (ae.LinearProblem(50, 5000, 100, 0.0002), [0.0, 1.0]),
        (ae.TwoLayerProblem(20, 10), [0.0, 1.0]),
    ):
        curve = ae.predict(problem, jnp.asarray(times))
        assert all(name in type(problem).meanings for name in curve.values)


def test_names_without_a_class_and_unknown_names():
    assert meaning(None, "train").long_name == "train risk"
    assert meaning(None, "learning_rate").symbol == r"\eta"
    assert meaning(ae.TwoLayerProblem, "train") == Meaning("train")
    assert meaning(None, "my_metric").label == "my metric"


@pytest.mark.parametrize(
    ("range_", "allowed"),
    [
        ({}, "finite"),
        ({"minimum": 0.0}, "finite and nonnegative"),
        ({"minimum": 0.0, "strict": True}, "finite and positive"),
        ({"minimum": 0.0, "maximum": 1.0, "strict": True}, r"in (0, 1]"),
    ],
)
def test_ranges_in_words(range_, allowed):
    assert Meaning("a", **range_).allowed == allowed


def test_bad_input():
    for make, message in (
        (lambda: ae.LinearRatios(1.0, 0.0, 1.0), "`latent_ratio` must be finite and positive, but got 0"),
        (lambda: ae.TwoLayerProblem(10, 5, alpha=-1.0), "`alpha` must be finite and nonnegative, but got -1"),
        (lambda: ae.RecoveryProblem(start_correlation=2.0), r"`start_correlation` must be in \(0, 1\], but got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    check_fields(ae.TwoLayerProblem(10, 5), "alpha")


def test_none_is_refused_where_a_number_is_needed():
    """Made by `tree_at`, since annotations are checked when a problem is constructed in tests."""
    broken = eqx.tree_at(lambda one: one.init_variance, ae.LinearProblem(9, 4, 20, 0.1), None)
    with pytest.raises(ValueError, match="`init_variance` must be finite and nonnegative, but got None"):
        check_fields(broken, "init_variance")
    check_fields(ae.TwoLayerProblem(4, 9, step_size=None), "step_size")
