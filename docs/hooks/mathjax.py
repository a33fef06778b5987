"""Formulas without a network: MathJax comes from its npm package when the site is built, and lies beside the pages."""

import logging
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

_PACKAGE, _SCRIPT = "mathjax@3.2.2", "package/es5/tex-svg.js"
_LOG = logging.getLogger("mkdocs.hooks.mathjax")


def on_post_build(config: Any) -> None:
    """Put the one file that is needed into the site; without npm the pages show LaTeX, and the log says so."""
    target = Path(config["site_dir"], "javascripts", Path(_SCRIPT).name)
    if shutil.which("npm") is None:
        _LOG.info("npm is missing: formulas are shown as LaTeX")
        return
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["npm", "pack", "--silent", _PACKAGE], cwd=folder, capture_output=True, text=True)
        if packed.returncode:
            _LOG.info("%s cannot be fetched (%s): formulas are shown as LaTeX", _PACKAGE, packed.stderr.strip())
            return
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package, open(target, "wb") as script:
            content = package.extractfile(_SCRIPT)
            assert content is not None
            shutil.copyfileobj(content, script)
