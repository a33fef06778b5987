"""The sparse loss against the dense one, which JAX differentiates by itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerance import rounding

import aetheory as ae
from aetheory.group_sparse import kernels as sparse_loss

KEY = jax.random.key(0)


def problem(dtype, num_groups=96, group_size=2, threshold=1.4, num_active=2, num_samples=9, **options):
    """A dictionary near the truth, and samples of a few groups at 20 dB; drawn in NumPy, without programs."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((200, num_groups * group_size)) / np.sqrt(200)
    codes = rng.standard_normal((num_samples, num_groups, group_size))
    codes *= rng.uniform(2, 3, (num_samples, num_groups, 1)) / np.linalg.norm(codes, axis=2, keepdims=True)
    codes *= rng.permuted(np.arange(num_groups) < num_active * np.ones((num_samples, 1)), axis=1)[..., None]
    clean = codes.reshape(num_samples, -1) @ truth.T
    noise = 0.1 * np.sqrt(np.mean(clean**2)) * rng.standard_normal(clean.shape)
    start = 1.1 * (truth + 0.02 * rng.standard_normal(truth.shape))
    autoencoder = ae.GroupSparseAutoencoder(jnp.asarray(start, dtype), threshold, group_size, **options)
    return autoencoder, jnp.asarray(clean + noise, dtype)


def most_active(autoencoder, samples):
    groups = np.asarray(autoencoder.encode(samples)).reshape(len(samples), -1, autoencoder.group_size)
    return int((groups != 0).any(-1).sum(-1).max())


@eqx.filter_jit
def value_and_gradients(loss, autoencoder, samples):
    def of(dictionary, samples):
        return 3 * loss(eqx.tree_at(lambda one: one.dictionary, autoencoder, dictionary), samples)

    return jax.value_and_grad(of, argnums=(0, 1))(autoencoder.dictionary, samples)


@pytest.mark.parametrize(
    ("options", "sparse"),
    [
        ({"dtype": jnp.float32}, True),
        ({"threshold": 1.4}, True),
        ({"group_size": 1, "num_groups": 192, "threshold": 1.2}, True),
        ({"group_size": 1, "num_groups": 192, "threshold": 1.2, "nonnegative": True}, True),
        ({"group_size": 4, "num_groups": 48, "threshold": 1.5, "num_active": 1}, True),
        ({"threshold": 1.4, "unit_norm": True}, True),
        ({"threshold": np.linspace(1.2, 1.6, 96)}, True),
        ({"threshold": 100.0}, True),
        ({"threshold": 0.1}, False),
        ({"threshold": 0.0}, False),
        ({"threshold": 0.2, "num_iterations": 3}, False),
        ({"num_groups": 10, "threshold": 1.0}, False),
    ],
    ids=lambda value: None if isinstance(value, bool) else "-".join(value),
)
def test_value_and_gradient_are_those_of_the_dense_products(x64, options, sparse):
    autoencoder, samples = problem(**{"dtype": jnp.float64} | options)
    precision = samples.dtype
    capacity = int(sparse_loss._MAX_SPARSE_SHARE * autoencoder.num_groups)
    assert (most_active(autoencoder, samples) <= capacity) == sparse, "the case is not the one it is meant to be"
    expected = value_and_gradients(ae.reconstruction_loss, autoencoder, samples)
    found = value_and_gradients(ae.sparse_reconstruction_loss, autoencoder, samples)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == precision
        # what a sample is off by cancels against it, and is multiplied with columns of 200 entries
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding(precision, 200, size=max(np.abs(other).max(), 3)))


def test_a_code_of_exactly_zero_at_threshold_zero_is_active(x64):
    """There a group of zeros has the derivative of the identity, which its codes do not show."""
    dictionary = jnp.eye(48).at[1, 0].set(1.0)
    for threshold in (0.0, np.r_[np.zeros(3), np.full(45, 5.0)]):
        network = ae.GroupSparseAutoencoder(dictionary, threshold)
        dense, ours = (
            value_and_gradients(loss, network, jnp.eye(1, 48))
            for loss in (ae.reconstruction_loss, ae.sparse_reconstruction_loss)
        )
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(dense), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=rounding(jnp.float64, terms=2))


def test_no_gradient_reaches_the_threshold():
    autoencoder, samples = problem(jnp.float32, threshold=1.4)
    gradient = eqx.filter_jit(eqx.filter_grad(ae.sparse_reconstruction_loss))(autoencoder, samples)
    assert gradient.dictionary.any()
    assert gradient.threshold == 0


def test_a_batch_of_dictionaries(x64):
    autoencoder, samples = problem(jnp.float64, threshold=1.4)

    def of(loss, scale):
        moved = eqx.tree_at(lambda one: one.dictionary, autoencoder, scale * autoencoder.dictionary)
        return loss(moved, samples)

    scales = jnp.asarray([0.9, 1.0, 4.0])  # the last activates many groups, and the dense products serve all
    found, expected = (
        jax.jit(jax.vmap(jax.value_and_grad(lambda scale, loss=loss: of(loss, scale))))(scales)
        for loss in (ae.sparse_reconstruction_loss, ae.reconstruction_loss)
    )
    np.testing.assert_allclose(np.stack(found), np.stack(expected), rtol=rounding(jnp.float64, 200, condition=10))


def test_training_is_the_same(x64):
    autoencoder, _ = problem(jnp.float64, threshold=1.4)
    source = ae.GroupSparseSource(np.asarray(autoencoder.dictionary) / 1.1, 2, 2, min_norm=2, max_norm=3)
    draw = eqx.Partial(source.sample, num_samples=16)
    trained = [
        ae.gradient_descent(autoencoder, loss, optax.sgd(3e-2), 30, sample=draw, key=KEY).module.dictionary
        for loss in (ae.sparse_reconstruction_loss, ae.reconstruction_loss)
    ]
    assert np.abs(trained[0] - autoencoder.dictionary).max() > 0.01
    np.testing.assert_allclose(*trained, rtol=0, atol=rounding(jnp.float64, terms=30 * 200))


def test_samples_of_another_dimension_are_refused():
    autoencoder, samples = problem(jnp.float32)
    with pytest.raises(ValueError, match=r"`samples` must be of shape \(num_samples, 200\), but got \(9, 199\)"):
        ae.sparse_reconstruction_loss(autoencoder, samples[:, 1:])
