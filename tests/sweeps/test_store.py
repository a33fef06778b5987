"""What is kept survives whatever ends a sweep, and goes on to the same bits."""

import os
import shutil
import signal
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import aetheory as ae
from aetheory.linear import flow
from aetheory.linear.theories import large_data
from aetheory.sweeps import blocks, engine, identity
from aetheory.sweeps import store as store_module
from aetheory.sweeps.store import Store

KEY = jax.random.key(3)
PLAIN = {"count": [3], "scale": [0.25, 0.5, 1.0, 2.0, 3.0, 4.0]}
SEVERAL = {"count": [3, 5], "scale": [0.5, 1.0, 2.0]}
"""As many cells, of two programs."""


def draws(parameters, key):
    values = parameters["scale"] * jax.random.uniform(key, (4, parameters["count"]))
    return {"mean": values.mean(1), "deepest": {"last": values[-1, -1]}}


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stop():
    raise StoppedError


def full():
    raise OSError(28, "No space left on device")


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interruptible():
    """Ctrl-C as Python handles it, also where the tests run in the background of a shell that has it ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def acting_store(monkeypatch, after, action):
    """Make the store act once it has written `after` blocks; returns the list of regions written."""
    written, write = [], Store.write

    def acting(self, region, results):
        write(self, region, results)
        written.append(str(region))
        if len(written) == after:
            action()

    monkeypatch.setattr(Store, "write", acting)
    return written


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (stop, StoppedError, None),
        (full, OSError, r"No space left on device. What had finished is kept in"),
        (interrupt, KeyboardInterrupt, r"blocks left. What had finished is kept in"),
    ],
)
def test_a_sweep_goes_on_where_it_stopped(action, error, message, tmp_path, monkeypatch, interruptible, x64):
    whole = ae.sweep(draws, SEVERAL, KEY, 2)
    written = acting_store(monkeypatch, 4, action)
    with pytest.raises(error, match=message):
        ae.sweep(draws, SEVERAL, KEY, 2, tmp_path / "store", block_size=1)
    kept = len(written)
    assert 4 <= kept < 12
    partial = ae.sweeps.open_store(tmp_path / "store")
    assert int(partial.done.sum()) == int(np.isfinite(partial["deepest.last"]).sum()) == kept
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    dataset = ae.sweep(draws, SEVERAL, KEY, 2, tmp_path / "store")
    assert len(written) == len(set(written)) == 12
    assert dataset.drop_attrs().identical(whole.drop_attrs())
    # a finished store is opened and not computed again
    assert ae.sweep(draws, SEVERAL, KEY, 2, tmp_path / "store").identical(dataset)
    assert len(written) == 12


def test_an_ignored_interrupt_stays_ignored(tmp_path, monkeypatch, interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    written = acting_store(monkeypatch, 2, interrupt)
    ae.sweep(draws, PLAIN, KEY, 6, tmp_path / "store", block_size=1)
    assert len(written) == 36
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_xarray_opens_a_store_without_a_word(tmp_path):
    grid = {**PLAIN, "word": ["a", "longer"]}
    dataset = ae.sweep(draws, grid, KEY, 2, tmp_path / "store")
    opened = xarray.open_zarr(tmp_path / "store")
    assert opened.drop_vars(["done", "failed"]).load().identical(dataset.load())


def test_a_store_of_another_sweep_is_refused(tmp_path, monkeypatch):
    arguments = {"function": draws, "grid": PLAIN, "key": KEY, "num_repeats": 2, "store": tmp_path / "store"}
    before = ae.sweep(**arguments)
    for changed, message in (
        ({"key": jax.random.key(4)}, "key is .* there and .* here"),
        ({"num_repeats": 1}, "num_repeats is 2 there and 1 here"),
        ({"num_repeats": None}, "num_repeats is 2 there and null here"),
        ({"grid": {**PLAIN, "scale": [0.5, 1.0]}}, "grid is .* there"),
        ({"grid": {"scale": PLAIN["scale"], "count": [3]}}, "grid is .* there"),
        (
            {"function": lambda parameters, key: draws(parameters, key)["mean"]},
            "program of count = 3 is .*; task is .*draws",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ae.sweep(**(arguments | changed))
    with jax.enable_x64(True), pytest.raises(ValueError, match='dtype is "float32" there and "float64" here'):
        ae.sweep(**arguments)
    monkeypatch.setattr(identity, "versions", lambda: {"aetheory": "0.0.1"})
    with pytest.raises(ValueError, match=r"versions is .* there and .*0.0.1.* here"):
        ae.sweep(**arguments)
    assert ae.sweeps.open_store(tmp_path / "store").identical(before)


def test_what_a_function_closes_over_and_a_problems_options_count(tmp_path):
    def made(factor):
        return lambda parameters, key: factor * parameters["x"]

    def inside(factors):
        inner = jax.jit(lambda x: jnp.sum(jnp.asarray(factors)) * x)
        return lambda parameters, key: inner(parameters["x"])

    def looked_up(table):
        return lambda parameters, key: table[parameters["count"]] * parameters["x"]

    for make, first, second in (
        (made, 2.0, 3.0),
        (inside, np.zeros(5000), np.ones(5000)),
        (looked_up, {1: 1.0, 2: 2.0}, {1: 1.0, 2: 3.0}),
    ):
        arguments = {"x": [1.0], "count": [1, 2]}, KEY, None, tmp_path / "store"
        before = ae.sweep(make(first), *arguments)
        with pytest.raises(ValueError, match=r"program of .* is"):
            ae.sweep(make(second), *arguments)
        assert ae.sweep(make(first), *arguments).identical(before)
        shutil.rmtree(tmp_path / "store")
    cell = {"input_dim": 4, "latent_dim": 2, "num_samples": 5, "init_scale": 0.5}
    data = np.random.default_rng(0).normal(size=(2, 5, 4))
    for number, error in ((0, None), (1, "program of .* task is"), (0, None)):
        task = ae.sweeps.Simulation([0.0, 1.0], data=data[number])
        if error is None:
            ae.sweep(task, [cell], KEY, store=tmp_path / "data")
        else:
            with pytest.raises(ValueError, match=error):
                ae.sweep(task, [cell], KEY, store=tmp_path / "data")


@pytest.mark.parametrize(
    ("task", "module", "formula"),
    [
        (ae.sweeps.Simulation([0.0, 1.0]), flow, "risks"),
        (ae.sweeps.Prediction([0.0, 1.0], "large-data"), large_data, "narayana"),
    ],
)
def test_a_formula_of_the_library_that_changes_is_noticed(task, module, formula, tmp_path, monkeypatch):
    """The version of a checkout stays the same when it is edited."""
    original = getattr(module, formula)

    def changed(*arguments):
        return jax.tree.map(lambda values: 1.5 * values, original(*arguments))

    arguments = task, [{"input_dim": 4, "latent_dim": 2, "num_samples": 5, "init_scale": 0.5}], KEY
    before = ae.sweep(*arguments, store=tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(module, formula, changed)
        jax.clear_caches()
        with pytest.raises(ValueError, match=r"program of .* is .* there and"):
            ae.sweep(*arguments, store=tmp_path / "store")
    jax.clear_caches()
    assert ae.sweep(*arguments, store=tmp_path / "store").identical(before)


def test_a_long_axis_of_integers_is_traced_once_where_it_may_be(tmp_path):
    traced = []

    def function(parameters, key):
        traced.append(parameters["n"])
        return parameters["n"] * jax.random.uniform(key)

    arguments = function, {"n": list(range(1, 21))}, KEY, None, tmp_path / "store"
    ae.sweep(*arguments)
    traced.clear()
    ae.sweep(*arguments)
    assert len(traced) <= 4


@pytest.mark.parametrize("block_size", [1, 5, None])
def test_a_store_is_extended_by_computing_new_cells_only(block_size, tmp_path, monkeypatch, x64):
    path = tmp_path / "store"
    small = {"count": [3, 5], "scale": [0.5, 2.0]}
    large = {"count": [5, 3], "scale": [0.25, 0.5, 1.0, 2.0]}
    ae.sweep(draws, small, KEY, 2, path, block_size=block_size)
    computed = []
    run = blocks.run_block

    def counting(runner, evaluations):
        computed.append(len(evaluations.cell))
        return run(runner, evaluations)

    monkeypatch.setattr(engine, "run_block", counting)
    dataset = ae.sweep(draws, large, KEY, 3, path, block_size=block_size)
    assert sum(computed) == 2 * 4 * 3 - 2 * 2 * 2
    monkeypatch.undo()
    assert dataset.drop_attrs().identical(ae.sweep(draws, large, KEY, 3).drop_attrs())
    assert os.listdir(tmp_path) == ["store"]
    with pytest.raises(ValueError, match=r"grid is .* there and .* here; num_repeats is 3 there and 2 here"):
        ae.sweep(draws, small, KEY, 2, path)
    # an unfinished store can be extended too
    acting_store(monkeypatch, 1, stop)
    with pytest.raises(StoppedError):
        ae.sweep(draws, large, KEY, 4, path, block_size=block_size)
    monkeypatch.undo()
    dataset = ae.sweep(draws, {**large, "scale": [*large["scale"], 3.0]}, KEY, 5, path)
    expected = ae.sweep(draws, {**large, "scale": [*large["scale"], 3.0]}, KEY, 5)
    assert dataset.drop_attrs().identical(expected.drop_attrs())


def test_simulations_are_extended_by_dimensions_and_scales(tmp_path, monkeypatch, x64):
    grid = {"input_dim": [4], "latent_dim": [2], "num_samples": [5, 6], "init_scale": [0.5]}
    larger = {**grid, "num_samples": [5, 6, 7], "init_scale": [0.5, 1.0]}
    task = ae.sweeps.Simulation([0.0, 1.0])
    ae.sweep(task, grid, KEY, 1, tmp_path / "store")
    extended = ae.sweep(task, larger, KEY, 2, tmp_path / "store")
    assert extended.drop_attrs().identical(ae.sweep(task, larger, KEY, 2).drop_attrs())


def test_a_store_survives_a_process_that_is_killed_while_it_extends_it(tmp_path, monkeypatch):
    path = tmp_path / "store"
    before = ae.sweep(draws, PLAIN, KEY, 1, path).load()
    rename = os.rename

    def killed(source, target):
        if target == path:
            raise StoppedError
        rename(source, target)

    monkeypatch.setattr(store_module.os, "rename", killed)
    with pytest.raises(StoppedError):
        ae.sweep(draws, PLAIN, KEY, 2, path)
    monkeypatch.undo()
    assert not path.exists()
    assert ae.sweeps.open_store(path).load().identical(before)
    monkeypatch.setattr(store_module, "_copy_results", lambda *arguments: full())
    with pytest.raises(OSError, match=r"`store` must be a path that can be written to, .* No space left"):
        ae.sweep(draws, PLAIN, KEY, 2, path)
    assert ae.sweeps.open_store(path).load().identical(before)


def test_functions_of_the_host_need_a_version(tmp_path):
    def doubled(parameters, key):
        x = eqx.error_if(parameters["x"], parameters["x"] > 5, "the checks of programs are known")
        return jax.pure_callback(
            lambda value: 2 * value, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential"
        )

    arguments = doubled, {"x": [1.0, 2.0]}, KEY, None
    assert ae.sweep(*arguments)["value"].values.tolist() == [2, 4]  # nothing is kept
    with pytest.raises(ValueError, match="`version` must be a label for the content of the functions of the host"):
        ae.sweep(*arguments, tmp_path / "store")
    ae.sweep(*arguments, tmp_path / "store", version="1")
    with pytest.raises(ValueError, match='version is "1" there and "2" here'):
        ae.sweep(*arguments, tmp_path / "store", version="2")


def damage_lost(path):
    path.unlink()


def damage_emptied(path):
    path.write_bytes(b"")


def damage_flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (damage_lost, "mean"),
        (damage_lost, "done"),
        (damage_emptied, "failed"),
        (damage_flipped, "mean"),
        (damage_flipped, "done"),
    ],
)
def test_a_damaged_block_is_found_and_computed_again(damage, name, tmp_path, monkeypatch):
    arguments = draws, PLAIN, KEY, 2, tmp_path / "store"
    before = ae.sweep(*arguments, block_size=4).load()
    chunks = sorted(path for path in (tmp_path / "store" / name / "c").rglob("*") if path.is_file())
    damage(chunks[1])
    if damage is damage_lost and name != "done":
        with pytest.raises(ValueError, match=f"damaged: its block at .* is done, but its '{name}' cannot be found"):
            ae.sweeps.open_store(tmp_path / "store")
    elif name == "mean":
        with pytest.raises((ValueError, RuntimeError)):
            ae.sweeps.open_store(tmp_path / "store").load()
    written = acting_store(monkeypatch, 0, stop)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        after = ae.sweep(*arguments).load()
    assert after.identical(before)
    assert len(written) == 1
    lost_mask = name == "done" and damage is damage_lost  # a block that was never done, for all that is known
    assert ["blocks in" in str(one.message) for one in caught] == [True][lost_mask:]


@pytest.mark.parametrize(("name", "end"), [(".", "gone"), (".", "short"), ("mean", "short"), ("done", "gone")])
def test_a_store_that_lost_what_it_says_of_itself(name, end, tmp_path):
    ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store")
    metadata = tmp_path / "store" / name / "zarr.json"
    if end == "gone":
        metadata.unlink()
    else:
        metadata.write_bytes(metadata.read_bytes()[:-20])
    message = "something else" if (name, end) == (".", "gone") else "damaged: .* Move it away, and the same sweep"
    for call in (
        lambda: ae.sweeps.open_store(tmp_path / "store"),
        lambda: ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_two_that_make_one_store_share_it(tmp_path, monkeypatch):
    whole = ae.sweep(draws, PLAIN, KEY, 2)
    rename = os.rename

    def slower(temporary, path):
        monkeypatch.setattr(store_module.os, "rename", rename)
        ae.sweep(draws, PLAIN, KEY, 2, path, block_size=3)
        rename(temporary, path)

    monkeypatch.setattr(store_module.os, "rename", slower)
    assert ae.sweep(draws, PLAIN, KEY, 2, tmp_path / "store").drop_attrs().identical(whole.drop_attrs())


def test_foreign_and_unwritable_stores_are_left_alone(tmp_path, monkeypatch):
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
    monkeypatch.setattr(store_module.os, "rename", lambda *paths: full())
    with pytest.raises(OSError, match="`store` must be a path that can be written to"):
        ae.sweep(draws, PLAIN, KEY, store=tmp_path / "store")
    assert list(tmp_path.iterdir()) == [foreign]
