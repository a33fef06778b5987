import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from differentiability.checks import Case, check

import aetheory as ae

DEVIATIONS = (2.0, 1.3, 0.9, 0.4)
GENERATOR = np.random.default_rng(5)
ENCODER = tuple(GENERATOR.normal(size=6).tolist())
DECODER = tuple(GENERATOR.normal(size=6).tolist())
ATOMS = tuple(GENERATOR.normal(size=20).tolist())
TRUTH = np.asarray(ATOMS).reshape(5, 4) + 0.1 * GENERATOR.normal(size=(5, 4))
INPUTS = GENERATOR.normal(size=(3, 5))
NAMED = {"group_size": 2, "num_active": 2}


def of(function, *parameters, **more):
    return Case(lambda one, forward: function(*one), parameters, **more)


def of_vector(function, parameters, **more):
    return Case(lambda one, forward: function(one), parameters, **more)


def sparse(function):
    return of(lambda sparsity, rate: function(ae.SparseSource(10, sparsity, "laplace"), rate), 0.3, 0.8)


def encoder(parameters):
    return parameters.reshape(2, 3)


def ends(interval):
    return jnp.stack([interval.lower, interval.upper])


def atoms(parameters):
    return parameters.reshape(5, 4)


def coded(parameters):
    network = ae.GroupSparseAutoencoder(atoms(parameters), threshold=0.4, group_size=2)
    return jax.vmap(lambda one: network.decode(network.encode(one)))(jnp.asarray(INPUTS))


def linear(parameters):
    return ae.reconstruction_loss(ae.LinearAutoencoder(parameters.reshape(5, 2)), jnp.asarray(INPUTS))


CASES = {
    "limits.gaussian": of(lambda rate: ae.limits.gaussian(jnp.stack([rate, 2 * rate])), 0.7),
    "limits.water_filling": of_vector(
        lambda one: ae.limits.water_filling(one[:-1], one[-1]).allocation, (*DEVIATIONS, 5.5)
    ),
    "limits.water_filling, risk": of_vector(
        lambda one: ae.limits.water_filling(one[:-1], one[-1]).risk, (*DEVIATIONS, 2.5)
    ),
    "limits.rate_distortion": of_vector(lambda one: ae.limits.rate_distortion(one[:-1], one[-1]), (*DEVIATIONS, 0.7)),
    "limits.principal_components": of_vector(
        lambda one: ae.limits.principal_components(one[:-1], one[-1]), (*DEVIATIONS, 1.5)
    ),
    "limits.identity_risk": sparse(ae.limits.identity_risk),
    "limits.rotation_risk": of(lambda rate: ae.limits.rotation_risk(ae.SparseSource(10, 0.3, "gaussian"), rate), 0.8),
    "limits.denoised_risk": sparse(ae.limits.denoised_risk),
    "limits.denoiser": of(
        lambda q, rate: ae.limits.denoiser(ae.SparseSource(10, q, "laplace"), rate).log_evidence_and_mean(
            jnp.array([0.3, 1.0])
        )[1],
        0.3,
        0.8,
    ),
    "population_risk": of_vector(
        lambda one: ae.population_risk(ae.TwoLayerAutoencoder(encoder(one[:6]), one[6:].reshape(3, 2), "sign")),
        (*ENCODER, *DECODER),
    ),
    "two_layer.optimal_risk": of_vector(lambda one: ae.two_layer.optimal_risk(encoder(one)), ENCODER),
    "two_layer.optimal_decoder": of_vector(lambda one: ae.two_layer.optimal_decoder(encoder(one)), ENCODER),
    "reconstruction_loss": of_vector(linear, tuple(INPUTS[:2].ravel().tolist())),
    "group_relu": of_vector(lambda one: ae.group_relu(one[:4], one[4], 2), (1.0, -2.0, 0.3, 1.4, 0.5)),
    "GroupSparseAutoencoder": of_vector(coded, ATOMS),
    "recovery.coherence": of_vector(lambda one: ae.recovery.coherence(atoms(one)), ATOMS),
    "recovery.block_coherence": of_vector(lambda one: ae.recovery.block_coherence(atoms(one), 2), ATOMS),
    "recovery.closeness": of_vector(lambda one: ae.recovery.closeness(atoms(one), jnp.asarray(TRUTH), 2), ATOMS),
    "recovery.squared_distance": of_vector(
        lambda one: ae.recovery.squared_distance(atoms(one), jnp.asarray(TRUTH)), ATOMS
    ),
    "recovery.threshold_interval": of(
        lambda mu, delta, low, high: ends(
            ae.recovery.threshold_interval(mu, delta, min_norm=low, max_norm=high, **NAMED)
        ),
        0.02,
        0.03,
        4.0,
        5.0,
    ),
    "recovery.support_guarantee": of_vector(
        lambda one: ends(
            ae.recovery.support_guarantee(
                atoms(one[:-2]), jnp.asarray(TRUTH), min_norm=one[-2], max_norm=one[-1], **NAMED
            )
        ),
        (*ATOMS, 4.0, 5.0),
    ),
    "recovery.contraction_factor": of(
        lambda eta, tau, p, low, high, delta: ae.recovery.contraction_factor(
            step_size=eta,
            shrinkage=tau,
            active_probability=p,
            alpha_min=low,
            alpha_max=high,
            group_size=2,
            closeness=delta,
        ),
        0.1,
        0.6,
        0.2,
        0.9,
        1.1,
        0.05,
    ),
    "recovery.neighbourhood_radius": of(lambda rho: ae.recovery.neighbourhood_radius(100, 20, rho), 0.01),
    "recovery.fixed_point_norm": of(ae.recovery.fixed_point_norm, 2.0, 4.5),
    "recovery.alignment_range": of_vector(
        lambda one: jnp.stack(ae.recovery.alignment_range(atoms(one), jnp.asarray(TRUTH), 2)), ATOMS
    ),
    "optimise.threshold": of(
        lambda low, high: ae.optimise.threshold(ae.recovery.ThresholdInterval(low, high)).threshold, 1.0, 2.0
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_central_differences(x64, name):
    check(CASES[name])


def flowed(model, data, forward):
    adjoint = diffrax.ForwardMode() if forward else None
    times = jnp.array([0.1, 0.3])
    return ae.gradient_flow(model, ae.reconstruction_loss, times, data, adjoint=adjoint, rtol=1e-10, throw=False)


def descended(model, data, forward):
    return ae.gradient_descent(model, ae.reconstruction_loss, optax.sgd(0.05), 3, data, throw=False)


@pytest.mark.parametrize("train", [flowed, descended])
def test_training_is_differentiable_in_its_start(x64, train):
    def trained(parameters, forward):
        model = ae.LinearAutoencoder(parameters.reshape(5, 2))
        return train(model, jnp.asarray(INPUTS), forward).module.weights

    check(Case(trained, tuple((0.4 * INPUTS[:2]).ravel().tolist())))
