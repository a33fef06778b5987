import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import SolverStats
from aetheory.linear.theories.large_data import LARGE_DATA

TIMES = np.array([0.0, 0.5, 2.0])
TRAIN = np.array([1.25, 0.5, 0.0625])
POPULATION = np.array([1.5, 0.75, 0.125])


def stats(succeeded, num_steps):
    success, steps = jnp.array(succeeded), jnp.array(num_steps)
    return SolverStats(steps, jnp.zeros_like(steps), success)


def curve(shape=(), **fields):
    train, population = (jnp.broadcast_to(jnp.array(values), (*shape, 3)) for values in (TRAIN, POPULATION))
    return Curve(jnp.array(TIMES), Values(train=train, population=population), **fields)


def repeated(num_repeats=4, **fields):
    std = Values(train=jnp.array([0.5, 0.25, 0.125]), population=jnp.array([1.0, 0.5, 0.25]))
    return curve(std=std, label="simulation", num_repeats=num_repeats, **fields)


def test_the_repr_of_a_single_curve_shows_its_ends():
    shown = "3 times in [0, 2], train 1.25 → 0.0625, population 1.5 → 0.125"
    assert repr(curve()) == f"Curve(curve, {shown})"
    assert repr(curve(label="large-data")) == f"Curve(large-data, {shown})"


def test_the_repr_of_a_batch_shows_its_shape():
    assert repr(curve((2, 5), label="mean-field")) == "Curve(mean-field, 3 times in [0, 2], batch of 2×5)"


def test_the_repr_of_repeats_shows_how_many_and_what_they_cost():
    shown = "Curve(simulation, 3 times in [0, 2], train 1.25 → 0.0625, population 1.5 → 0.125"
    assert repr(repeated()) == f"{shown}, 4 repeats)"
    assert repr(curve(label="simulation", num_repeats=1)) == f"{shown}, 1 repeat)"
    assert repr(repeated(stats=stats([True] * 4, [10, 30, 20, 11]))) == f"{shown}, 4 repeats, 30 steps)"


def test_the_repr_says_when_flows_stopped_early():
    early = "1 of 4 flows stopped early, out of steps or with a vanishing step size"
    assert repr(repeated(stats=stats([True, False, True, True], [10, 30, 20, 11]))).endswith(f"30 steps, {early})")


def test_the_repr_of_a_traced_curve():
    shown = []

    @jax.jit
    def run(train):
        traced = Curve(jnp.array(TIMES), Values(train=train, population=train), label="simulation")
        shown.append(repr(traced))
        return traced

    run(jnp.array(TRAIN))
    assert shown == ["Curve(simulation, traced, train, population)"]


def test_the_repr_of_the_shapes_of_a_curve():
    shapes = jax.eval_shape(lambda: curve((2,), label="simulation"))
    assert "simulation" in repr(shapes)


def mapped():
    """What `jax.vmap` makes of a function that returns a curve: the times are copied for each."""
    scales = jnp.array([1.0, 2.0])

    def one(scale):
        return Curve(jnp.array(TIMES), Values(train=scale * jnp.array(TRAIN), population=jnp.array(POPULATION)))

    return jax.vmap(one)(scales)


def test_the_repr_of_a_curve_from_vmap():
    assert repr(mapped()) == "Curve(curve, 3 times in [0, 2], batch of 2)"


def test_a_curve_from_vmap_becomes_a_dataset():
    dataset = mapped().to_xarray()
    assert dict(dataset.sizes) == {"batch_0": 2, "time": 3}
    np.testing.assert_array_equal(dataset["time"], TIMES)
    np.testing.assert_array_equal(dataset["train"], [TRAIN, 2 * TRAIN])


def test_the_standard_error_is_that_of_the_mean(precision):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(9, 3))
    std = jnp.asarray(draws.std(axis=0, ddof=1), precision)
    values = jnp.asarray(TRAIN, precision)
    both, spread = Values(train=values, population=values), Values(train=std, population=2 * std)
    error = Curve(jnp.asarray(TIMES, precision), both, spread, num_repeats=9).standard_error
    expected = np.sqrt(((draws - draws.mean(axis=0)) ** 2).sum(axis=0) / 8 / 9)
    assert error.train.dtype == precision
    np.testing.assert_allclose(error.train, expected, rtol=rounding(precision, terms=4))
    np.testing.assert_allclose(error.population, 2 * expected, rtol=rounding(precision, terms=4))


def test_a_curve_without_repeats_has_no_standard_error():
    assert curve().standard_error is None


def test_a_single_curve_becomes_a_dataset_over_time():
    dataset = curve(label="large-data").to_xarray()
    assert set(dataset.data_vars) == {"train", "population"}
    assert dataset["train"].dims == dataset["population"].dims == ("time",)
    np.testing.assert_array_equal(dataset["time"], TIMES)
    np.testing.assert_array_equal(dataset["train"], TRAIN)
    np.testing.assert_array_equal(dataset["population"], POPULATION)
    assert dataset.attrs == {"label": "large-data", "num_repeats": 0}
    assert dataset["train"].attrs == {"long_name": "train risk", "units": "1"}
    assert dataset["time"].attrs == {"long_name": "flow time", "units": "1"}
    assert float(dataset["train"].sel(time=0.5)) == 0.5


def test_repeats_add_standard_deviations_and_costs_to_the_dataset():
    dataset = repeated(stats=stats([True] * 4, [10, 30, 20, 11])).to_xarray()
    assert set(dataset.data_vars) == {"train", "population", "train_std", "population_std"}
    np.testing.assert_array_equal(dataset["train_std"], [0.5, 0.25, 0.125])
    np.testing.assert_array_equal(dataset["population_std"], [1.0, 0.5, 0.25])
    expected = {"label": "simulation", "num_repeats": 4, "num_steps": 30, "solver": "reached the last time"}
    assert dataset.attrs == expected


def test_a_batch_of_curves_becomes_a_dataset_over_its_axes():
    batch = curve((2, 5))
    batch = eqx.tree_at(lambda curve: curve.values.arrays[0], batch, jnp.arange(30.0).reshape(2, 5, 3))
    dataset = batch.to_xarray()
    assert dataset["train"].dims == ("batch_0", "batch_1", "time")
    assert dict(dataset.sizes) == {"batch_0": 2, "batch_1": 5, "time": 3}
    assert float(dataset["train"].isel(batch_0=1, batch_1=2).sel(time=2.0)) == 1 * 15 + 2 * 3 + 2


def test_a_curve_is_a_pytree_of_its_arrays():
    halved = jax.tree.map(lambda leaf: leaf / 2, repeated())
    assert isinstance(halved, Curve)
    assert (halved.label, halved.num_repeats) == ("simulation", 4)
    np.testing.assert_array_equal(halved.train, TRAIN / 2)
    np.testing.assert_array_equal(halved.std.population, [0.5, 0.25, 0.125])


def test_values_keep_their_names_and_order():
    values = jax.jit(lambda one: Values(train=one, overlap=2 * one, found=one))(jnp.ones(3))
    assert tuple(values) == ("train", "overlap", "found")
    assert [name for name, _ in values.items()] == ["train", "overlap", "found"]
    np.testing.assert_array_equal(values.overlap, values["overlap"])
    one = Curve(jnp.arange(3), values)
    np.testing.assert_array_equal(one.overlap, values.overlap)
    for broken in (lambda: values.risk, lambda: one.risk):
        with pytest.raises(AttributeError, match="risk"):
            broken()


def test_values_with_further_axes_become_variables_with_axes_of_their_own():
    values = Values(risk=jnp.ones(3), spectrum=jnp.ones((3, 4)))
    dataset = Curve(jnp.arange(3), values).to_xarray()
    assert dataset["spectrum"].dims == ("time", "spectrum_0")
    assert dataset["time"].attrs["long_name"] == "number of steps"


def test_a_curve_survives_pickling():
    again = pickle.loads(pickle.dumps(curve(label="large-data", theory=LARGE_DATA)))
    assert (again.label, again.theory) == ("large-data", LARGE_DATA)
    np.testing.assert_array_equal(again.train, TRAIN)


@pytest.mark.parametrize("name", ["label", "std", "times", "values", "to_xarray", "items", "names"])
def test_values_do_not_take_names_that_a_curve_has_itself(name):
    """Its field would be found in place of the value."""
    with pytest.raises(ValueError, match=f"`metrics` returns, must have names other than .*, but got '{name}'"):
        Curve(jnp.arange(3.0), Values(**{name: jnp.ones(3)}))
    with pytest.raises(ValueError, match=f"but got '{name}'"):
        ae.gradient_flow(jnp.ones(2), lambda w, _: jnp.sum(w**2), [0.0, 1.0], metrics=lambda w, _: {name: w[0]})
