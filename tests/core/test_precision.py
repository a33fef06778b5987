"""Products of matrices are exact where an accelerator would round them, in whatever a user calls."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import aetheory as ae

KEY, TIMES = jax.random.key(0), jnp.array([0.0, 0.5])
RECOVERY = ae.RecoveryProblem(input_dim=12, num_groups=6, num_active=2, batch_size=10)
SAMPLES = jax.random.normal(KEY, (5, 12), jnp.float32)


def products(jaxpr):
    """The precision of every product of matrices, those of inner programs too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def trained(train):
    def run(weights):
        autoencoder = ae.LinearAutoencoder(weights)
        return train(autoencoder, lambda own, data: ae.reconstruction_loss(own, data)).values.arrays

    return run, jnp.ones((12, 6), jnp.float32)


CALLS = {
    "theory": (lambda x: ae.predict(ae.LinearRatios(x, 0.5, 0.5), TIMES, "small-data").train, 1.0),
    "network": (lambda rows: ae.TwoLayerAutoencoder(rows, rows.T, "sign")(rows[0]), SAMPLES),
    "simulation": (lambda x: ae.simulate(ae.LinearProblem(12, 6, 24, x), TIMES, KEY).train, 1.0),
    "training": (lambda _: ae.simulate(RECOVERY, [0, 1], KEY, throw=False).distance, 1.0),
    "flow": trained(lambda own, loss: ae.gradient_flow(own, loss, TIMES, SAMPLES, throw=False)),
    "descent": trained(lambda own, loss: ae.gradient_descent(own, loss, optax.sgd(0.1), 1, SAMPLES, throw=False)),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_product_asks_for_full_precision(name):
    function, argument = CALLS[name]
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        found = set(products(jax.make_jaxpr(function)(argument).jaxpr))
    assert found == {(jax.lax.Precision.HIGHEST,) * 2}


def test_users_may_say_otherwise_of_their_own_products():
    assert set(products(jax.make_jaxpr(lambda x: x @ x)(jnp.eye(3)).jaxpr)) == {None}
