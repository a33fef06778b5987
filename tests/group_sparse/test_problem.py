import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

import aetheory as ae
from aetheory.core.bibliography import bibliography

pytestmark = pytest.mark.usefixtures("standard_promotion")
KEY = jax.random.key(3)
TINY = ae.RecoveryProblem(20, 6, num_active=1, signal_to_noise=20.0, batch_size=40, learning_rate=0.01)
STEPS = [0, 2, 5]


def test_the_defaults_are_the_published_simulation():
    problem = ae.RecoveryProblem()
    assert (problem.input_dim, problem.num_groups, problem.group_size, problem.num_active) == (950, 500, 2, 3)
    scaled = problem.scaled(5)
    assert (scaled.input_dim, scaled.num_groups, scaled.batch_size) == (190, 100, 2000)
    assert scaled.learning_rate == pytest.approx(1e-3 * math.sqrt(5))
    known = set(bibliography())
    for one in (problem, *problem.theories.values()):
        assert {citation.key for citation in one.citations} == {"theodosis2021convergence"} <= known


def test_repeats_are_runs_of_their_own(x64):
    curve = ae.simulate(TINY, STEPS, KEY, num_repeats=3, return_module=True)
    single = [TINY.experiment(STEPS).run(key) for key in jax.random.split(KEY, 3)]
    assert curve.times.tolist() == STEPS
    assert curve.module.dictionary.shape == (3, 20, 12)
    for name in ("distance", "correlation", "column_norm", "found", "invented", "exact", "loss"):
        values = np.stack([one[name] for one in (run.values for run in single)])
        # sums of 20 entries, and Adam turns what a gradient of 0 is off by into a step
        error = rounding(jnp.float64, terms=5 * 20, size=np.abs(values).max())
        np.testing.assert_allclose(curve.values[name], values.mean(axis=0), rtol=0, atol=error)
        np.testing.assert_allclose(curve.std[name], values.std(axis=0, ddof=1), rtol=0, atol=error)
    assert_rounded(curve.module.dictionary[1], single[1].module.dictionary, jnp.float64, terms=5 * 20, absolute=True)


def test_maps_and_compiled_programs_agree_with_a_loop(x64):
    def end(threshold, learning_rate):
        problem = replace(TINY, threshold=threshold, learning_rate=learning_rate)
        return ae.simulate(problem, STEPS, KEY).distance

    thresholds, rates = jnp.array([0.5, 2.0]), jnp.array([0.02, 0.01])
    several = jax.jit(jax.vmap(end))(thresholds, rates)
    assert np.abs(several[0] - several[1]).max() > 0.01
    # of known rates each is a program, and that of the loop is there already
    alone = TINY.experiment(STEPS).run(jax.random.split(KEY, 1)[0]).values.distance
    np.testing.assert_allclose(several[1], alone, rtol=rounding(jnp.float64, terms=5 * 20))


@pytest.mark.parametrize("optimizer", ["sgd", "transformation"])
def test_a_step_is_that_of_the_gradient_on_the_whole_batch(optimizer, x64):
    """Whose passes are drawn from keys of their own; also of a given source and an unfolded network, as they are."""
    source, start = replace(TINY, signal_to_noise=None).experiment([1]).draw(KEY)
    network = ae.GroupSparseAutoencoder(start.dictionary, 0.3, 2, num_iterations=3)
    given = {"sgd": "sgd", "transformation": optax.sgd(0.05)}[optimizer]
    problem = ae.RecoveryProblem.of(source, network, optimizer=given, learning_rate=0.05, batch_size=40)
    problem = replace(problem, threshold=0.6)
    run = problem.experiment([2], examples_per_pass=20).run(KEY)
    network = ae.GroupSparseAutoencoder(start.dictionary, 0.6, 2, num_iterations=3)
    A, batches, gradient = (
        start.dictionary,
        jax.random.fold_in(KEY, 3),
        eqx.filter_jit(jax.grad(ae.reconstruction_loss)),
    )
    for step in range(2):
        samples = [source.sample(jax.random.fold_in(batches, 2 * step + k), 20) for k in range(2)]
        at = eqx.tree_at(lambda one: one.dictionary, network, A)
        A = A - 0.05 * gradient(at, jnp.concatenate(samples)).dictionary
    np.testing.assert_allclose(run.module.dictionary, A, rtol=0, atol=rounding(jnp.float64, terms=2 * 3 * 20))
    assert problem.start_correlation == pytest.approx(float(jnp.sum(start.dictionary * source.dictionary) / 12))


test_a_bad_field = refused(
    ({"input_dim": 0}, "`input_dim` must be a positive integer, but got 0."),
    ({"batch_size": 2.5}, "`batch_size` must be a positive integer, but got 2.5."),
    ({"num_active": 7}, "`num_active` must be at most the number of groups, 6, but got 7."),
    ({"max_norm": 1.0}, "`max_norm` must be at least `min_norm` = 4.0, but got 1.0."),
    ({"threshold": -1.0}, "`threshold` must be finite and nonnegative, but got -1.0."),
    ({"start_correlation": 1.5}, "`start_correlation` must be in (0, 1], but got 1.5."),
    ({"signal_to_noise": math.nan}, "`signal_to_noise` must be a finite number of decibels, or None for no noise"),
    ({"learning_rate": 0.0}, "`learning_rate` must be finite and positive, but got 0.0."),
    ({"network": "tanh"}, "`network` must be one of 'group', 'sparse', 'relu', but got 'tanh'."),
    ({"optimizer": "lion"}, "`optimizer` must be one of 'adam', 'sgd', or an Optax transformation, but got"),
    by=lambda change: replace(TINY, **change),
)


test_a_bad_argument = refused(
    (lambda: ae.simulate(TINY, [0], KEY), "`times` must be numbers of steps, the last one positive"),
    (lambda: ae.simulate(TINY, [0, 1.5], KEY), "`times` must be a non-empty vector of whole, nonnegative"),
    (
        lambda: ae.simulate(TINY, [1], KEY, examples_per_pass=7),
        "`examples_per_pass` must be a divisor of `batch_size` = 40, but got 7.",
    ),
    (
        lambda: ae.simulate(replace(TINY, threshold=jnp.ones(2)), [1], KEY),
        "`threshold` must be a scalar (map over several with `jax.vmap`), but got [1. 1.].",
    ),
    (
        lambda: ae.predict(TINY, [1], "mean-field"),
        "`theory` must be one of 'fixed-point norm', 'published bound', 'order-parameter map', 'single-entry proc",
    ),
    (
        lambda: ae.RecoveryProblem.of(
            ae.GroupSparseSource(np.eye(4), 2, 1), ae.GroupSparseAutoencoder(np.eye(6), 1.0, 2)
        ),
        "`reference` must have the shape of `dictionary`, (6, 6), not (4, 4).",
    ),
)
