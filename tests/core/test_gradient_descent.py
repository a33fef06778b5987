import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from tolerance import rounding

from aetheory.core.curve import Curve
from aetheory.core.gradient_descent import gradient_descent

KEY, OTHER_KEY = jax.random.key(3), jax.random.key(4)
SAMPLES = np.array([[1.0, 0.5, -1.0], [0.2, -0.3, 0.8], [-0.7, 1.1, 0.4], [0.9, 0.1, 0.3]])
TARGETS = np.array([0.5, -1.0, 2.0, 0.3])
SLOPES = np.array([0.4, -0.2, 0.1])
TRACES = []
SQUARES_ERROR = rounding(
    jnp.float64, terms=4 + 4, condition=2 * 3
)  # residuals cancel to a third before they are squared
SGD, UNIT_STEPS = optax.sgd(0.1), optax.sgd(1.0)


class Regression(eqx.Module):
    slopes: jax.Array
    offset: jax.Array
    count: jax.Array
    kind: str = "linear"


class Point(eqx.Module):
    position: jax.Array


def regression(dtype, slopes=SLOPES):
    return Regression(jnp.asarray(slopes, dtype), jnp.asarray(0.0, dtype), jnp.array([7]))


def squares(model, data):
    """½ mean (x·w + b − y)²."""
    TRACES.append(1)
    inputs, targets = data
    return 0.5 * jnp.mean((inputs @ model.slopes + model.offset - targets) ** 2)


def training_set(dtype):
    return jnp.asarray(SAMPLES, dtype), jnp.asarray(TARGETS, dtype)


def numpy_squares(weights):
    return 0.5 * np.mean((SAMPLES @ weights[:3] + weights[3] - TARGETS) ** 2)


def numpy_gradient(weights):
    errors = SAMPLES @ weights[:3] + weights[3] - TARGETS
    return np.append(SAMPLES.T @ errors, errors.sum()) / len(TARGETS)


def weights_of(model):
    return np.append(model.slopes, model.offset)


def descend_by_hand(update, num_steps, start=SLOPES):
    path = [np.append(start, 0.0)]
    for step in range(num_steps):
        path.append(path[-1] + update(step, path[-1], numpy_gradient(path[-1])))
    return np.array(path)


def falling(point, data):
    """L = −θ, so that one step of size 1 adds 1: the position counts the steps."""
    return -point.position


def at(point, data):
    return point.position


def follow_batch(point, batch):
    """L = −θ·batch, so that one step of size 1 adds the batch."""
    return -jnp.sum(point.position * batch)


def position_and_batch(point, batch):
    return point.position, batch


def draw_normal(key):
    return 2 + 0.5 * jax.random.normal(key, (3,))


def count_rows(point, rows):
    """L = −Σ θ[row], so that one step of size 1 counts the rows of the batch."""
    first, second = rows
    return -jnp.sum(jnp.where(first == second, point.position[first], jnp.nan))


def tally(key=KEY, num_steps=400):
    """How often each of ten rows was drawn, after every step."""
    rows = jnp.arange(10), jnp.arange(10)
    record = range(num_steps + 1)
    run = gradient_descent(
        Point(jnp.zeros(10)),
        count_rows,
        UNIT_STEPS,
        num_steps,
        rows,
        batch_size=25,
        key=key,
        metrics=at,
        record_at=record,
    )
    return np.asarray(run.values.arrays[0])


def test_full_batches_agree_with_a_loop(precision):
    path = descend_by_hand(lambda step, weights, gradient: -0.1 * gradient, 30)
    run = gradient_descent(regression(precision), squares, SGD, 30, training_set(precision))
    tolerance = rounding(precision, terms=30 * 6)
    assert isinstance(run, Curve)
    assert repr(run).startswith("Curve(gradient descent, 31 times in [0, 30], loss ")
    assert run.stats is None
    assert run.values.arrays[0].dtype == precision
    assert run.times.tolist() == list(range(31))
    np.testing.assert_allclose(run.values.arrays[0], [numpy_squares(weights) for weights in path], rtol=tolerance)
    np.testing.assert_allclose(weights_of(run.module), path[-1], atol=tolerance)
    assert run.module.count.tolist() == [7]
    assert run.module.count.dtype == regression(precision).count.dtype
    assert run.module.kind == "linear"


def test_adam_agrees_with_its_published_recursion(precision):
    moments = np.zeros((2, 4))

    def update(step, weights, gradient):
        moments[0] += 0.1 * (gradient - moments[0])
        moments[1] += 0.001 * (gradient**2 - moments[1])
        mean, square = moments[0] / (1 - 0.9 ** (step + 1)), moments[1] / (1 - 0.999 ** (step + 1))
        return -0.05 * mean / (np.sqrt(square) + 1e-8)

    path = descend_by_hand(update, 30)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        run = gradient_descent(regression(precision), squares, optax.adam(0.05), 30, training_set(precision))
    tolerance = rounding(precision, condition=1 / 0.001)  # 1 − 0.999ᵏ cancels that much
    np.testing.assert_allclose(weights_of(run.module), path[-1], atol=tolerance)
    np.testing.assert_allclose(run.values.arrays[0], [numpy_squares(weights) for weights in path], rtol=tolerance)


@pytest.mark.parametrize("name", ["decayed", "line search"])
def test_any_optax_optimiser_agrees_with_a_loop_over_it(name, x64):
    optimizer = {
        "decayed": optax.chain(
            optax.clip_by_global_norm(0.3), optax.adamw(optax.linear_schedule(0.1, 0.0, 8), weight_decay=0.1)
        ),
        "line search": optax.chain(optax.sgd(4.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=8)),
    }[name]
    model, data = regression(jnp.float64), training_set(jnp.float64)
    parameters = (model.slopes, model.offset)

    def objective(parameters):
        inputs, targets = data
        return 0.5 * jnp.mean((inputs @ parameters[0] + parameters[1] - targets) ** 2)

    @jax.jit
    def step(parameters, state):
        value, gradient = jax.value_and_grad(objective)(parameters)
        extra = {"value": value, "grad": gradient, "value_fn": objective} if name == "line search" else {}
        updates, state = optimizer.update(gradient, state, parameters, **extra)
        return optax.apply_updates(parameters, updates), state

    with jax.numpy_dtype_promotion("standard"):
        run = gradient_descent(model, squares, optimizer, 8, data)
        losses, state = [objective(parameters)], optimizer.init(parameters)
        for _ in range(8):
            parameters, state = step(parameters, state)
            losses.append(objective(parameters))
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(run.values.arrays[0], losses, rtol=1e-9)
    np.testing.assert_allclose(run.module.slopes, parameters[0], atol=1e-9)
    np.testing.assert_allclose(run.module.offset, parameters[1], atol=1e-9)


def test_mini_batches_are_drawn_uniformly_with_replacement():
    counts = tally()
    assert (counts[0] == 0).all()
    batches = np.diff(counts, axis=0)
    assert (batches.sum(axis=1) == 25).all()
    assert (batches >= 0).all()
    # each step's counts are multinomial: mean 2.5 and variance 25 · (1/10)(9/10)
    assert stats.chisquare(counts[-1]).pvalue > 1e-3
    np.testing.assert_allclose(batches.var(axis=0), 2.25, rtol=0.3)
    assert len({tuple(batch) for batch in batches}) > 390


def test_metrics_of_mini_batches_see_all_of_the_data(x64):
    options = {"batch_size": 2, "key": KEY, "record_at": [0, 10]}
    run = gradient_descent(regression(jnp.float64), squares, SGD, 10, training_set(jnp.float64), **options)
    np.testing.assert_allclose(run.values.arrays[0][0], numpy_squares(np.append(SLOPES, 0)), rtol=SQUARES_ERROR)
    np.testing.assert_allclose(run.values.arrays[0][1], numpy_squares(weights_of(run.module)), rtol=SQUARES_ERROR)


def fresh(key=KEY, num_steps=100, **options):
    start = Point(jnp.zeros(3))
    options = {"sample": draw_normal, "key": key, "metrics": position_and_batch} | options
    return gradient_descent(start, follow_batch, UNIT_STEPS, num_steps, record_at=range(num_steps + 1), **options)


def test_fresh_batches_are_new_and_of_the_right_law(x64):
    positions, _ = fresh().values.arrays[0]
    batches = np.diff(positions, axis=0)
    assert np.unique(batches).size == batches.size
    assert stats.kstest(batches.ravel(), stats.norm(2, 0.5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(batches[:-1].ravel(), batches[1:].ravel())[0, 1]) < 4 / np.sqrt(batches.size)


def test_metrics_without_data_see_the_batch_of_their_step(x64):
    positions, batches = fresh().values.arrays[0]
    error = rounding(jnp.float64, size=np.abs(positions).max())
    np.testing.assert_allclose(np.diff(positions, axis=0), batches[1:], rtol=0, atol=error)
    np.testing.assert_array_equal(batches[0], batches[1])  # before the first step, the batch it is going to take


def test_metrics_see_the_data_where_fresh_batches_are_drawn_too(x64):
    held_out = jnp.array([5.0, 6.0, 7.0])
    _, seen = fresh(data=held_out).values.arrays[0]
    np.testing.assert_array_equal(seen, np.tile(held_out, (101, 1)))
    np.testing.assert_array_equal(fresh(data=held_out).module.position, fresh().module.position)


@pytest.mark.parametrize(
    ("num_steps", "record_at", "steps"),
    [
        (10, [0, 3, 7], [0, 3, 7]),
        (10, np.array([10]), [10]),
        (10, range(2, 11, 4), [2, 6, 10]),
        (5, None, list(range(6))),
        (100, None, list(range(101))),
        (1000, None, list(range(0, 1001, 10))),
    ],
)
def test_metrics_are_recorded_after_exactly_the_given_steps(num_steps, record_at, steps):
    start = Point(jnp.asarray(0.0))
    run = gradient_descent(start, falling, UNIT_STEPS, num_steps, 0.0, metrics=at, record_at=record_at)
    assert run.times.tolist() == steps
    assert run.values.arrays[0].tolist() == steps
    assert run.module.position == num_steps


def runaway(point, data):
    """L = −¼θ⁴ has no minimum: θ ← θ + 0.1 θ³."""
    return -0.25 * point.position**4


def step_of_overflow(dtype):
    position, step = dtype.type(1.0), 0
    with np.errstate(over="ignore"):
        while np.isfinite(dtype.type(-0.25) * position**4):
            position, step = position + dtype.type(0.1) * position**3, step + 1
    return step


def test_a_diverging_run_names_the_step(precision):
    step, start = step_of_overflow(precision), Point(jnp.ones((), precision))
    message = f"the loss is NaN or infinite at step {step} of {{}}\\. Try a smaller learning rate"
    with pytest.raises(FloatingPointError, match=message.format(step + 20)):
        gradient_descent(start, runaway, SGD, step + 20, 0.0)
    with pytest.raises(FloatingPointError, match=message.format(step)):  # only the last loss is infinite
        gradient_descent(start, runaway, SGD, step, 0.0)
    run = gradient_descent(start, runaway, SGD, step + 20, 0.0, throw=False)
    assert np.isfinite(run.values.arrays[0]).tolist() == [True] * step + [False] * 21


@pytest.mark.parametrize("transform", ["jit", "vmap"])
def test_a_diverging_run_raises_when_a_traced_program_runs(transform):
    def run(position):
        return gradient_descent(Point(position), runaway, SGD, 40, 0.0).values.arrays[0]

    traced = {"jit": eqx.filter_jit(run), "vmap": jax.vmap(run)}[transform]
    bad, good = {"jit": (1.0, 1e-3), "vmap": ([1e-3, 1.0], [1e-3, 2e-3])}[transform]
    assert np.isfinite(traced(jnp.asarray(good))).all()
    with pytest.raises(RuntimeError, match="Training diverged: the loss became NaN or infinite"):
        traced(jnp.asarray(bad))


def test_vmap_and_jit_over_initialisations_agree_with_single_runs(x64):
    starts = np.array([SLOPES, [1.0, 1.0, 1.0], [-2.0, 0.0, 0.5]])

    @jax.jit
    @jax.vmap
    def train(slopes):
        run = gradient_descent(regression(jnp.float64, slopes), squares, SGD, 30, training_set(jnp.float64))
        return run.values.arrays[0], run.module.slopes, run.module.offset

    losses, slopes, offsets = train(jnp.asarray(starts))
    for k, start in enumerate(starts):
        path = descend_by_hand(lambda step, weights, gradient: -0.1 * gradient, 30, start)
        np.testing.assert_allclose(losses[k], [numpy_squares(weights) for weights in path], rtol=30 * SQUARES_ERROR)
        error = rounding(jnp.float64, terms=30 * 6, size=np.abs(path).max())
        np.testing.assert_allclose(np.append(slopes[k], offsets[k]), path[-1], rtol=0, atol=error)


def test_a_run_can_be_differentiated(x64):
    def last_loss(slopes):
        return gradient_descent(
            regression(jnp.float64, slopes), squares, SGD, 30, training_set(jnp.float64), record_at=[30]
        ).values.arrays[0][0]

    def reference(slopes):
        return numpy_squares(descend_by_hand(lambda step, weights, gradient: -0.1 * gradient, 30, slopes)[-1])

    steps = 1e-5 * np.eye(3)
    numerical = [(reference(SLOPES + step) - reference(SLOPES - step)) / 2e-5 for step in steps]
    error = 30 * SQUARES_ERROR * reference(SLOPES) / 1e-5  # a difference divides the error of both values by the step
    np.testing.assert_allclose(jax.grad(last_loss)(jnp.asarray(SLOPES)), numerical, rtol=0, atol=error)


def test_nothing_is_compiled_again_for_new_numbers():
    inputs, targets = training_set(jnp.float32)
    gradient_descent(regression(jnp.float32), squares, SGD, 30, (inputs, targets))
    count = len(TRACES)
    run = gradient_descent(regression(jnp.float32, 2 * SLOPES), squares, SGD, 30, (2 * inputs, targets))
    assert len(TRACES) == count
    assert run.values.arrays[0][0] == pytest.approx(
        numpy_squares(np.append(4 * SLOPES, 0)), rel=rounding(jnp.float32, terms=12, condition=4)
    )


@pytest.mark.parametrize("batches", [{"batch_size": 2}, {"sample": lambda key: training_set(jnp.float64)}])
def test_a_run_cut_in_two_is_the_same_run(batches, x64):
    optimizer = optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2).gradient_transformation()
    options = {"key": KEY} | batches
    data = training_set(jnp.float64) if "batch_size" in batches else None

    def train(model, num_steps, **state):
        return gradient_descent(model, squares, optimizer, num_steps, data, **options, **state)

    with jax.numpy_dtype_promotion("standard"):
        whole = train(regression(jnp.float64), 9)
        first = train(regression(jnp.float64), 5)  # in the middle of an accumulated step
        second = train(first.module, 4, optimizer_state=first.optimizer_state, first_step=5)
    np.testing.assert_array_equal(weights_of(second.module), weights_of(whole.module))
    np.testing.assert_array_equal(second.times, whole.times[5:])
    np.testing.assert_allclose(second.values.arrays[0][1:], whole.values.arrays[0][6:], rtol=SQUARES_ERROR)
    for ours, theirs in zip(
        jax.tree.leaves(second.optimizer_state), jax.tree.leaves(whole.optimizer_state), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_step": -1}, "`first_step` must be a nonnegative integer, but got -1."),
        ({"first_step": jnp.asarray(1.5)}, "`first_step` must be a nonnegative integer, but got"),
        ({"num_steps": 0}, "`num_steps` must be a positive integer, but got 0."),
        ({"num_steps": True}, "`num_steps` must be a positive integer, but got True."),
        ({"batch_size": 0, "key": KEY}, "`batch_size` must be a positive integer, but got 0."),
        ({"batch_size": 2}, "`key` must be a random key when `sample` or `batch_size` is given, but got None."),
        ({"sample": draw_normal}, "`key` must be a random key when `sample` or `batch_size` is given, but got None."),
        (
            {"sample": draw_normal, "batch_size": 2, "key": KEY},
            "`batch_size` must be omitted when `sample` draws the batches, but got 2.",
        ),
        ({"data": None}, "`data` must be given unless `sample` draws the batches, but got None."),
        (
            {"data": (SAMPLES, TARGETS[:2]), "batch_size": 2, "key": KEY},
            "`data` must be a pytree of arrays with a common, non-empty leading axis when `batch_size` is given, "
            "but got shapes [(4, 3), (2,)].",
        ),
        (
            {"data": (), "batch_size": 2, "key": KEY},
            "`data` must be a pytree of arrays with a common, non-empty leading axis when `batch_size` is given, "
            "but got shapes [].",
        ),
    ],
)
def test_a_bad_argument(options, message):
    arguments = {"num_steps": 10, "data": (SAMPLES, TARGETS)} | options
    with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}"):
        gradient_descent(regression(jnp.float32), squares, SGD, **arguments)


@pytest.mark.parametrize(
    ("record_at", "shown"),
    [
        ([3, 1], "[3, 1]"),
        ([1, 1], "[1, 1]"),
        ([-1, 2], "[-1, 2]"),
        ([0, 11], "[0, 11]"),
        ([], "[]"),
        (np.array([4, 2]), "[4 2]"),
    ],
)
def test_bad_steps_to_record_at(record_at, shown):
    message = "Argument `record_at` must be increasing step numbers between 0 and `num_steps` = 10, but got " + shown
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        gradient_descent(Point(jnp.asarray(0.0)), falling, SGD, 10, 0.0, record_at=record_at)


def test_vmap_over_keys_draws_different_batches(x64):
    ends = jax.vmap(lambda key: fresh(key).module.position)(jnp.stack([KEY, OTHER_KEY]))
    for key, end in zip((KEY, OTHER_KEY), ends, strict=True):
        np.testing.assert_allclose(fresh(key).module.position, end, rtol=rounding(jnp.float64, terms=100))


def test_a_continued_run_that_diverges_names_the_step_of_the_whole():
    step, start = step_of_overflow(np.dtype("float32")), Point(jnp.ones(()))
    first = gradient_descent(start, runaway, SGD, 2, 0.0)
    with pytest.raises(FloatingPointError, match=f"infinite at step {step} of {step + 22}"):
        gradient_descent(
            first.module,
            runaway,
            SGD,
            step + 20,
            0.0,
            optimizer_state=first.optimizer_state,
            first_step=2,
        )


def test_a_vectorised_descent_computes_metrics_only_where_it_records():
    computed = []

    def metrics(point, _):
        jax.debug.callback(lambda _: computed.append(1), point.position)
        return point.position

    def last(position, key):
        options = {"sample": lambda key: jax.random.normal(key), "key": key, "metrics": metrics, "record_at": [0, 20]}
        run = gradient_descent(Point(position), lambda point, x: (point.position - x) ** 2, SGD, 20, **options)
        return run.metric[-1]

    jax.block_until_ready(jax.vmap(last)(jnp.arange(3.0), jax.random.split(KEY, 3)))
    jax.effects_barrier()
    assert len(computed) == 2 * 3
