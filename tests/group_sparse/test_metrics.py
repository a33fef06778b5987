import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy.stats import binomtest, ortho_group
from tolerance import assert_rounded, rounding

import aetheory as ae
from aetheory import recovery

RNG = np.random.default_rng(0)
A = RNG.normal(size=(9, 6))


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=0)


def distance(first, second):
    return np.sum((unit(first) - unit(second)) ** 2)


def test_the_plain_distance_ignores_the_scale_of_columns(precision):
    other = RNG.normal(size=(9, 6))
    value = recovery.squared_distance(jnp.asarray(A, precision), jnp.asarray(other * RNG.uniform(1, 2, 6), precision))
    assert value.dtype == precision
    assert float(value) == pytest.approx(distance(A, other), rel=rounding(precision, terms=54))
    assert jax.jit(recovery.squared_distance)(A, 3 * A) == pytest.approx(0, abs=rounding(precision, terms=54))


def test_signed_permutations_of_columns_are_found(x64):
    order, signs = RNG.permutation(6), RNG.choice([-1, 1], 6)
    moved = 2.0 * (A * signs)[:, order]
    assert recovery.squared_distance(moved, A) > 1
    assert recovery.dictionary_distance(moved, A, group_size=1) == pytest.approx(0, abs=rounding(jnp.float64, terms=54))
    noisy = moved + 0.3 * RNG.normal(size=A.shape)
    best = min(
        np.sum(np.minimum(*(np.sum((unit(noisy)[:, list(p)] - s * unit(A)) ** 2, axis=0) for s in (1, -1))))
        for p in itertools.permutations(range(6))
    )
    assert_rounded(recovery.dictionary_distance(noisy, A), best, jnp.float64, terms=54, condition=2 * 6 / best)


def test_rotations_within_permuted_groups_are_found(x64):
    groups = [np.linalg.qr(A[:, k : k + 2])[0] for k in (0, 2, 4)]
    truth = np.hstack(groups)
    moved = np.hstack([groups[k] @ ortho_group.rvs(2, random_state=k) for k in (2, 0, 1)])
    assert recovery.dictionary_distance(moved, truth) > 0.1
    assert recovery.dictionary_distance(moved, truth, group_size=2) == pytest.approx(0, abs=rounding(jnp.float64, 54))


def test_the_distance_between_groups_is_the_smallest_one(x64):
    """Against all permutations, and for each group against a fine grid of rotations and reflections."""
    other = RNG.normal(size=(9, 6))
    angles = np.linspace(0, 2 * np.pi, 4001)
    turns = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
    turns = np.concatenate([turns, turns * np.array([1, -1])])
    costs = np.empty((3, 3))
    for g, h in itertools.product(range(3), range(3)):
        mine, theirs = unit(A)[:, 2 * g : 2 * g + 2], unit(other)[:, 2 * h : 2 * h + 2]
        costs[g, h] = np.min(np.sum((mine - theirs @ turns) ** 2, axis=(1, 2)))
    best = min(sum(costs[g, p[g]] for g in range(3)) for p in itertools.permutations(range(3)))
    assert recovery.dictionary_distance(A, other, group_size=2) == pytest.approx(best, rel=1e-5)  # the grid's


def test_support_rates_agree_with_counts(precision):
    codes = jnp.asarray([[0, 0, 1, 0, 0, 0], [0, -2, 0, 0, 0, 3], [0, 0, 0, 0, 0, 0]], precision)
    found = recovery.active_groups(codes, 2)
    assert found.tolist() == [[False, True, False], [True, False, True], [False, False, False]]
    active = jnp.array([[False, True, False], [True, True, False], [False, False, True]])
    rates = recovery.support_recovery(found, active)
    np.testing.assert_allclose(rates, [2 / 4, 1 / 5, 1 / 3], rtol=rounding(jnp.float32, terms=2))
    np.testing.assert_allclose(recovery.support_recovery(active, active), [1, 0, 1])
    nothing = jnp.zeros((2, 3), bool)
    np.testing.assert_allclose(recovery.support_recovery(nothing, nothing), [1, 0, 1])
    np.testing.assert_allclose(recovery.support_recovery(~nothing, ~nothing), [1, 0, 1])


def test_a_support_probability_is_the_share_of_draws():
    atoms = ae.gaussian_dictionary(jax.random.key(1), 30, 12)
    source = ae.GroupSparseSource(atoms, 2, 2, min_norm=1.0, max_norm=2.0, signal_to_noise=10.0)
    network, key = ae.GroupSparseAutoencoder(atoms, 0.5, 2), jax.random.key(2)
    found = recovery.support_probability(network, source, key, 400)
    samples = source.draw(key, 400)
    found_groups = np.linalg.norm((samples.observations @ atoms).reshape(400, 6, 2), axis=2) > 0.5
    share = np.mean((found_groups == np.asarray(samples.active)).all(axis=1))
    assert 0.05 < share < 0.95
    assert found.value == pytest.approx(share, abs=2 / 400)  # a norm at the threshold
    ends = binomtest(round(400 * float(found.value)), 400).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(found[1:], ends, rtol=1e-4)
    never = recovery.support_probability(ae.GroupSparseAutoencoder(atoms, 1e3, 2), source, key, 400)
    assert never.value == never.lower == 0 < never.upper < 0.01


test_a_bad_argument = refused(
    (lambda: recovery.squared_distance(A, A[:, :3]), "`reference` must have the shape of `dictionary`, (9, 6)"),
    (lambda: recovery.squared_distance(A, 0 * A), "`reference` must have no column of zeros, but column 0 is one."),
    (lambda: jax.jit(recovery.dictionary_distance)(A, A), "`dictionary` must be known when the program is traced"),
    (lambda: recovery.active_groups(A, 4), "`group_size` must be a divisor of the latent dimension 6, but got 4."),
    (
        lambda: recovery.support_recovery(np.ones((2, 3), bool), np.ones((3, 3), bool)),
        "`found` must have the shape of `active`, (3, 3), but got (2, 3).",
    ),
)
