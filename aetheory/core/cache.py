"""Where results and compiled programs are kept between runs."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """The folder in the environment variable AETHEORY_CACHE, or `aetheory` in the user's cache directory.

    Raises:
        RuntimeError: the variable is not set and there is no home directory.
    """
    chosen = os.environ.get("AETHEORY_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aetheory"
