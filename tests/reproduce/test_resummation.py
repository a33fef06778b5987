import numpy as np
import pytest
from matplotlib.figure import Figure
from oracles.prism import large_data_risk

from aetheory.reproduce import resummation


def test_sums_of_the_expansion_against_the_exact_curve(x64):
    sums = resummation.compute()
    np.testing.assert_allclose(sums.exact[::40], large_data_risk(np.asarray(sums.times[::40]), 1.0, 0.5), atol=1e-8)
    summary = resummation.summarise(sums)
    # the eigenvalues of M(0) end at (1 ± √y)², where 1 + λ(e^{4t} − 1) vanishes at the singular times
    singular = [np.log(1 - 1 / (1 + sign * np.sqrt(0.5)) ** 2 + 0j) / 4 for sign in (-1, 1)]
    assert summary["radius"] == pytest.approx(min(abs(time) for time in singular), rel=0.1)
    deviations = summary["deviations"]
    assert deviations["taylor"]["half_radius"] < 1e-3 < 1 < deviations["taylor"]["last_time"]
    assert deviations["conformal-pade"]["last_time"] < 0.02
    assert deviations["conformal-pade"]["radius"] < 1e-4
    dataset = resummation.to_dataset(sums)
    assert set(dataset.data_vars) == {"exact", "taylor", "pade", "conformal_pade"}
    ax = Figure().add_subplot()
    resummation.draw(ax, sums)
    assert len(ax.lines) == 5
