import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerance import rounding

from aetheory import GaussianSource, SparseSource, TwoLayerAutoencoder, TwoLayerProblem, limits, population_risk
from aetheory import simulate as simulate_any
from aetheory.two_layer.network import random_encoder, tied_autoencoder

DIM, UNITS = 20, 16
KEY = jax.random.key(1)
START = np.random.default_rng(3).normal(size=(UNITS, DIM))
VARIANCES = np.linspace(0.5, 1.5, DIM)
FLOWS = ("tied", "joint")


def simulate(times, activation="sign", method="tied", dim=DIM, units=UNITS, key=KEY, **fields):
    problem = TwoLayerProblem(dim, units, activation, method, **fields)
    return simulate_any(problem, np.asarray(times), key, return_module=True)


@pytest.mark.parametrize(("method", "precision"), [("tied", 32), ("joint", 64)], indirect=["precision"])
def test_a_flow_reaches_the_limit_on_the_spheres(method, precision):
    activation = "sign" if precision == jnp.float32 else "tanh"
    start = jnp.asarray(START, precision)
    run = simulate([0.0, 0.5, 2.0, 60.0], activation, method, start=3 * start)
    limit = float(limits.gaussian(UNITS / DIM, activation))
    error = rounding(precision, terms=UNITS**2 * DIM)
    flow = max(1e-5, error)  # the flow's own tolerance is 1e-6 a step
    assert run.risk.dtype == run.module.encoder.dtype == precision
    first = population_risk(tied_autoencoder(start, activation)) if method == "tied" else 1
    np.testing.assert_allclose(run.risk[0], first, rtol=error)
    assert float(run.risk[-1]) == pytest.approx(limit, abs=2 * flow)
    assert (np.asarray(run.risk) > limit - error).all()
    np.testing.assert_allclose(jnp.linalg.norm(run.module.encoder, axis=1), 1, rtol=error)
    assert float(population_risk(run.module)) == pytest.approx(float(run.risk[-1]), abs=error)
    rows, first_rows = np.asarray(run.module.encoder), START / np.linalg.norm(START, axis=1, keepdims=True)
    np.testing.assert_allclose(run.second_moment[-1], np.sum((rows @ rows.T) ** 2) / UNITS, rtol=error)
    np.testing.assert_allclose(run.overlap[np.array([0, -1])], [1, np.sum(rows * first_rows) / UNITS], rtol=error)


@pytest.mark.parametrize("method", FLOWS)
def test_a_flow_is_the_projected_gradient(method, x64):
    """dR/dt = −(2/d)|∂L|² at the start, by the public risk, for a covariance that is not the identity."""
    rows = jnp.asarray(START / np.linalg.norm(START, axis=1, keepdims=True))
    decoder = jnp.asarray(np.random.default_rng(4).normal(size=(DIM, UNITS))) / DIM

    def loss(rows, decoder):
        tied = tied_autoencoder(rows, "erf", VARIANCES)
        return (
            DIM
            / 2
            * population_risk(tied if method == "tied" else TwoLayerAutoencoder(rows, decoder, "erf"), VARIANCES)
        )

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(rows, decoder)
    assert float(jnp.max(jnp.abs(jnp.sum(gradients[0] * rows, axis=1)))) < rounding(
        jnp.float64, UNITS**2 * DIM
    )  # tangent
    step = 1e-4
    start = rows if method == "tied" else TwoLayerAutoencoder(rows, decoder, "erf")
    run = simulate([0.0, step], "erf", method, covariance=VARIANCES, start=start)
    fall = 2 / DIM * sum(float(jnp.sum(one**2)) for one in gradients)
    assert float(run.risk[0] - run.risk[1]) / step == pytest.approx(fall, rel=1e-3)  # of the difference


@pytest.mark.parametrize(
    ("method", "activation", "times", "expected"),
    [
        ("tied", "sign", [0.0, 0.8, 1.6, 4.0], [0.6110, 0.4962, 0.4328, 0.3732]),
        pytest.param("joint", "erf", [1.0, 3.0, 6.0, 30.0], [0.5650, 0.2862, 0.1296, 0.0864], marks=pytest.mark.slow),
        ("alternating", "sign", [0, 10, 150], [0.5222, 0.3992, 0.3634]),
    ],
)
def test_large_dimensions_follow_their_mean_field(method, activation, times, expected, x64):
    """At rate 1 and d = 200 the limit of the spectrum's evolution, derived independently, is off by 3e-3 at most."""
    run = simulate(times, activation, method, 200, 200, jax.random.key(0))
    np.testing.assert_allclose(run.risk, expected, atol=3e-3)


def test_sample_descent_learns_through_the_surrogate(standard_promotion, x64):
    run = simulate(
        [0, 300, 600], method="sgd", batch_size=128, optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, 600))
    )
    limit, error = float(limits.gaussian(UNITS / DIM)), rounding(jnp.float64, terms=UNITS**2 * DIM)
    assert (np.asarray(run.risk) > limit - error).all()
    assert float(run.risk[-1]) == pytest.approx(limit, abs=0.02)  # the noise of the batches
    assert float(population_risk(run.module)) == pytest.approx(float(run.risk[-1]), abs=error)
    assert int(run.stats.num_steps[0]) == 600


@pytest.mark.parametrize("source", [SparseSource(DIM, 0.5, "rademacher"), GaussianSource(VARIANCES)])
def test_batches_are_fresh_and_rows_keep_unit_variance(source, standard_promotion, x64):
    own = optax.sgd(0.1)
    runs = [
        simulate([0, 20], "erf", "sgd", source=source, start=START, batch_size=16, optimizer=own, key=key)
        for key in jax.random.split(KEY)
    ]
    assert runs[0].risk[0] == runs[1].risk[0]
    assert runs[0].risk[-1] != runs[1].risk[-1]
    rows = np.asarray(runs[0].module.encoder)
    np.testing.assert_allclose((rows**2) @ np.diagonal(source.covariance), 1, rtol=rounding(jnp.float64, DIM))


def test_one_step_of_sample_descent_by_hand(standard_promotion, x64):
    """The gradient of the loss on the batch, through an own optimiser, and the decoder of the start."""
    start = TwoLayerAutoencoder(START, START.T / 30, "tanh")

    class Fixed:
        input_dim, covariance = DIM, np.diag(VARIANCES)

        def sample(self, key, num_samples):
            return jnp.asarray(np.random.default_rng(5).normal(size=(num_samples, DIM)))

    run = simulate([1], "tanh", "sgd", source=Fixed(), start=start, batch_size=8, optimizer=optax.sgd(0.3))
    batch = np.random.default_rng(5).normal(size=(8, DIM))
    rows = START / np.sqrt((START**2) @ VARIANCES)[:, None]
    codes = np.tanh(batch @ rows.T)
    errors = codes @ START / 30 - batch
    error = rounding(jnp.float64, terms=8 * DIM)
    np.testing.assert_allclose(run.module.decoder, START.T / 30 - 0.3 * errors.T @ codes / 8 / DIM, rtol=0, atol=error)
    back = (errors @ START.T / 30) * (1 - codes**2)
    moved = rows - 0.3 * back.T @ batch / 8 / DIM
    moved /= np.sqrt((moved**2) @ VARIANCES)[:, None]
    np.testing.assert_allclose(run.module.encoder, moved, rtol=0, atol=error)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
def test_sample_descent_ends_at_the_limit(rate, standard_promotion, x64):
    for seed in range(10):
        start = random_encoder(jax.random.key(seed), 100, int(100 * rate))
        key = jax.random.key(seed)
        run = simulate([0, 500, 1000, 1500], method="sgd", dim=100, units=len(start), start=start, key=key)
        excess = np.asarray(run.risk) - float(limits.gaussian(rate))
        assert excess.min() > -rounding(jnp.float64, terms=100**2)
        assert excess[-1] < 0.01
