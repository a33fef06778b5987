"""Run the notebooks and write them beside their sources: `python notebooks/execute.py [NAME …]`.

The `.py` file in jupytext's percent format is the source. The `.ipynb` with its outputs is made from it, without the
times and places of the run. Needs the extra `notebooks`.
"""

import base64
import io
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent


def execute(source: Path) -> float:
    """Run one notebook and write it; the seconds that took."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    start = time.perf_counter()
    place = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(
        notebook, timeout=600, record_timing=False, coalesce_streams=True, resources=place
    ).execute()
    seconds = time.perf_counter() - start
    # neither the version of the interpreter nor jupytext's own settings, which stand in pyproject.toml
    notebook.metadata = nbformat.from_dict({"kernelspec": notebook.metadata["kernelspec"]})
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
        cell.metadata.clear()
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = shrink(output["data"]["image/png"])
    nbformat.validate(notebook)
    jupytext.write(notebook, source.with_suffix(".ipynb"), fmt="ipynb")
    return seconds


def shrink(image: str) -> str:
    """The same picture in 64 colours, a third of the bytes."""
    small = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB").quantize(64).save(
        small, "PNG", optimize=True
    )
    return base64.b64encode(small.getvalue()).decode()


if __name__ == "__main__":
    chosen = [FOLDER / f"{Path(name).stem}.py" for name in sys.argv[1:]] or sorted(
        FOLDER.glob("[0-9]*.py")
    )
    for path in chosen:
        print(f"{path.name}: {execute(path):.1f} s", flush=True)
