import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.group_sparse import LARGEST, SMALLEST, draws, equiangular
from refusals import refused
from tolerance import assert_rounded, rounding

from aetheory import group_relu, recovery


def intervals(learnt, source):
    codes = {"num_active": source.num_active, "min_norm": SMALLEST, "max_norm": LARGEST}
    mu = recovery.block_coherence(source.dictionary, source.group_size)
    delta = recovery.closeness(learnt, source.dictionary, source.group_size)
    sound = recovery.threshold_interval(mu, delta, group_size=source.group_size, **codes)
    tight = recovery.support_guarantee(learnt, source.dictionary, group_size=source.group_size, **codes)
    return sound, tight


@pytest.mark.parametrize("seed", [1, 2])
def test_thresholds_in_the_sound_interval_recover_the_support_exactly(seed):
    """500 signals of each random problem, at both ends and in the middle of both intervals, near the truth."""
    learnt, source, samples = draws(seed, 500, 0.03)
    sound, tight = intervals(learnt, source)
    assert not sound.is_empty
    error = rounding(jnp.float32, terms=1500, size=source.num_active * LARGEST)
    assert tight.lower <= sound.lower + error
    assert tight.upper >= sound.upper - error
    correlations = samples.observations @ learnt
    for interval in (sound, tight):
        for share in (0.001, 0.5, 0.999):
            threshold = interval.lower + share * (interval.upper - interval.lower)
            found = recovery.active_groups(group_relu(correlations, threshold, source.group_size), source.group_size)
            assert (found == samples.active).all()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("active", [1, 3])
def test_just_outside_the_bound_a_constructed_signal_fails(size, active, x64):
    cosine = 0.1
    dictionary = equiangular(size, 5, cosine)
    assert float(recovery.block_coherence(dictionary, size)) == pytest.approx(cosine / size)
    options = {"group_size": size, "num_active": active, "min_norm": SMALLEST, "max_norm": LARGEST}
    sound = recovery.threshold_interval(cosine / size, 0.0, **options)
    tight = recovery.support_guarantee(dictionary, dictionary, **options)
    assert float(sound.lower) == pytest.approx(active * LARGEST * cosine)
    assert float(tight.lower) == pytest.approx(float(sound.lower))
    assert float(tight.upper) == pytest.approx(SMALLEST - (active - 1) * LARGEST * cosine)

    def found(norms, threshold):
        """With the active groups' codes all along the first axis, which no interference can then avoid."""
        code = np.zeros((5, size))
        code[:active, 0] = norms
        correlations = (dictionary @ code.ravel()) @ dictionary
        return np.flatnonzero(recovery.active_groups(group_relu(correlations, threshold, size), size))

    largest = np.full(active, LARGEST)
    np.testing.assert_array_equal(found(largest, float(tight.lower) * 1.0001), range(active))
    assert len(found(largest, float(tight.lower) * 0.9999)) == 5  # all inactive groups become active
    against = -largest  # one group of small norm, against the others
    against[0] = SMALLEST
    np.testing.assert_array_equal(found(against, float(tight.upper) * 0.9999), range(active))
    assert 0 not in found(against, float(tight.upper) * 1.0001)
    if size > 1:  # the published form leaves out d, and its thresholds can fail
        published = recovery.threshold_interval(cosine / size, 0.0, form="published", **options)
        threshold = 0.5 * (float(published.lower) + float(sound.lower))
        assert published.contains(threshold)
        assert not sound.contains(threshold)
        assert len(found(largest, threshold)) == 5


def test_the_interval_agrees_with_its_formula(precision):
    numbers = {"num_active": 3, "min_norm": 4.0, "max_norm": 5.0, "group_size": 2}
    mu, delta = jnp.asarray(0.02, precision), jnp.asarray(0.03, precision)
    sound = recovery.threshold_interval(mu, delta, **numbers)
    published = recovery.threshold_interval(mu, delta, form="published", **numbers)
    assert sound.lower.dtype == precision
    error = rounding(precision, terms=6, condition=2)
    np.testing.assert_allclose([sound.lower, sound.upper], [15 * 0.07, 4 * 0.97 - 15 * 0.07], rtol=error)
    np.testing.assert_allclose([published.lower, published.upper], [15 * 0.05, 4 * 0.97 - 15 * 0.05], rtol=error)
    assert repr(sound) == "ThresholdInterval(lower=1.05, upper=2.83, not empty)"


def test_empty_intervals_say_so():
    numbers = {"num_active": jnp.arange(1, 9), "min_norm": 4.0, "max_norm": 5.0, "group_size": 2}
    many = recovery.threshold_interval(0.05, 0.0, **numbers)
    expected = [4 - 0.5 * active <= 0.5 * active for active in range(1, 9)]
    assert many.is_empty.tolist() == expected == [False] * 3 + [True] * 5
    assert not many.contains(jnp.full(8, 2.0))[3:].any()
    one = recovery.threshold_interval(0.5, 0.0, num_active=3, min_norm=4, max_norm=5, group_size=2)
    assert "empty" in repr(one)
    assert "not empty" not in repr(one)
    assert repr(many) == "ThresholdInterval(shape (8,))"


def test_the_guarantee_counts_the_worst_support(x64):
    """Against all supports one by one, and with every group active."""
    learnt, truth = (np.random.default_rng(seed).normal(size=(40, 8)) / math.sqrt(40) for seed in (3, 4))
    truth = learnt + 0.05 * truth
    for active in (1, 2, 4):
        options = {"group_size": 2, "num_active": active, "min_norm": SMALLEST, "max_norm": LARGEST}
        interval = recovery.support_guarantee(learnt, truth, **options)
        groups = [(learnt[:, k : k + 2], truth[:, k : k + 2]) for k in range(0, 8, 2)]
        lower, upper = 0.0, math.inf
        for support in itertools.combinations(range(4), active):
            for index, (mine, own) in enumerate(groups):
                others = [np.linalg.norm(mine.T @ groups[k][1], 2) for k in support if k != index]
                if index in support:
                    kept = SMALLEST * np.linalg.svd(mine.T @ own, compute_uv=False)[-1]
                    upper = min(upper, kept - LARGEST * sum(others))
                else:
                    lower = max(lower, LARGEST * sum(others))
        assert_rounded(
            [interval.lower, interval.upper],
            [lower, upper],
            jnp.float64,
            terms=40,
            size=active * LARGEST,
            absolute=True,
        )


def test_the_interval_under_jit_and_grad(x64):
    def width(mu):
        interval = recovery.threshold_interval(mu, 0.0, group_size=2, num_active=3, min_norm=4, max_norm=5)
        return interval.upper - interval.lower

    assert float(jax.jit(jax.grad(width))(0.01)) == pytest.approx(-2 * 3 * 5 * 2)


GIVEN = {"block_coherence": 0.1, "closeness": 0.0, "group_size": 2, "num_active": 1, "min_norm": 4, "max_norm": 5}
test_a_bad_argument = refused(
    ({"block_coherence": -0.1}, "`block_coherence` must be finite and nonnegative, but got -0.1."),
    ({"closeness": math.nan}, "`closeness` must be finite and nonnegative, but got nan."),
    ({"num_active": 0}, "`num_active` must be at least 1, but got 0."),
    ({"min_norm": 0.0}, "`min_norm` must be finite and positive, but got 0.0."),
    ({"max_norm": 1.0}, "`max_norm` must be at least `min_norm` = 4, but got 1.0."),
    ({"form": "exact"}, "`form` must be one of 'sound', 'published', but got 'exact'."),
    ({"group_size": 0}, "`group_size` must be a positive integer, but got 0."),
    by=lambda change: recovery.threshold_interval(**GIVEN | change),
)
FOUR_ACTIVE = {"group_size": 2, "num_active": 4, "min_norm": 4, "max_norm": 5}
test_more_active_groups_than_groups = refused(
    (FOUR_ACTIVE, "`num_active` must be at most the number of groups, 3, but got 4"),
    by=lambda options: recovery.support_guarantee(np.eye(6), np.eye(6), **options),
)
