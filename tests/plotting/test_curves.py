import dataclasses

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

import aetheory as ae
from aetheory.plotting import plot, plot_fit, plot_sensitivities


@pytest.fixture
def curves():
    times = jnp.asarray([0.0, 1.0, 2.0])
    theory = ae.Curve(times, ae.Values(train=1 / (1 + times), population=1 / (1 + times / 2)), label="large-data")
    std = ae.Values(train=jnp.full(3, 0.1), population=jnp.full(3, 0.2))
    return theory, ae.Curve(
        times, ae.Values(train=theory.train, population=theory.population), std, label="simulation", num_repeats=4
    )


def test_lines_for_theory_dots_and_bands_for_simulation(curves):
    theory, simulation = curves
    _, ax = plt.subplots()
    assert ae.plot(theory, ax) is ax
    assert plot(simulation, ax, colour="red", label="mine") is ax
    solid, dashed, dots, squares = ax.get_lines()
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert to_hex(solid.get_color()) == dashed.get_color()
    assert (dots.get_marker(), squares.get_marker(), dots.get_linestyle()) == ("o", "s", "None")
    np.testing.assert_allclose(dots.get_ydata(), theory.train)
    assert [line.get_label() for line in ax.get_lines()] == [
        "large-data, train",
        "large-data, population",
        "mine, train",
        "mine, population",
    ]
    assert len(ax.collections) == 2
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(1.2)
    plt.close("all")


def test_one_risk_in_new_axes(curves):
    ax = plot(curves[0], values=("population",))
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), curves[0].population)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    plt.close("all")


def test_bad_input(curves):
    batch = ae.Curve(curves[0].times, ae.Values(train=jnp.ones((2, 3)), population=jnp.ones((2, 3))))
    with pytest.raises(ValueError, match=r"`curve` must be a single curve"):
        plot(batch)
    with pytest.raises(ValueError, match="`values` must be made of 'train', 'population'"):
        plot(curves[0], values=("test",))


def test_bracket_is_drawn_as_a_band(curves):
    theory, _ = curves
    plain = plot(theory)
    bounds = (
        ae.Values(train=theory.train - 0.1, population=theory.population - 0.1),
        ae.Values(train=theory.train + 0.1, population=theory.population + 0.1),
    )
    banded = plot(dataclasses.replace(theory, lower=bounds[0], upper=bounds[1]))
    assert len(plain.collections) == 0
    assert len(banded.collections) == 2
    dataset = dataclasses.replace(theory, lower=bounds[0], upper=bounds[1]).to_xarray()
    np.testing.assert_allclose(dataset.train_upper - dataset.train_lower, 0.2, rtol=1e-5)
    plt.close("all")


def test_fit_shows_observations_with_errors_and_the_fitted_curve(x64):
    times = np.linspace(0, 1, 11)
    limit = ae.predict(ae.LinearRatios(2.0, 0.3, 0.0), times, "large-data")
    spread = ae.Values(train=jnp.full(11, 0.02), population=jnp.full(11, 0.02))
    observed = ae.Curve(limit.times, ae.Values(train=limit.train, population=limit.population), spread, num_repeats=4)
    found = ae.fit(observed, "large-data")
    ax = plot_fit(found)
    assert "large-data regime" in ax.get_title()
    assert "p\\sigma^2" in ax.get_title()
    assert "p/N" not in ax.get_title()
    labels = ax.get_legend_handles_labels()[1]
    assert set(labels) == {f"{what}, {risk}" for what in ("observed", "fit") for risk in ("train", "population")}
    fitted = next(line for line in ax.get_lines() if line.get_label() == "fit, train")
    np.testing.assert_allclose(np.interp(times, *fitted.get_data()), limit.train, atol=1e-3)
    plt.close("all")


def test_fit_of_another_system(x64):
    observed = {"time": [0, 1, 2], "risk": [0.7, 0.7, 0.7]}
    problem = ae.TwoLayerProblem(20, 9, method="sgd")
    ax = plot_fit(ae.fit(observed, "gaussian", free=["num_units"], problem=problem, fixed={"alpha": 0.5}))
    assert "gaussian regime" in ax.get_title()
    assert "risk" in ax.get_ylabel()
    assert set(ax.get_legend_handles_labels()[1]) == {"observed, risk", "fit, risk"}
    plt.close("all")


def test_sensitivities_have_a_line_for_each_ratio(x64):
    found = ae.sensitivities(ae.LinearRatios(0.5, 0.5, 1.0), np.linspace(0, 1, 5), "mean-field")
    lines = plot_sensitivities(found).get_lines()[:3]
    for line, name in zip(lines, ("init_scale", "latent_ratio", "sample_ratio"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), found.derivatives[name].population)
    with pytest.raises(ValueError, match="`value` must be one of 'train', 'population'"):
        plot_sensitivities(found, value="test")
    plt.close("all")
