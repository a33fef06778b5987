import jax.numpy as jnp
import pytest

from aetheory.reproduce import prism


def test_panels_hold_their_regimes_and_both_risks(x64):
    for size in ("quick", "default", "full"):
        panels = prism.panels(size)
        assert [panel.name for panel in panels] == [
            *("large-data", "mean-field", "narrow-latent", "small-data"),
            *("free", "digits"),
        ]
        for panel in panels:
            assert len(panel.settings) >= 3
            assert panel.times[0] == 0
    digits = prism.panels("quick")[-1].settings[0]
    assert digits.data.shape == (1297, 64)
    assert digits.held_out.shape == (500, 64)
    centred = digits.data - digits.data.mean(0, keepdims=True)
    assert float(jnp.mean(jnp.sum(centred**2, axis=1))) / 64 == pytest.approx(1, rel=1e-6)
