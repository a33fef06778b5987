import numpy as np
import xarray

from aetheory.linear.faces import FACES
from aetheory.reproduce.overview import draw
from aetheory.sweeps.output import OutputFolder


def test_lines_are_theory_and_dots_what_was_simulated(tmp_path):
    time, epochs = np.array([0.0, 1.0, 2.0, 4.0]), np.arange(41)
    risks = {"theory_train": [[8.0, 6.0, 4.0, 2.0]], "simulation_train": [[8.0, 6.0, 3.0, 2.0]]}
    regime = xarray.Dataset({name: (("setting", "time"), values) for name, values in risks.items()}, {"time": time})
    for face in FACES:
        OutputFolder(tmp_path / "prism").write_dataset(face, regime)
    descents = xarray.Dataset(
        {
            "limit_curve": ("curve_rate", [0.7, 0.3]),
            "alternating": (("rate", "seed", "step"), [[[0.9, 0.4], [0.9, 0.6]]]),
        },
        {"rate": [1.0], "curve_rate": [0.5, 1.5]},
        {"input_dim": 40},
    )
    for spectrum in ("isotropic", "blocks", "power-law"):
        OutputFolder(tmp_path / "limits").write_dataset(spectrum, descents)
    dims = ("network", "signal_to_noise", "epoch")
    distances = {"distance": 5.0 * 0.9**epochs, "predicted_distance": 5.0 * 0.8**epochs}
    runs = {name: (dims, np.broadcast_to(values, (2, 1, 41))) for name, values in distances.items()}
    axes = {"network": ["group", "sparse"], "signal_to_noise": [1.0], "epoch": epochs}
    OutputFolder(tmp_path / "recovery").write_dataset("runs", xarray.Dataset(runs, axes, {"input_dim": 190}))

    regimes, limits, recovery = draw(tmp_path).axes
    assert [line.get_label() for line in regimes.lines[::2]] == list(FACES)
    for theory, dots in zip(regimes.lines[::2], regimes.lines[1::2], strict=True):
        np.testing.assert_allclose(theory.get_xydata(), [[0.25, 1], [0.5, 0.5], [1, 0]])
        np.testing.assert_allclose(dots.get_xydata(), [[0.25, 1], [0.5, 0.25], [1, 0]])
    np.testing.assert_allclose(limits.lines[0].get_xydata(), [[0.5, 0.7], [1.5, 0.3]])
    np.testing.assert_allclose(limits.lines[1].get_xydata(), [[1, 0.5]])
    predicted, measured, *_ = recovery.lines
    np.testing.assert_allclose(predicted.get_ydata(), 0.8**epochs)
    np.testing.assert_allclose(measured.get_xydata(), np.stack([epochs, 0.9**epochs], axis=1)[::2])
