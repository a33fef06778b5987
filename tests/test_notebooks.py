"""The notebooks as they are committed: pairs agree, outputs are complete and name neither an error nor a machine."""

import ast
import inspect
import operator
import re
from pathlib import Path

import jupytext
import pytest

import aetheory as ae

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
PLACE = re.compile(r"(/home/|/root/|/tmp/|/Users/|/usr/|site-packages|[A-Z]:\\\\)")
LARGEST = 300_000  # bytes


def read(name, suffix):
    return jupytext.read(FOLDER / f"{name}{suffix}")


def texts(output):
    """What an output shows as text."""
    shown = [output.get("text", ""), *output.get("traceback", [])]
    return shown + [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]


def test_every_notebook_has_its_pair():
    assert NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_source_and_notebook_agree_cell_by_cell(name):
    source, notebook = read(name, ".py"), read(name, ".ipynb")
    assert [(cell.cell_type, cell.source) for cell in source.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_of_one_clean_run_from_the_top(name):
    cells = [cell for cell in read(name, ".ipynb").cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(output.get("data", {}).get("image/png") for cell in cells for output in cell.outputs)
    for cell in cells:
        assert not cell.metadata
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            assert not PLACE.search("\n".join(texts(output)))
            assert "Traceback" not in "\n".join(texts(output))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_small_and_holds_no_settings_of_its_machine(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
    assert set(read(name, ".ipynb").metadata) <= {"kernelspec", "jupytext"}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_the_library_and_few_others(name):
    code = "\n".join(cell.source for cell in read(name, ".py").cells if cell.cell_type == "code")
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, flags=re.MULTILINE))
    allowed = {"aetheory", "jax", "numpy", "matplotlib", "equinox", "optax"}
    standard_library = {"dataclasses", "fractions", "pathlib", "tempfile", "warnings"}
    assert "aetheory" in imported
    assert imported <= allowed | standard_library


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_calls_functions_that_exist_with_arguments_that_they_take(name):
    """Which its run would tell too, in minutes."""
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and re.fullmatch(r"ae(\.\w+)+", ast.unparse(node.func)):
            function = operator.attrgetter(ast.unparse(node.func).removeprefix("ae."))(ae)
            starred = any(isinstance(one, ast.Starred) for one in node.args)
            keywords = {one.arg: None for one in node.keywords if one.arg}
            inspect.signature(function).bind_partial(*([] if starred else node.args), **keywords)


def test_a_place_would_be_noticed():
    assert PLACE.search("/home/someone/aetheory/curve.py:3: UserWarning")
    assert not PLACE.search("dR(1)/dσ² = +0.000, p/N")
