"""The explorer: what its controls make, and the page itself in a browser without a window."""

import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import urlparse

import jax
import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

import aetheory as ae
from aetheory.cli import app
from aetheory.explore.controls import SYSTEMS, controls, made, source
from aetheory.explore.state import OWN, State, compute, figures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT = {"timeout": 60_000}


def begun(system):
    return SYSTEMS[system][0]()


@pytest.mark.parametrize("system", SYSTEMS)
def test_controls_are_the_fields_and_every_value_of_one_makes_a_problem(system):
    start = begun(system)
    found = controls(start, {})
    assert len(found) >= 6
    assert {one.name for one in found} <= {field.name for field in dataclasses.fields(start)}
    for name, label, values, value in found:
        assert value in values
        assert label.startswith(name)
        for end in {values[0], values[-1]}:
            problem = made(start, {name: end})
            again = eval(source(start, {name: end}), {"ae": ae, "np": np})
            assert jax.tree.structure(problem) == jax.tree.structure(again)
            assert all(map(np.array_equal, jax.tree.leaves(problem), jax.tree.leaves(again)))


def test_another_word_makes_room_for_other_fields():
    names = {one.name for one in controls(begun("two-layer"), {"method": "alternating"})}
    assert "step_size" in names
    assert "step_size" not in {one.name for one in controls(begun("two-layer"), {})}


@pytest.mark.parametrize(
    ("system", "chosen", "theories"),
    [
        ("linear", {"num_samples": np.inf, "covariance": None}, (OWN, "large-data")),
        ("two-layer", {"method": "alternating", "step_size": 0.2}, (OWN, "gaussian")),
        ("recovery", {"threshold": 3.0}, ("published bound",)),
    ],
)
def test_the_lines_make_what_is_shown(system, chosen, theories, tmp_path, monkeypatch):
    state = State(begun(system), chosen, SYSTEMS[system][1], theories, num_repeats=2)
    done = []
    simulation = state.simulate(done.append) if system == "linear" else None
    assert done == ([1, 2] if simulation else [])
    shown = compute(state, simulation)
    assert [curve.label for curve in shown.curves][-1] == ("simulation" if simulation else theories[-1])
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(shown.code, made)
    assert (tmp_path / "curves.svg").is_file()
    table = pandas.read_csv(io.StringIO(shown.csv), index_col="time")
    if simulation is not None:
        drawn = figures(shown)["Spectrum of M = WWᵀ, simulated"].axes[0]
        np.testing.assert_array_equal(drawn.lines[0].get_ydata(), simulation.spectrum[:, 2])
    for curve, again in zip(shown.curves, made["curves"], strict=True):
        for name, values in again.values.items():
            np.testing.assert_allclose(curve.values[name], values, rtol=2e-5, atol=1e-6)
            np.testing.assert_allclose(table[f"{curve.label} {name}"], values, rtol=2e-5, atol=1e-6)


def test_what_refuses_says_so_in_its_own_words():
    state = State(begun("linear"), {"weight_decay": 0.1}, 2.0, ("mean-field", "decoupled-modes"))
    found = compute(state)
    drawn = figures(found)
    assert [curve.label for curve in found.curves] == ["mean-field"]
    assert list(drawn) == ["Spectrum of the data"]
    said = " ".join(found.remarks)
    assert "decoupled-modes: Arguments `weight_decay` and `input_noise` must be None" in said
    assert "Prism: Argument `problem` must have neither weight decay nor input noise" in said
    with pytest.raises(ValueError, match="`max_norm`"):
        compute(State(begun("recovery"), {"max_norm": 0.1}, 40.0))


def test_quantiles_are_drawn_from_a_curve_that_has_them():
    state = State(begun("two-layer"), {}, 3.0)
    (figure,) = figures(compute(state)).values()
    bands = figure.axes[0].collections
    median = figure.axes[0].lines[0].get_ydata()
    spectrum = state.predict("tied flow", quantiles=(0.05, 0.25, 0.5, 0.75, 0.95)).spectrum
    assert len(bands) == 2
    np.testing.assert_array_equal(median, spectrum[:, 2])
    with pytest.raises(ValueError, match="`quantiles`"):
        ae.plotting.plot_quantiles(state.predict("tied flow"))


def test_without_panel_the_command_names_the_extra(monkeypatch):
    monkeypatch.setattr("aetheory.cli.find_spec", lambda name: None)
    found = CliRunner().invoke(app, ["explore"])
    assert found.exit_code == 1
    assert "pip install 'aetheory[explore]'" in found.output


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a server in a process of its own."""
    pytest.importorskip("panel", reason="the explorer needs Panel: pip install 'aetheory[explore]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    command = [sys.executable, "-u", "-m", "aetheory", "explore", "--port", "0", "--no-browser"]
    cache = {"AETHEORY_CACHE": str(tmp_path_factory.mktemp("cache"))}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | cache
    )
    try:
        for line in server.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def page(address):
    """The page, once it shows something; nothing may be asked of anybody else."""
    driver = pytest.importorskip("playwright.sync_api", reason="pip install 'aetheory[browser]'")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 390, "height": 844})
        asked = []
        opened.on("request", lambda request: asked.append(urlparse(request.url)))
        opened.goto(address)
        opened.locator(".curves svg").wait_for(**WAIT)
        yield opened
        assert {url.netloc for url in asked if url.scheme not in ("data", "blob")} == {urlparse(address).netloc}
        browser.close()


def outlines(page):
    """What the figure of the curves is drawn with."""
    return page.locator(".curves svg path").evaluate_all("all => all.map(one => one.getAttribute('d')).filter(Boolean)")


def changed(page, before):
    """Waits until the curves are others."""
    for _ in range(300):
        now = outlines(page)
        if now and now != before:
            return now
        page.wait_for_timeout(200)
    raise AssertionError("the curves stayed as they were")


def downloaded(page, kind):
    with page.expect_download(**WAIT) as found:
        page.get_by_text(kind, exact=True).click()
    with open(found.value.path(), encoding="utf-8") as file:
        return file.read()


def test_the_page(page, tmp_path, monkeypatch):
    assert not re.findall(r"(?:src|href)=\"https?://", page.content())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    first = outlines(page)
    page.get_by_role("slider").nth(3).press("ArrowRight")
    moved = changed(page, first)
    page.get_by_role("button", name="Simulate").click()
    changed(page, moved)
    assert "simulation, train" in page.locator(".curves svg").inner_html()
    page.get_by_text("Spectrum of M = WWᵀ, simulated").wait_for(**WAIT)
    shown = outlines(page)
    assert re.findall(r"<path[^>]* d=\"([^\"]*)\"", downloaded(page, "SVG").replace("\n", " ")) == [
        one.replace("\n", " ") for one in shown
    ]
    table = pandas.read_csv(io.StringIO(downloaded(page, "CSV")), index_col="time")
    monkeypatch.chdir(tmp_path)
    made = {}
    with jax.enable_x64(True):
        exec(downloaded(page, "PY").replace("jax.config.update", "print"), made)
    theory, simulation = made["curves"]
    assert made["problem"].init_variance > begun("linear").init_variance
    np.testing.assert_allclose(table["mean-field population"], theory.population, rtol=1e-6)
    np.testing.assert_allclose(table["simulation train"], simulation.train, rtol=1e-4)
    page.get_by_role("slider").nth(5).press("ArrowRight")
    page.get_by_text("Prism: Argument `problem` must have neither weight decay").wait_for(**WAIT)
