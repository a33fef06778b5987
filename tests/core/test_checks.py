import math
import re
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
import pytest
import xarray

import aetheory as ae
from aetheory.core.checks import (
    as_float,
    check_at_least,
    check_covariance,
    check_dimension,
    check_real,
    check_samples,
    check_steps,
    check_times,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)

TIMES = "Argument `times` must be a non-empty vector of finite, nonnegative times in increasing order"
STEPS = "Argument `times` must be a non-empty vector of whole, nonnegative numbers of steps in increasing order"


def raises(message, error=ValueError):
    return pytest.raises(error, match=f"^{re.escape(message)}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
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
    ],
)
def test_a_dimension_that_is_not_a_positive_integer(value, shown):
    for allow_infinity, allowed in ((False, ""), (True, " or infinity")):
        with raises(f"Argument `latent_dim` must be a positive integer{allowed}, but got {shown}."):
            check_dimension("latent_dim", value, allow_infinity=allow_infinity)


def test_a_dimension_that_passes():
    for value in (1, 7.0, np.int32(3), np.float32(3), Fraction(4), np.array([1, 2]), jnp.array([[5.0], [6.0]])):
        check_dimension("latent_dim", value)
    for value, shown in ((math.inf, "inf"), (np.array([3.0, math.inf]), "[ 3. inf]")):
        check_dimension("num_samples", value, allow_infinity=True)
        with raises(f"Argument `num_samples` must be a positive integer, but got {shown}."):
            check_dimension("num_samples", value)


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
        (np.full(1000, -1.0), "[-1. -1. -1. ... -1. -1. -1.]"),
    ],
)
def test_a_number_out_of_range(value, shown):
    with raises(f"Argument `init_variance` must be finite and nonnegative, but got {shown}."):
        check_real("init_variance", value, "finite and nonnegative", minimum=0.0)


def test_the_minimum_itself_passes_unless_strict():
    check_real("rate", 0.0, "nonnegative", minimum=0.0)
    check_real("rate", -5, "any number")
    check_real("rate", np.array([1e-30, 2.0]), "positive", minimum=0.0, strict=True)
    with raises("Argument `rate` must be positive, but got 0.0."):
        check_real("rate", 0.0, "positive", minimum=0.0, strict=True)


def test_one_argument_at_least_another():
    check_at_least("max_norm", 4, "min_norm", 4.0)
    check_at_least("max_norm", np.array([4.0, 5.0]), "min_norm", 4)
    with raises("Argument `max_norm` must be at least `min_norm` = 4, but got 3."):
        check_at_least("max_norm", 3, "min_norm", 4)


def test_traced_numbers_pass():
    def checked(value):
        assert not is_concrete(value)
        check_dimension("input_dim", value)
        check_real("init_variance", value, "finite and nonnegative", minimum=0.0)
        check_at_least("max_norm", value, "min_norm", 4)
        return value

    assert is_concrete(-1.5)
    assert is_concrete(jnp.asarray(-1.5))
    assert jax.jit(checked)(-1.5) == -1.5
    assert jax.vmap(checked)(jnp.array([-1.5])).shape == (1,)
    assert jax.grad(checked)(-1.5) == 1


def test_a_static_integer_is_a_python_integer():
    for value in (6, 6.0, np.int64(6), np.array(6), jnp.asarray(6.0)):
        result = static_integer("num_steps", value)
        assert type(result) is int
        assert result == 6
    with raises("Argument `num_steps` must be a single number (it decides the shape of an array), but got [6]."):
        static_integer("num_steps", np.array([6]))
    for value in (6.5, 0, math.inf, True, "six"):
        with raises(f"Argument `num_steps` must be a positive integer, but got {value!r}."):
            static_integer("num_steps", value)
    with raises("Argument `num_steps` must be known when the program is traced"):
        jax.jit(lambda n: static_integer("num_steps", n))(6)


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        (np.array([0.0, 2.0, 1.0]), "but got [0. 2. 1.]."),
        (np.array([-0.5, 1.0]), "but got [-0.5  1. ]."),
        (np.array([0.0, math.nan, math.inf]), "but 2 entries are NaN or infinite."),
        (np.array([]), "but got shape (0,)."),
        (np.array([[0.0, 1.0]]), "but got shape (1, 2)."),
        (1.0, "but got shape ()."),
        ("now", "but got 'now'."),
        (None, "but got None."),
        ([[0.0], [0.0, 1.0]], "but got [[0.0], [0.0, 1.0]]."),
        ([1j], "but got [1j]."),
    ],
)
def test_bad_times(times, shown):
    with raises(f"{TIMES}, {shown}"):
        check_times(times)
    with raises(f"{STEPS}, {shown}"):
        check_steps(times)


def test_times_of_any_kind_become_a_floating_point_vector(precision):
    for times in ([0.0, 1.0], (0, 1), np.array([0, 1])):
        vector = check_times(times)
        assert isinstance(vector, jax.Array)
        assert vector.dtype == precision
        assert vector.tolist() == [0, 1]
    assert check_times(np.zeros(3, np.float16)).dtype == np.float16  # equal times are in order


def test_traced_times_are_checked_when_the_program_runs():
    checked = eqx.filter_jit(check_times)
    assert checked(jnp.array([0.0, 1.0, 1.0])).tolist() == [0, 1, 1]
    for bad in ([0.0, 2.0, 1.0], [-1.0, 0.0, 1.0], [0.0, math.nan, 1.0], [0.0, 1.0, math.inf]):
        with pytest.raises(RuntimeError, match=re.escape(TIMES)):
            checked(jnp.array(bad))
    for shape in ((), (0,), (2, 3)):
        with raises(TIMES):
            jax.jit(check_times)(jnp.zeros(shape))


def test_steps_are_exact_python_integers():
    large = 2**24 + 1  # no float32
    for steps in ([0, 3, large], np.array([0.0, 3.0, large])):
        assert check_steps(steps) == (0, 3, large)
        assert {type(step) for step in check_steps(steps)} == {int}
    constant = jnp.arange(3)  # and it stays one in a traced program
    assert check_steps(constant) == (0, 1, 2)
    assert jax.jit(lambda x: x * len(check_steps(np.arange(4))) + check_steps(constant)[1])(2) == 9
    with raises(f"{STEPS}, but got [1, 1]."):
        check_steps([1, 1])
    with raises(f"{STEPS}, but got [0.  1.5]."):
        check_steps(np.array([0, 1.5]))
    with raises("Argument `times` must be known when the program is traced"):
        jax.jit(check_steps)(jnp.arange(3))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3), "must be a finite array of shape (num_samples, input_dim), but got shape (3,)."),
        (np.zeros((2, 0)), "must be a finite array of shape (num_samples, input_dim), but got shape (2, 0)."),
        ("all", "must be a finite array of shape (num_samples, input_dim), but got 'all'."),
        (np.zeros((2, 4)), "must have 3 columns, but got shape (2, 4)."),
        (
            np.array([[1.0, math.nan, math.inf]]),
            "must be a finite array of shape (num_samples, input_dim), but 2 entries are NaN or infinite.",
        ),
    ],
)
def test_bad_samples(samples, message):
    with raises(f"Argument `data` {message}"):
        check_samples("data", samples, 3)


def test_samples_become_a_floating_point_matrix(precision):
    matrix = check_samples("data", np.array([[1, 2, 3]]), 3)
    assert matrix.dtype == precision
    assert matrix.tolist() == [[1, 2, 3]]
    assert check_samples("data", np.ones((2, 5))).shape == (2, 5)
    samples = jnp.ones((2, 3))  # a constant of a traced program, or its argument
    assert jax.jit(lambda scale: scale * check_samples("data", samples, 3))(2.0).tolist() == [[2] * 3] * 2
    assert jax.jit(lambda samples: check_samples("data", samples, 3))(samples).shape == (2, 3)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        ([1.0, -1e-9], "but its smallest eigenvalue is -1e-09."),
        ([[1.0, 2.0], [2.0, 1.0]], "but its smallest eigenvalue is -1."),
        ([[1.0, 0.5], [0.0, 1.0]], "but is not symmetric."),
        ([1.0, math.nan], "but 1 entries are NaN or infinite."),
        (np.ones((2, 3)), "but got shape (2, 3)."),
        (2.0, "but got shape ()."),
        ("one", "but got 'one'."),
    ],
)
def test_bad_covariances(covariance, message):
    requirement = "a non-empty vector of variances, or a symmetric positive semidefinite matrix"
    with raises(f"Argument `covariance` must be {requirement}, {message}"):
        check_covariance("covariance", covariance)


def test_floating_point_types(precision):
    assert as_float(3).dtype == precision
    assert as_float(jnp.array([1, 2])).dtype == precision
    assert as_float(jnp.array([1, 2], jnp.float16)).dtype == jnp.float16
    half, default = jnp.zeros(1, jnp.float16), jnp.zeros(1)
    assert common_float_dtype(1.0, 3, None, jnp.array([1])) == precision
    assert common_float_dtype(half, 1.0) == jnp.float16
    assert common_float_dtype(np.zeros(1)) == precision
    with jax.numpy_dtype_promotion("standard"):
        assert common_float_dtype(half, default) == precision


def test_an_error_shows_a_traced_value_too():
    def show(value):
        raise fail("size", "a scalar", value)

    with pytest.raises(ValueError, match=r"^Argument `size` must be a scalar, but got .*2, ?3"):
        jax.jit(show)(jnp.zeros((2, 3)))


class Tensor:
    """What PyTorch's offers to NumPy: nothing before it is detached and on the host."""

    def __init__(self, values, is_free=False):
        self.values, self.is_free = values, is_free

    def detach(self):
        return Tensor(self.values, True)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if not self.is_free:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize("kind", [Tensor, pandas.DataFrame, xarray.DataArray])
def test_arrays_of_other_libraries_are_data(kind):
    values = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(check_samples("samples", kind(values)), values)
    problem = ae.LinearProblem(2, 1, 3, 0.1, covariance=kind(np.eye(2)))
    np.testing.assert_array_equal(problem.covariance, [1, 1])


def test_an_error_names_the_function_that_raised_it():
    def failing(module, data):
        raise KeyError("absent")

    def loss(module, data):
        return jnp.sum(module**2)

    options = {"flow": ([0.0, 1.0],), "descent": (optax.sgd(0.1), 2, 0.0)}
    for train, own in ((ae.gradient_flow, options["flow"]), (ae.gradient_descent, options["descent"])):
        with raises("Argument `metrics` must take this `autoencoder` and `data`, but it raises KeyError"):
            train(jnp.ones(2), loss, *own, metrics=failing)
        with raises(
            "Argument `loss` must take this `autoencoder` and `data`, and return a scalar, but it raises KeyError"
        ):
            train(jnp.ones(2), failing, *own, metrics=loss)
