import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from oracles.spectra import power_law
from scipy.optimize import brentq

from aetheory.reproduce import scaling_laws


@pytest.fixture
def key():
    return jax.random.key(0)


def test_samples_and_latents_against_their_own_sums(x64, key, monkeypatch):
    """What N samples and H principal components leave, in units of τ₁/p, by sums over i⁻²."""
    monkeypatch.setattr(scaling_laws, "_simulate", lambda *_: (np.ones(1), np.ones(1)))
    powers = power_law(100_000, 2.0)
    powers = powers / powers[0]
    latents = scaling_laws.compare("latents", "default", key).isel(law=0)
    np.testing.assert_allclose(latents.exact[0], powers[5:].sum(), rtol=1e-9)
    assert float(latents.x[-1] / latents.x[0]) == 1000
    assert float(latents.fitted_exponent) == pytest.approx(1, abs=0.01)
    samples = scaling_laws.compare("samples", "default", key).isel(law=0)
    kappa = brentq(lambda level: (powers / (powers + level)).sum() - 5, 1e-9, 1e3)
    np.testing.assert_allclose(samples.exact[0], 0.99**2 * 5 * kappa, rtol=1e-6)
    assert samples.sizes["dot"] == latents.sizes["dot"]
    assert float(samples.simulated[0]) == pytest.approx(100 / power_law(100, 2.0)[0])  # mean variance 1


def test_a_flow_follows_the_exact_curve_and_is_drawn(x64, key):
    data = scaling_laws.compare("time", "default", key)
    assert data.fitted_exponent.item() == pytest.approx(0.5, abs=0.005)
    assert data.relative_deviation.shape == (1, 5)
    assert np.abs(data.relative_deviation).max() < 0.005
    ax = Figure().subplots()
    scaling_laws._draw([ax], data, place=0)
    assert ax.get_legend_handles_labels()[1] == [r"over $\tau_1t$: exponent 0.500 (predicted 0.5)"]
    (line,) = scaling_laws._summary_rows(data)
    assert line[1] == "time 0.500 (0.5)"
