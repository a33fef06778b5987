"""What a sweep computes, and that it depends on nothing but its arguments."""

import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae
from aetheory.sweeps import run as run_module
from aetheory.sweeps import store as store_module
from aetheory.sweeps.store import ZarrStore

TIMES = np.linspace(0, 1, 6)
GRID = {"shape": {"input_dim": [8, 12], "latent_dim": [3, 4]}, "num_samples": [20], "init_scale": [0.1, 0.5, 1.0]}
KEY = jax.random.key(3)


def draws(parameters, key):
    """A plain function with one static and one real parameter, and results of two kinds."""
    values = parameters["scale"] * jax.random.normal(key, (4, parameters["count"]))
    return {"mean": values.mean(1), "deepest": {"last": values[-1, -1]}}


PLAIN = {"count": [3, 5], "scale": [0.5, 1.0, 2.0]}


def test_a_simulation_is_that_of_its_cell(precision):
    grid = {name: values for name, values in GRID.items() if name != "shape"} | {"input_dim": [8], "latent_dim": [3]}
    dataset = ae.sweep(ae.sweeps.Simulation(TIMES), grid, KEY, 2)
    assert dataset.train.dims == ("num_samples", "init_scale", "input_dim", "latent_dim", "repeat", "time")
    assert dataset.train.dtype == precision
    for scale in (0.1, 1.0):
        parameters = {"num_samples": 20, "init_scale": scale, "input_dim": 8, "latent_dim": 3}
        key = ae.sweeps.cell_key(KEY, parameters, 1)
        problem = ae.LinearProblem(8, 3, 20, jnp.asarray(scale / 8, precision))
        curve = ae.simulate(problem, jnp.asarray(TIMES, precision), key)
        cell = dataset.sel(init_scale=scale, repeat=1, input_dim=8, latent_dim=3, num_samples=20)
        tolerance = 1e-12 if precision == jnp.float64 else 2e-6
        np.testing.assert_allclose(cell.train, curve.train, rtol=tolerance)
        np.testing.assert_allclose(cell.population, curve.population, rtol=tolerance)
        if precision == jnp.float64:  # in float32 rounding decides on the length of a step as well
            assert int(cell.num_steps) == int(curve.stats.num_steps[0])


def test_a_limit_is_that_of_its_cell(x64):
    grid = {"regime": ["large-data", "mean-field"], "input_dim": [100], "latent_ratio": [0.5], "sample_ratio": [0.25]}
    dataset = ae.sweep(ae.sweeps.Prediction(TIMES), {**grid, "init_scale": [0.3, 1.0]}, KEY)
    for regime in grid["regime"]:
        curve = ae.predict(ae.LinearProblem(100, 50, 400, 0.3 / 100), TIMES, regime)
        np.testing.assert_allclose(dataset.train.sel(regime=regime, init_scale=0.3).squeeze(), curve.train, rtol=1e-10)
    # without an axis of regimes, each cell gets the one that is closest
    problem = ae.LinearProblem(100, 50, 100_000, 0.01)
    cell = {"input_dim": 100, "latent_dim": 50, "num_samples": 100_000, "init_variance": 0.01}
    nearest = ae.sweep(ae.sweeps.Prediction(TIMES), [cell], KEY)
    np.testing.assert_allclose(nearest.train[0], ae.predict(problem, TIMES, ae.locate(problem).regime).train)


def test_a_plain_function_gets_its_parameters_and_key(precision):
    dataset = ae.sweep(draws, PLAIN, KEY, 3, dims={"mean": ["row"]}, coordinates={"row": [1, 2, 3, 4]})
    assert dataset["mean"].dims == ("count", "scale", "repeat", "row")
    assert dataset["deepest.last"].dims == ("count", "scale", "repeat")
    assert dataset.row.values.tolist() == [1, 2, 3, 4]
    assert dataset["mean"].dtype == precision
    key = ae.sweeps.cell_key(KEY, {"count": 5, "scale": 2.0}, 2)
    wanted = draws({"count": 5, "scale": jnp.asarray(2.0, precision)}, key)
    cell = dataset.sel(count=5, scale=2.0, repeat=2)
    np.testing.assert_allclose(cell["mean"], wanted["mean"], rtol=1e-6)
    # every draw is another
    assert len(np.unique(dataset["deepest.last"])) == dataset["deepest.last"].size


def test_a_curve_becomes_variables_over_time(x64):
    def limit(parameters, key):
        return ae.predict(ae.LinearProblem(50, 25, 100, parameters["variance"]), TIMES, "large-data")

    dataset = ae.sweep(limit, {"variance": [0.01, 0.02]}, KEY, coordinates={"time": TIMES})
    assert dataset.train.dims == ("variance", "time")
    curve = ae.predict(ae.LinearProblem(50, 25, 100, 0.02), TIMES, "large-data")
    np.testing.assert_allclose(dataset.population.sel(variance=0.02), curve.population, rtol=1e-12)


@pytest.mark.parametrize("options", [{"block_size": 1}, {"block_size": 5}, {"block_size": 100}, {"memory": 100_000}])
def test_results_do_not_depend_on_the_blocks(options, tmp_path, x64):
    one = ae.sweep(draws, PLAIN, KEY, 40)
    other = ae.sweep(draws, PLAIN, KEY, 40, tmp_path / "store", **options)
    assert other.drop_attrs().identical(one.drop_attrs())


def test_flows_do_not_depend_on_the_blocks(tmp_path, x64):
    one = ae.sweep(ae.sweeps.Simulation(TIMES), GRID, KEY, 2)
    other = ae.sweep(ae.sweeps.Simulation(TIMES), GRID, KEY, 2, tmp_path / "store", block_size=5)
    assert other.drop_attrs().identical(one.drop_attrs())
    assert one.input_dim.attrs["long_name"].startswith("p")


def test_results_do_not_depend_on_the_order_of_the_axes_or_on_other_cells(x64):
    one = ae.sweep(draws, PLAIN, KEY, 2)
    turned = ae.sweep(draws, {"scale": [2.0, 0.25, 0.5], "count": [5, 3]}, KEY, 2)
    turned = turned.transpose(*one.dims, missing_dims="ignore").sel(count=[3, 5])
    shared = [0.5, 2.0]
    for name in one.data_vars:
        both = [dataset[name].sel(scale=shared).transpose(*one[name].dims).values for dataset in (one, turned)]
        np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("width", [1, 8])
def test_what_is_the_same_in_all_cells_is_computed_once(width, x64):
    batched = []

    @jax.custom_batching.custom_vmap
    def power(base, exponent):
        return base**exponent

    @power.def_vmap
    def _(axis_size, in_batched, base, exponent):
        batched.append(list(in_batched))
        return base**exponent, any(in_batched)

    def function(parameters, key):
        return {"varied": power(parameters["x"], parameters["a"]), "alike": power(parameters["a"], parameters["a"])}

    x = np.linspace(0.5, 2, 20)
    dataset = ae.sweep(function, {"a": [2.5], "x": x}, KEY, width=width)
    np.testing.assert_allclose(dataset.varied.squeeze(), x**2.5, rtol=1e-14)
    np.testing.assert_allclose(dataset.alike.squeeze(), np.full(20, 2.5**2.5), rtol=1e-14)
    assert batched == ([] if width == 1 else [[True, False]])


def test_the_dataset_says_where_it_comes_from():
    dataset = ae.sweep(draws, PLAIN, KEY)
    assert "repeat" not in dataset.dims
    assert dataset.attrs["version_jax"] == jax.__version__
    assert dataset.attrs["function"].endswith("draws")
    assert dataset.attrs["dtype"] == "float32"
    assert {"commit", "device", "key", "version_aetheory"} <= dataset.attrs.keys()


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def interrupted_store(monkeypatch, after, action):
    """Make the store act once it has written `after` blocks; returns the list of regions written."""
    written, write = [], ZarrStore.write

    def acting(self, region, results):
        write(self, region, results)
        written.append(region)
        if len(written) == after:
            action()

    monkeypatch.setattr(ZarrStore, "write", acting)
    return written


def test_a_sweep_goes_on_where_it_stopped(tmp_path, monkeypatch, x64):
    whole = ae.sweep(draws, PLAIN, KEY, 2)

    def stop():
        raise StoppedError

    written = interrupted_store(monkeypatch, 4, stop)
    with pytest.raises(StoppedError):
        ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store", block_size=1)
    partial = ae.sweeps.open_store(tmp_path / "store")
    assert int(partial.done.sum()) == 4
    assert int(np.isfinite(partial["deepest.last"]).sum()) == 4
    dataset = ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store")
    assert len(written) == 12
    assert len(set(map(str, written))) == 12
    assert dataset.drop_attrs().identical(whole.drop_attrs())
    # a finished store is opened and not computed again
    again = ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store")
    assert len(written) == 12
    assert again.identical(dataset)


@pytest.fixture
def interruptible():
    """Ctrl-C as Python handles it, also where the tests run in the background of a shell that has it ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_an_interrupt_finishes_what_is_under_way(tmp_path, monkeypatch, interruptible):
    written = interrupted_store(monkeypatch, 2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=r"blocks left. What had finished is kept in"):
        ae.sweep(draws, PLAIN, KEY, 6, tmp_path / "store", block_size=1)
    assert 2 <= len(written) < 36
    assert int(ae.sweeps.open_store(tmp_path / "store").done.sum()) == len(written)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored(tmp_path, monkeypatch, interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    written = interrupted_store(monkeypatch, 2, lambda: signal.raise_signal(signal.SIGINT))
    ae.sweep(draws, PLAIN, KEY, 6, tmp_path / "store", block_size=1)
    assert len(written) == 36
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_full_disk_keeps_what_had_finished(tmp_path, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    interrupted_store(monkeypatch, 3, full)
    with pytest.raises(OSError, match=r"No space left on device. What had finished is kept in"):
        ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store", block_size=1)
    monkeypatch.undo()
    assert int(ae.sweeps.open_store(tmp_path / "store").done.sum()) == 3
    whole = ae.sweep(draws, PLAIN, KEY, 2)
    assert ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store").drop_attrs().identical(whole.drop_attrs())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": jax.random.key(4)}, "key is .* there and .* here"),
        ({"num_repeats": 3}, "num_repeats is 2 there and 3 here"),
        ({"grid": {**PLAIN, "scale": [0.5, 1.0]}}, "grid is .* there"),
        ({"function": lambda parameters, key: draws(parameters, key)["mean"]}, "program is .*; task is .*draws"),
    ],
)
def test_a_store_of_another_sweep_is_refused(changed, message, tmp_path):
    arguments = {"function": draws, "grid": PLAIN, "key": KEY, "num_repeats": 2, "store": tmp_path / "store"}
    before = ae.sweep(**arguments)
    with pytest.raises(ValueError, match=message):
        ae.sweep(**(arguments | changed))
    assert ae.sweeps.open_store(tmp_path / "store").identical(before)


def test_another_version_or_precision_is_refused(tmp_path, monkeypatch):
    ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")
    with jax.enable_x64(True), pytest.raises(ValueError, match='dtype is "float32" there and "float64" here'):
        ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")
    monkeypatch.setattr(run_module, "version", lambda name: "0.0.1")
    with pytest.raises(ValueError, match=r"versions is .* there and .*0.0.1.* here"):
        ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")


def test_what_a_function_closes_over_counts(tmp_path):
    def made(factor):
        return lambda parameters, key: factor * parameters["x"]

    ae.sweep(made(2.0), {"x": [1.0]}, KEY, store=tmp_path / "store")
    with pytest.raises(ValueError, match="program is"):
        ae.sweep(made(3.0), {"x": [1.0]}, KEY, store=tmp_path / "store")
    ae.sweep(made(2.0), {"x": [1.0]}, KEY, store=tmp_path / "store")


def test_foreign_and_unwritable_stores_are_left_alone(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else, which is left as it is"):
        ae.sweep(draws, PLAIN, KEY, store=foreign)
    assert (foreign / "thesis.txt").read_text() == "mine"
    with pytest.raises(OSError, match="`store` must be a path that can be written to"):
        ae.sweep(draws, PLAIN, KEY, store=foreign / "thesis.txt" / "store")
    with pytest.raises(FileNotFoundError, match="no store at"):
        ae.sweeps.open_store(tmp_path / "nothing")


def failing(parameters, key):
    """Infinite in one cell, and an error raised inside the program in another."""
    x = eqx.error_if(parameters["x"], parameters["x"] == 3.0, "three is too many")
    return 1 / (x - 2), x


def test_a_failing_cell_is_named(tmp_path):
    with pytest.raises(ae.sweeps.SweepError, match=r"The cell x = 2.0, repeat 0 failed: a result is NaN or infinite"):
        ae.sweep(failing, {"x": [1.0, 2.0]}, KEY, 1)
    with pytest.raises(ae.sweeps.SweepError, match=r"The cell x = 3.0 failed: .*three is too many"):
        ae.sweep(failing, {"x": [1.0, 3.0]}, KEY)

    def refusing(parameters, key):
        if parameters["n"] == 2:
            raise ValueError("two is refused")
        return parameters["n"] * parameters["x"]

    with pytest.raises(ae.sweeps.SweepError, match=r"The cell n = 2, x = (0.5|1.0) failed: two is refused"):
        # whichever of the two comes first
        ae.sweep(refusing, {"n": [1, 2], "x": [0.5, 1.0]}, KEY)


def test_failing_cells_are_recorded(tmp_path):
    with pytest.warns(UserWarning, match="2 evaluations failed, the first: The cell x = "):
        dataset = ae.sweep(failing, {"x": [1.0, 2.0, 3.0, 4.0]}, KEY, store=tmp_path / "store", on_error="record")
    assert dataset.failed.values.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(dataset["0"], [-1.0, np.nan, np.nan, 0.5])


def test_a_flow_that_does_not_finish_is_a_failure():
    grid = {"input_dim": [8], "latent_dim": [3], "num_samples": [20], "init_scale": [0.5]}
    with pytest.raises(ae.sweeps.SweepError, match=r"init_scale = 0.5 failed: the flow stopped early"):
        ae.sweep(ae.sweeps.Simulation(TIMES, max_steps=2), grid, KEY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"on_error": "ignore"}, "`on_error` must be 'raise' or 'record'"),
        ({"num_repeats": 0}, "`num_repeats` must be a positive integer"),
        ({"memory": -1}, "`memory` must be positive"),
        ({"block_size": 0}, "`block_size` must be positive"),
        ({"devices": []}, "`devices` must be devices of one kind"),
        ({"function": 3}, "`function` must be a function"),
        ({"function": lambda parameters, key: {}}, "`function` must be a function that returns arrays"),
        ({"function": lambda parameters, key: "word"}, "returns arrays only, also as 'value'"),
        ({"function": lambda parameters, key: jnp.ones(parameters["count"])}, "arrays of one shape and type in all"),
        ({"static": ["other"]}, "`static` must be made of the grid's parameters"),
        ({"grid": {"count": [3], "scale": ["a"]}, "static": ["count"]}, "`static` must be inclusive of 'scale'"),
        ({"function": ae.sweeps.Simulation(TIMES)}, "exactly one of latent_dim and latent_ratio"),
        ({"function": ae.sweeps.Simulation(TIMES), "static": ["x"]}, "`static` must be None for a Simulation"),
        ({"client": "tcp://nowhere"}, "`client` must be a distributed.Client"),
    ],
)
def test_bad_input_is_refused(changed, message):
    arguments = {"function": draws, "grid": PLAIN, "key": KEY}
    with pytest.raises(ValueError, match=message):
        ae.sweep(**(arguments | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_dim": [0]}, "`input_dim` must be positive integers, but got 0"),
        ({"input_dim": [8.5]}, "`input_dim` must be positive integers, but got 8.5"),
        ({"num_samples": [-1]}, "`num_samples` must be positive integers or infinity"),
        ({"init_scale": [-0.1]}, "`init_scale` must be finite and nonnegative"),
        ({"init_variance": [0.1]}, "exactly one of init_variance and init_scale"),
        ({"speed": [0.1]}, "`grid` must be made of input_dim and of"),
    ],
)
def test_bad_problems_are_refused(changed, message):
    grid = {"input_dim": [8], "latent_dim": [3], "num_samples": [20], "init_scale": [0.5]}
    with pytest.raises(ValueError, match=message):
        ae.sweep(ae.sweeps.Simulation(TIMES), {**grid, **changed}, KEY)


def test_one_evaluation_that_does_not_fit_is_refused():
    with pytest.raises(MemoryError, match=r"`memory` must allow .* MB a call"):
        ae.sweep(lambda parameters, key: jax.random.normal(key, (1000,)), {"x": [1.0]}, KEY, memory=10_000)


def test_a_store_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "rename", fail)
    with pytest.raises(OSError, match="`store` must be a path that can be written to"):
        ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_compiler_options_that_a_version_does_not_know_are_left_out(monkeypatch):
    grid = {"input_dim": [6], "latent_dim": [3], "num_samples": [9], "init_scale": [0.5]}
    task = ae.sweeps.Simulation(np.linspace(0, 1, 3))
    expected = ae.sweep(task, grid, KEY)
    monkeypatch.setattr(type(task), "compiler_options", lambda self, platform: {"xla_no_such_option": 1})
    found = ae.sweep(task, grid, KEY)
    np.testing.assert_allclose(found.train, expected.train, rtol=1e-5)
