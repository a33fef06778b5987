import math
import re
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aetheory.core import checks as _checks

TIMES = "Argument `times` must be a non-empty vector of finite, nonnegative times in increasing order"
NOT_INTEGERS = [
    (0, "0"),
    (-3, "-3"),
    (2.5, "2.5"),
    (math.nan, "nan"),
    (-math.inf, "-inf"),
    (True, "True"),
    ("7", "'7'"),
    (None, "None"),
    ([1, 2], "[1, 2]"),
    (np.array([4, 0]), "[4 0]"),
    (np.array([4.0, math.nan]), "[ 4. nan]"),
    (np.bool_(True), "True"),
]


def raises(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}")


@pytest.mark.parametrize(("value", "shown"), NOT_INTEGERS)
@pytest.mark.parametrize("allow_infinity", [False, True])
def test_a_dimension_that_is_not_a_positive_integer(value, shown, allow_infinity):
    allowed = "a positive integer" + (" or infinity" if allow_infinity else "")
    with raises(f"Argument `latent_dim` must be {allowed}, but got {shown}."):
        _checks.check_dimension("latent_dim", value, allow_infinity=allow_infinity)


@pytest.mark.parametrize(
    "value", [1, 7.0, np.int32(3), np.float32(3), Fraction(4), np.array([1, 2]), jnp.array([[5.0], [6.0]])]
)
def test_a_dimension_that_passes(value):
    _checks.check_dimension("latent_dim", value)
    _checks.check_dimension("latent_dim", value, allow_infinity=True)


@pytest.mark.parametrize(("value", "shown"), [(math.inf, "inf"), (np.array([3.0, math.inf]), "[ 3. inf]")])
def test_infinity_is_a_dimension_only_where_it_is_allowed(value, shown):
    _checks.check_dimension("num_samples", value, allow_infinity=True)
    with raises(f"Argument `num_samples` must be a positive integer, but got {shown}."):
        _checks.check_dimension("num_samples", value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1e-9, "-1e-09"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ("0.1", "'0.1'"),
        (False, "False"),
        (None, "None"),
        (np.array([0.5, -0.5]), "[ 0.5 -0.5]"),
    ],
)
def test_a_number_out_of_range(value, shown):
    with raises(f"Argument `init_variance` must be finite and nonnegative, but got {shown}."):
        _checks.check_real("init_variance", value, "finite and nonnegative", minimum=0.0)


def test_the_minimum_itself_passes_unless_strict():
    _checks.check_real("rate", 0.0, "nonnegative", minimum=0.0)
    _checks.check_real("rate", -5, "any number")
    _checks.check_real("rate", np.array([1e-30, 2.0]), "positive", minimum=0.0, strict=True)
    with raises("Argument `rate` must be positive, but got 0.0."):
        _checks.check_real("rate", 0.0, "positive", minimum=0.0, strict=True)


def test_a_long_array_is_shortened_in_the_message():
    with raises("Argument `rate` must be positive, but got [-1. -1. -1. ...") as caught:
        _checks.check_real("rate", np.full(1000, -1.0), "positive", minimum=0.0)
    assert len(str(caught.value)) < 100


def test_traced_numbers_pass():
    def checked(value):
        assert not _checks.is_concrete(value)
        _checks.check_dimension("input_dim", value)
        _checks.check_real("init_variance", value, "finite and nonnegative", minimum=0.0)
        return value

    assert _checks.is_concrete(-1.5)
    assert _checks.is_concrete(jnp.asarray(-1.5))
    assert jax.jit(checked)(-1.5) == -1.5
    assert jax.vmap(checked)(jnp.array([-1.5])).shape == (1,)
    assert jax.grad(checked)(-1.5) == 1


@pytest.mark.parametrize("value", [6, 6.0, np.int64(6), np.array(6), jnp.asarray(6.0)])
def test_a_static_integer_is_a_python_integer(value):
    result = _checks.static_integer("num_steps", value)
    assert type(result) is int
    assert result == 6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([6]), "a single number (it decides the shape of an array), but got [6]."),
        (6.5, "a positive integer, but got 6.5."),
        (0, "a positive integer, but got 0."),
        (math.inf, "a positive integer, but got inf."),
        (True, "a positive integer, but got True."),
        ("six", "a positive integer, but got 'six'."),
    ],
)
def test_a_static_integer_out_of_range(value, message):
    with raises(f"Argument `num_steps` must be {message}"):
        _checks.static_integer("num_steps", value)


def test_a_traced_value_cannot_decide_a_shape():
    with raises("Argument `num_steps` must be known when the program is traced"):
        jax.jit(lambda n: _checks.static_integer("num_steps", n))(6)


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        (np.array([0.0, 2.0, 1.0]), "[0. 2. 1.]"),
        (np.array([-0.5, 1.0]), "[-0.5  1. ]"),
        (np.array([0.0, math.nan, 1.0]), "[ 0. nan  1.]"),
        (np.array([0.0, math.inf]), "[ 0. inf]"),
        (np.array([]), "[]"),
        (np.array([[0.0, 1.0]]), "[[0. 1.]]"),
        (1.0, "1.0"),
    ],
)
def test_bad_times(times, shown):
    with raises(f"{TIMES}, but got {shown}."):
        _checks.check_times(times)


@pytest.mark.parametrize("times", [[0.0, 1.0], (0, 1), np.array([0, 1]), np.array([0.0, 1.0], np.float16)])
def test_times_of_any_kind_become_a_floating_point_vector(times, precision):
    vector = _checks.check_times(times)
    expected = times.dtype if getattr(times, "dtype", None) == np.float16 else precision
    assert isinstance(vector, jax.Array)
    assert vector.dtype == expected
    assert vector.tolist() == [0, 1]


def test_equal_and_zero_times_are_in_order():
    assert _checks.check_times(np.zeros(3)).tolist() == [0, 0, 0]
    assert _checks.check_times(np.array([1.0, 1.0])).tolist() == [1, 1]


@pytest.mark.parametrize("times", ["now", None, [[0.0], [0.0, 1.0]], [1j]])
def test_times_that_are_not_numbers(times):
    with raises(TIMES):
        _checks.check_times(times)


def test_traced_times_are_checked_when_the_program_runs():
    checked = eqx.filter_jit(_checks.check_times)
    assert checked(jnp.array([0.0, 1.0, 1.0])).tolist() == [0, 1, 1]
    for bad in ([0.0, 2.0, 1.0], [-1.0, 0.0, 1.0], [0.0, math.nan, 1.0], [0.0, 1.0, math.inf]):
        with pytest.raises(RuntimeError, match=re.escape(TIMES)):
            checked(jnp.array(bad))


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_the_shape_of_traced_times_is_checked_when_the_program_is_traced(shape):
    with raises(TIMES):
        jax.jit(_checks.check_times)(jnp.zeros(shape))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3), "must be a finite array of shape (num_samples, input_dim), but got shape (3,)."),
        (np.zeros((2, 0)), "must be a finite array of shape (num_samples, input_dim), but got shape (2, 0)."),
        (np.zeros((2, 4)), "must have 3 columns (the problem's `input_dim`), but got shape (2, 4)."),
        (
            np.array([[1.0, math.nan, math.inf]]),
            "must be a finite array of shape (num_samples, input_dim), but 2 entries are NaN or infinite.",
        ),
    ],
)
def test_bad_samples(samples, message):
    with raises(f"Argument `data` {message}"):
        _checks.check_samples("data", samples, 3)


def test_samples_become_a_floating_point_matrix(precision):
    matrix = _checks.check_samples("data", np.array([[1, 2, 3]]), 3)
    assert matrix.dtype == precision
    assert matrix.tolist() == [[1, 2, 3]]
    assert _checks.check_samples("data", np.ones((2, 5))).shape == (2, 5)


def test_samples_may_be_constants_or_arguments_of_a_traced_program():
    samples = jnp.ones((2, 3))
    assert jax.jit(lambda scale: scale * _checks.check_samples("data", samples, 3))(2.0).tolist() == [[2] * 3] * 2
    assert jax.jit(lambda samples: _checks.check_samples("data", samples, 3))(samples).shape == (2, 3)


def test_as_float(precision):
    assert _checks.as_float(3).dtype == precision
    assert _checks.as_float(jnp.array([1, 2])).dtype == precision
    assert _checks.as_float(jnp.array([1, 2], jnp.float16)).dtype == jnp.float16


def test_the_common_type_is_the_widest_among_the_arrays(precision):
    half, default = jnp.zeros(1, jnp.float16), jnp.zeros(1)
    assert _checks.common_float_dtype(1.0, 3, None, jnp.array([1])) == precision
    assert _checks.common_float_dtype(half, 1.0) == jnp.float16
    with jax.numpy_dtype_promotion("standard"):
        assert _checks.common_float_dtype(half, default) == precision


def test_an_error_shows_a_traced_value_too():
    def show(value):
        raise _checks.fail("size", "a scalar", value)

    with pytest.raises(ValueError, match=r"^Argument `size` must be a scalar, but got .*2, ?3"):
        jax.jit(show)(jnp.zeros((2, 3)))


def test_one_argument_at_least_another():
    _checks.check_at_least("max_norm", 4, "min_norm", 4.0)
    _checks.check_at_least("max_norm", np.array([4.0, 5.0]), "min_norm", 4)
    jax.jit(lambda value: _checks.check_at_least("max_norm", value, "min_norm", 4))(1.0)  # traced: passes
    with pytest.raises(ValueError, match=r"^Argument `max_norm` must be at least `min_norm` = 4, but got 3\.$"):
        _checks.check_at_least("max_norm", 3, "min_norm", 4)
