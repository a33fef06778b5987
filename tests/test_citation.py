import inspect
import re
import types

import jax
import jax.numpy as jnp
import pytest

import aetheory as ae
from aetheory.citation import citation, cited_numbers, references
from aetheory.core.references import REFERENCES

ROOMS = (ae, ae.limits, ae.recovery, ae.expansion, ae.spectra, ae.sources, ae.two_layer)

# what computes no result of a paper: containers, generic training, plain sources and elementary measures
PLAIN = {
    "Curve",
    "DensityAmplitude",
    "Fit",
    "GaussianSource",
    "GroupSparseSamples",
    "ImageSource",
    "Observations",
    "Quadrature",
    "Risks",
    "SolverStats",
    "Source",
    "Trajectory",
    "Whitening",
    "citation",
    "data_dictionary",
    "gaussian_dictionary",
    "gradient_descent",
    "gradient_flow",
    "normalise_columns",
    "orthonormal_groups_dictionary",
    "perturbed_dictionary",
    "reconstruction_loss",
    "sweep",
    "whiten",
}


def public_objects():
    found = {}
    for room in ROOMS:
        for name, value in vars(room).items():
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            if getattr(value, "__module__", "").startswith("aetheory"):
                found[f"{room.__name__}.{name}"] = value
    return found


OBJECTS = public_objects()


@pytest.mark.parametrize("name", [name for name in OBJECTS if name.rpartition(".")[2] not in PLAIN])
def test_every_result_has_its_reference(name):
    assert references(OBJECTS[name])


def test_every_cited_number_is_in_the_bibliography():
    known = {reference.fields.get("eprint") for reference in REFERENCES}
    cited = set().union(*(cited_numbers(value) for value in OBJECTS.values()))
    assert {"2606.05335", "2602.04548", "2212.13468", "2402.05013", "2102.07003"} <= cited
    assert cited <= known


def test_the_list_of_plain_objects_is_not_out_of_date():
    names = {name.rpartition(".")[2] for name in OBJECTS}
    assert names >= PLAIN
    for name in PLAIN - {"Fit", "Source"}:  # a fit stands for its regime
        value = next(value for key, value in OBJECTS.items() if key.endswith(f".{name}"))
        assert "Source: " not in inspect.getdoc(value)


def test_the_papers_of_each_result():
    def keys(one):
        return {reference.key for reference in references(one)}

    assert keys(ae.limits.water_filling) == {"shevchenko2023fundamental"}
    assert keys(ae.limits.critical_sparsity) == {"kogler2024compression"}
    assert keys(ae.limits.rate_distortion) == {"cover2006elements"}
    assert keys(ae.recovery.support_guarantee) == {"theodosis2021convergence", "tropp2004greed"}
    assert keys(ae.LinearProblem(4, 2, 8, 0.1)) == {"golikov2026prism"}
    assert "yarotsky2026gradient" in keys("large-data")
    assert "yarotsky2026gradient" not in keys("mean-field")
    assert keys(("mean-field", "free")) == keys("mean-field")
    assert {"golikov2026prism", "yarotsky2026gradient"} <= keys(ae.expansion)


def test_curves_cite_what_produced_them(x64):
    problem, times = ae.LinearProblem(8, 4, 16, 0.1), jnp.linspace(0, 1, 3)
    limit = ae.predict(problem, times, "large-data")
    assert "yarotsky2026gradient" in citation(limit)
    edge = ae.predict(problem, times, ("large-data", "mean-field"))
    assert "golikov2026prism" in citation(edge)
    simulation = ae.simulate(problem, times, jax.random.key(0))
    assert {reference.key for reference in references(simulation)} == {"golikov2026prism"}


def test_entries_are_bibtex_and_the_library_stands_last():
    text = citation(ae.predict, ae.limits.gaussian, ae.predict)
    entries = re.findall(r"^@(\w+)\{(\w+),$", text, re.MULTILINE)
    keys = [key for _, key in entries]
    assert keys[-1] == "aetheory"
    assert len(set(keys)) == len(keys)
    assert text.count("{") == text.count("}")
    assert len({reference.key for reference in REFERENCES}) == len(REFERENCES)
    assert citation().startswith("@software{aetheory,")


def test_bad_input():
    for wrong in (len, "laminar", 3.0, ae.GaussianSource, jnp.sum, ()):
        with pytest.raises(ValueError, match="`objects` must be"):
            citation(wrong)
