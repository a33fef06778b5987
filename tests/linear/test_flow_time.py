"""Steps of an ordinary training loop against the flow at the time that they take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae

P, H, N = 12, 4, 30


def trained(losses, steps, rate, momentum=0.0):
    """Gradient descent as anyone would write it, from a small start; ½ E‖x − W Wᵀx‖² per entry, at each step."""
    rng = np.random.default_rng(0)
    data, weights = rng.normal(size=(N, P)), 0.3 * rng.normal(size=(P, H))
    gradient, velocity, found = jax.jit(jax.grad(lambda w: losses(data - data @ w @ w.T))), 0.0, []
    start = weights
    for _ in range(steps + 1):
        found.append(np.sum((data - data @ weights @ weights.T) ** 2) / (N * P))
        velocity = momentum * velocity + np.asarray(gradient(weights))
        weights = weights - rate * velocity
    return data, start, np.array(found)


def flowed(data, start, times):
    """The flow from the same start on the same data, by small steps."""
    covariance, weights, found, now = data.T @ data / N, start, [], 0.0
    for time in times:
        count = max(1, int(np.ceil((time - now) / 2e-4)))
        for _ in range(count if time > now else 0):
            weighted = (weights @ weights.T - np.eye(P)) @ covariance
            weights = weights - (time - now) / count * (weighted + weighted.T) @ weights
        now = time
        error = weights @ weights.T - np.eye(P)
        found.append(np.trace(error @ covariance @ error) / P)
    return np.array(found)


@pytest.mark.parametrize(
    ("reduction", "losses", "rate", "momentum"),
    [
        ("mean", lambda r: jnp.mean(r**2), 0.006, 0.0),
        ("sum", lambda r: jnp.sum(r**2), 2e-5, 0.0),
        ("samples", lambda r: jnp.sum(r**2) / N, 5e-4, 0.0),
        ("mean", lambda r: jnp.mean(r**2), 0.001, 0.9),
    ],
)
def test_steps_take_their_time_in_the_flow(reduction, losses, rate, momentum, x64):
    data, start, found = trained(losses, 600, rate, momentum)
    steps = np.arange(0, 601, 60)
    times = ae.flow_time(steps, rate, input_dim=P, reduction=reduction, batch_size=N, momentum=momentum)
    assert found[-1] < 0.8 * found[0]
    # of first order in the step, and momentum builds up over ten steps
    np.testing.assert_allclose(found[steps], flowed(data, start, np.asarray(times)), atol=2e-2 if momentum else 2e-3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": [-1]}, "`steps` must be finite and nonnegative"),
        ({"learning_rate": 0}, "`learning_rate` must be finite and positive"),
        ({"reduction": "max"}, "`reduction` must be 'mean', 'sum' or 'samples', but got 'max'"),
        ({"reduction": "sum"}, "`batch_size` must be a positive integer with reduction='sum'"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\)"),
        ({"input_dim": 0}, "`input_dim` must be a positive integer"),
    ],
)
def test_bad_input_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        ae.flow_time(**{"steps": [0, 1], "learning_rate": 0.1, "input_dim": 3, **changed})
