import importlib
import importlib.util
import inspect
import pkgutil
import re
import types

import jax
import jax.numpy as jnp
import pytest

import aetheory as ae
from aetheory.core.bibliography import arxiv_numbers, bibliography
from aetheory.core.citation import _problems, citation, citations, sources

ROOMS = (ae, ae.limits, ae.recovery, ae.expansion, ae.spectra, ae.sources, ae.two_layer)

# what computes no result of a paper: containers, generic training, plain sources and elementary measures
PLAIN = {
    "Curve",
    "DensityAmplitude",
    "GaussianSource",
    "GroupSparseSamples",
    "ImageSource",
    "Observations",
    "Quadrature",
    "Sensitivities",
    "SolverStats",
    "Source",
    "Values",
    "Whitening",
    "citation",
    "data_dictionary",
    "gaussian_dictionary",
    "gradient_descent",
    "gradient_flow",
    "normalise_columns",
    "orthonormal_groups_dictionary",
    "perturbed_dictionary",
    "plot",
    "reconstruction_loss",
    "sweep",
    "whiten",
}


def public_objects():
    found = {}
    for room in ROOMS:
        for name in dir(room):
            value = getattr(room, name)
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            if getattr(value, "__module__", "").startswith("aetheory"):
                found[f"{room.__name__}.{name}"] = value
    return found


OBJECTS = public_objects()


def keys(one):
    return {found.key for found in citations(one)}


def test_every_result_has_its_reference():
    for name, value in OBJECTS.items():
        if name.rpartition(".")[2] not in PLAIN:
            assert keys(value) <= set(bibliography()), name


def test_the_list_of_plain_objects_is_not_out_of_date():
    assert {name.rpartition(".")[2] for name in OBJECTS} >= PLAIN
    for name, value in OBJECTS.items():
        if name.rpartition(".")[2] in PLAIN - {"Source"}:
            assert "Source: " not in inspect.getdoc(value), name


def test_every_number_in_a_docstring_is_in_the_bibliography():
    known = {one.fields.get("eprint") for one in bibliography().values()}
    names = [one.name for one in pkgutil.walk_packages(ae.__path__, "aetheory.")]
    lacking = () if importlib.util.find_spec("panel") else ("aetheory.explore.page",)  # of an extra
    modules = [importlib.import_module(name) for name in names if name not in lacking]
    speakers = [
        value
        for module in modules
        for value in (module, *vars(module).values())
        if inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)
    ]
    numbers = arxiv_numbers(" ".join(text for value in speakers for text in sources(value)))
    assert {"2606.05335", "2602.04548", "2212.13468", "2402.05013", "2102.07003"} <= numbers <= known


def test_every_key_that_problems_and_theories_use_exists():
    kinds = [kind for kind in _problems() if kind.__module__.startswith("aetheory.") and hasattr(kind, "citations")]
    used = [each.key for kind in kinds for each in kind.citations]
    used += [each.key for kind in kinds for theory in kind.theories.values() for each in theory.citations]
    assert set(used) <= set(bibliography())
    assert ae.LinearProblem in kinds


def test_the_papers_of_each_result():
    assert keys(ae.limits.water_filling) == {"shevchenko2023fundamental"}
    assert keys(ae.limits.critical_sparsity) == {"kogler2024compression"}
    assert keys(ae.limits.rate_distortion) == {"cover2006elements"}
    assert keys(ae.recovery.support_guarantee) == {"theodosis2021convergence", "tropp2004greed"}
    assert (
        keys(ae.LinearProblem(4, 2, 8, 0.1)) == keys(ae.LinearProblem) == {"golikov2026prism", "yarotsky2026gradient"}
    )
    assert "yarotsky2026gradient" in keys("large-data")
    assert "yarotsky2026gradient" not in keys("mean-field")
    assert "golikov2026prism" in keys("mean-field ∩ free")
    assert {"golikov2026prism", "yarotsky2026gradient"} <= keys(ae.expansion)
    assert keys(ae.predict) >= keys(ae.LinearProblem)
    assert keys(ae.simulate) == keys(ae.predict)


def test_curves_cite_what_produced_them(x64):
    problem, times = ae.LinearProblem(8, 4, 16, 0.1), jnp.linspace(0, 1, 3)
    limit = ae.predict(problem, times, "large-data")
    assert keys(limit) == keys("large-data") | keys(problem)
    assert "note          = {Section 9, App. J}," in citation(limit)
    assert keys(ae.simulate(problem, times, jax.random.key(0))) == keys(problem)


def test_a_clause_says_where_in_the_work_that_it_names():
    places = {found.key: found.place for found in citations(ae.limits.rate_distortion)}
    assert places == {"cover2006elements": "Theorem 10.3.3"}
    assert "  note          = {Theorem 10.3.3},\n}" in citation(ae.limits.rate_distortion)


def test_entries_are_bibtex_and_the_library_stands_last():
    text = citation(ae.predict, ae.limits.gaussian, ae.predict)
    entries = re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)
    assert entries[-1] == "aetheory"
    assert len(set(entries)) == len(entries)
    assert text.count("{") == text.count("}")
    assert citation().startswith("@software{aetheory,")


@pytest.mark.parametrize("wrong", [len, 3.0, ae.GaussianSource, jnp.sum, (), ae.Curve, ae.gradient_flow])
def test_what_rests_on_no_paper_is_refused(wrong):
    with pytest.raises(ValueError, match="`objects` must be functions"):
        citation(wrong)


def test_an_unknown_theory_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"must be names of theories among .*'large-data', .*but got 'laminar'"):
        citation("laminar")
