"""What a sweep computes, and that it depends on nothing but its arguments."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.problems import CLOSED_FORM_BATCH

TIMES = np.linspace(0, 1, 6)
KEY = jax.random.key(3)


def draws(parameters, key):
    """A plain function with one static and one real parameter, and results of two kinds."""
    values = parameters["scale"] * jax.random.uniform(key, (4, parameters["count"]))
    return {"mean": values.mean(1), "deepest": {"last": values[-1, -1]}}


PLAIN = {"count": [3, 5], "scale": [0.5, 1.0, 2.0]}


def test_a_simulation_is_that_of_its_cell_whatever_its_block(x64, tmp_path):
    grid = {"num_samples": [20], "init_scale": [0.1, 0.5, 1.0], "input_dim": [8], "latent_dim": [3]}
    dataset = ae.sweep(ae.sweeps.Simulation(TIMES), grid, KEY, 2, tmp_path / "store", block_size=4)
    assert dataset.train.dims == ("num_samples", "init_scale", "input_dim", "latent_dim", "repeat", "time")
    for scale in (0.1, 1.0):
        parameters = {"num_samples": 20, "init_scale": scale, "input_dim": 8, "latent_dim": 3}
        key = ae.sweeps.cell_key(KEY, parameters, 1)
        curve = ae.simulate(ae.LinearProblem(8, 3, 20, scale / 8), TIMES, key)
        cell = dataset.sel(**parameters, repeat=1)
        np.testing.assert_allclose(cell.train, curve.train, rtol=1e-12)
        np.testing.assert_allclose(cell.population, curve.population, rtol=1e-12)
        assert int(cell.num_steps) == int(curve.stats.num_steps[0])


def test_a_limit_is_that_of_its_cell(x64):
    grid = {"regime": ["large-data", "mean-field"], "input_dim": [100], "latent_ratio": [0.5], "sample_ratio": [0.25]}
    dataset = ae.sweep(ae.sweeps.Prediction(TIMES), {**grid, "init_scale": [0.3, 1.0]}, KEY)
    for regime in grid["regime"]:
        curve = ae.predict(ae.LinearProblem(100, 50, 400, 0.3 / 100), TIMES, regime)
        np.testing.assert_allclose(dataset.train.sel(regime=regime, init_scale=0.3).squeeze(), curve.train, rtol=1e-10)
    # without an axis of regimes, each cell gets the one that is closest
    cell = {"input_dim": 100, "latent_dim": 50, "num_samples": 100_000, "init_variance": 0.01}
    problem, nearest = ae.LinearProblem(**cell), ae.sweep(ae.sweeps.Prediction(TIMES), [cell], KEY)
    np.testing.assert_allclose(nearest.train[0], ae.predict(problem, TIMES, ae.locate(problem).regime).train)


def test_any_problem_is_simulated_and_predicted(x64):
    """Its own names, dimensions that decide shapes, numbers that are traced, and words."""
    grid = {"input_dim": [12], "num_units": [4, 6], "method": ["alternating"], "step_size": [0.1, 0.2]}
    steps = np.array([0, 5, 10])
    dataset = ae.sweep(ae.sweeps.Simulation(steps, problem=ae.TwoLayerProblem), grid, KEY, 2)
    assert dataset.risk.dims == (*grid, "repeat", "time")
    cell = {"input_dim": 12, "num_units": 6, "method": "alternating", "step_size": 0.2}
    curve = ae.simulate(ae.TwoLayerProblem(**cell), steps, ae.sweeps.cell_key(KEY, cell, 1))
    np.testing.assert_allclose(dataset.risk[0, 1, 0, 1, 1], curve.risk)
    limit = ae.sweep(ae.sweeps.Prediction(steps, problem=ae.TwoLayerProblem), grid, KEY)
    np.testing.assert_allclose(limit.risk[0, 1, 0, 1], ae.predict(ae.TwoLayerProblem(**cell), steps).risk)


def test_a_plain_function_gets_its_parameters_and_key(precision):
    dataset = ae.sweep(draws, PLAIN, KEY, 3, dims={"mean": ["row"]})
    assert dataset["mean"].dims == ("count", "scale", "repeat", "row")
    assert dataset["deepest.last"].dims == ("count", "scale", "repeat")
    assert dataset["mean"].dtype == precision
    key = ae.sweeps.cell_key(KEY, {"count": 5, "scale": 2.0}, 2)
    wanted = draws({"count": 5, "scale": jnp.asarray(2.0, precision)}, key)
    np.testing.assert_allclose(dataset["mean"].sel(count=5, scale=2.0, repeat=2), wanted["mean"], rtol=1e-6)
    # every draw is another
    assert len(np.unique(dataset["deepest.last"])) == dataset["deepest.last"].size


def test_a_curve_becomes_variables_over_time(x64):
    def limit(parameters, key):
        return ae.predict(ae.LinearProblem(50, 25, 100, parameters["variance"]), TIMES, "large-data")

    dataset = ae.sweep(limit, {"variance": [0.01, 0.02]}, KEY)
    assert dataset.train.dims == ("variance", "time")
    curve = ae.predict(ae.LinearProblem(50, 25, 100, 0.02), TIMES, "large-data")
    np.testing.assert_allclose(dataset.population.sel(variance=0.02), curve.population, rtol=1e-12)


def test_results_do_not_depend_on_the_blocks(tmp_path, x64):
    grid = {**PLAIN, "count": [3]}
    one = ae.sweep(draws, grid, KEY, 40)
    for name, options in enumerate(({"block_size": 1}, {"block_size": 7})):
        other = ae.sweep(draws, grid, KEY, 40, tmp_path / str(name), **options)
        assert other.drop_attrs().identical(one.drop_attrs())


def test_results_do_not_depend_on_the_order_of_the_axes_or_on_other_cells(x64):
    one = ae.sweep(draws, PLAIN, KEY, 2)
    turned = ae.sweep(draws, {"scale": [2.0, 0.25, 0.5], "count": [5, 3]}, KEY, 2)
    shared = {"scale": [0.5, 2.0], "count": [3, 5]}
    for name in one.data_vars:
        both = [dataset[name].sel(shared).transpose(*one[name].dims).values for dataset in (one, turned)]
        np.testing.assert_array_equal(*both)


def test_parameters_with_one_value_are_inputs_that_all_cells_share():
    """A batch computes once what follows from them alone: 1.7 times as many mean-field curves a second."""
    cell = {"input_dim": [30], "latent_dim": [15, 20], "num_samples": [60], "init_scale": [0.5, 1.0]}
    (group,), _ = ae.sweeps.Prediction(TIMES, "mean-field").groups(make_grid(cell))
    assert sorted(group.shared) == ["input_dim", "num_samples"]
    assert group.cpu_batch == CLOSED_FORM_BATCH
    (group,), _ = ae.sweeps.Simulation(TIMES).groups(make_grid({**cell, "latent_dim": [15]}))
    assert group.cpu_batch == 1


def test_the_dataset_says_what_it_is_and_where_it_comes_from(tmp_path):
    for dataset in (ae.sweep(draws, PLAIN, KEY), ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")):
        assert "repeat" not in dataset.dims
        assert dataset.attrs["version_jax"] == jax.__version__
        assert dataset.attrs["function"].endswith("draws")
        assert dataset.attrs["dtype"] == "float32"
        assert {"commit", "device", "key", "version_aetheory"} <= dataset.attrs.keys()
        assert all({"long_name", "units"} <= values.attrs.keys() for values in dataset.variables.values())


def test_what_a_sweep_would_take():
    def never(parameters, key):
        jax.debug.callback(lambda: ran.append(1))
        return draws(parameters, key)

    ran = []
    lines = ae.sweeps.explain(never, {**PLAIN, "scale": np.linspace(1, 2, 1000)}, KEY, 4).splitlines()
    assert lines[0] == "8000 evaluations: 2 x 1000 x 4 (count, scale, repeat)"
    assert lines[1].startswith("2 programs")
    assert " s in all" in lines[2]
    assert lines[3] == "0.16 MB of results: deepest.last, mean"
    jax.effects_barrier()
    assert len(ran) < 2000


def test_settings_of_the_caller_hold_in_all_threads():
    def function(parameters, key):
        return jnp.ones(3, jnp.int32) * jnp.ones(3) * parameters["x"]  # strict promotion refuses this

    with jax.numpy_dtype_promotion("standard"):
        assert ae.sweep(function, {"x": [1.0, 2.0]}, KEY)["value"].shape == (2, 3)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(ae.sweeps.SweepError, match="strict"):
        ae.sweep(function, {"x": [1.0, 2.0]}, KEY)


def failing(parameters, key):
    """Infinite in one cell, and an error raised inside the program in another."""
    x = eqx.error_if(parameters["x"], parameters["x"] == 3.0, "three is too many")
    return 1 / (x - 2), x


def test_a_failing_cell_is_named():
    with pytest.raises(ae.sweeps.SweepError, match=r"The cell x = 2.0, repeat 0 failed: a result is NaN or infinite"):
        ae.sweep(failing, {"x": [1.0, 2.0]}, KEY, 1)
    with pytest.raises(ae.sweeps.SweepError, match=r"The cell x = 3.0 failed: .*three is too many"):
        ae.sweep(failing, {"x": [1.0, 3.0]}, KEY)

    grid = {"input_dim": [8], "latent_dim": [3], "num_samples": [20], "init_scale": [0.5]}
    with pytest.raises(ae.sweeps.SweepError, match=r"init_scale = 0.5 failed: the flow stopped early"):
        ae.sweep(ae.sweeps.Simulation(TIMES, max_steps=2), grid, KEY)


def test_failing_cells_are_recorded(tmp_path):
    with pytest.warns(UserWarning, match="2 evaluations failed, the first: The cell x = "):
        dataset = ae.sweep(failing, {"x": [1.0, 2.0, 3.0, 4.0]}, KEY, store=tmp_path / "store", on_error="record")
    assert dataset.failed.values.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(dataset["0"], [-1.0, np.nan, np.nan, 0.5])


@pytest.mark.parametrize(("error", "place"), [(ValueError, 2), (KeyError, 3), (ZeroDivisionError, 4)])
def test_a_program_that_raises_is_named_or_recorded(error, place, tmp_path):
    """Whatever it raises, and be it the first."""

    def refusing(parameters, key):
        if parameters["n"] == place:
            raise error("refused")
        return parameters["n"] * parameters["x"]

    arguments = refusing, {"n": [2, 3, 4], "x": [0.5, 1.0]}, KEY
    with pytest.raises(ae.sweeps.SweepError, match=rf"The cell n = {place}, x = (0.5|1.0) failed: .*refused"):
        # whichever of the two comes first
        ae.sweep(*arguments)
    with pytest.warns(UserWarning, match="2 evaluations failed, the first: The cell n = "):
        dataset = ae.sweep(*arguments, store=tmp_path / "store", on_error="record")
    expected = np.where(np.array([[2], [3], [4]]) == place, np.nan, np.outer([2, 3, 4], [0.5, 1]))
    np.testing.assert_array_equal(dataset["value"], expected)
    assert dataset.failed.values.tolist() == np.isnan(expected).tolist()


def test_nothing_is_recorded_where_everything_fails():
    def refusing(parameters, key):
        raise KeyError("all")

    with pytest.raises(
        ae.sweeps.SweepError, match=r"Every cell failed. The cell n = ., x = 0.5 failed: KeyError: 'all'"
    ):
        ae.sweep(refusing, {"n": [1, 2], "x": [0.5]}, KEY, on_error="record")


@pytest.mark.parametrize("name", ["failed", "done", "repeat", "x", "pair", "a/b"])
def test_results_do_not_take_names_of_others(name):
    with pytest.raises(ValueError, match=rf"`function` must be one whose results have names .*, but got '{name}'"):
        ae.sweep(lambda cell, key: {name: cell["x"]}, {"pair": {"x": [0.5, 1.5], "y": [1.0, 2.0]}}, KEY)


SIMULATION = {"function": ae.sweeps.Simulation(TIMES)}
CELL = {"input_dim": [8], "latent_dim": [3], "num_samples": [20], "init_scale": [0.5]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"on_error": "ignore"}, "`on_error` must be one of 'raise', 'record', but got 'ignore'"),
        ({"num_repeats": 0}, "`num_repeats` must be a positive integer"),
        ({"block_size": 0}, "`block_size` must be a positive integer, but got 0"),
        ({"devices": []}, "`devices` must be devices of one kind"),
        ({"function": 3}, "`function` must be a function"),
        ({"function": lambda parameters, key: {}}, "`function` must be a function that returns arrays"),
        ({"function": lambda parameters, key: "word"}, "returns arrays only, also as 'value'"),
        ({"function": lambda parameters, key: jnp.ones(parameters["count"])}, "arrays of one shape and type in all"),
        ({"static": ["other"]}, "`static` must be made of the grid's parameters"),
        ({"grid": {"count": [3], "scale": ["a"]}, "static": ["count"]}, "`static` must be inclusive of 'scale'"),
        (SIMULATION, "exactly one of latent_dim and latent_ratio"),
        ({**SIMULATION, "static": ["x"]}, "`static` must be None for a Simulation"),
        ({"client": "tcp://nowhere"}, "`client` must be a distributed.Client"),
        ({**SIMULATION, "grid": {**CELL, "input_dim": [0]}}, "`input_dim` must be a positive integer, but got"),
        ({**SIMULATION, "grid": {**CELL, "num_samples": [-1]}}, "`num_samples` must be a positive integer or inf"),
        ({**SIMULATION, "grid": {**CELL, "init_scale": [0.5, -0.1]}}, "`init_scale` must be finite and nonnegative"),
        ({**SIMULATION, "grid": {**CELL, "speed": [0.1]}}, "must be made of input_dim and of"),
        ({"function": ae.sweeps.Prediction(TIMES, "warm"), "grid": CELL}, "regime|theory"),
    ],
)
def test_bad_input_is_refused(changed, message):
    arguments = {"function": draws, "grid": PLAIN, "key": KEY}
    with pytest.raises(ValueError, match=message):
        ae.sweep(**(arguments | changed))
