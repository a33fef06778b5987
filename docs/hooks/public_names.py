"""Headings of the API pages by the names under which a reader imports: `ae.predict`, and not where it is written."""

import importlib
import re
from types import ModuleType
from typing import Any

_ROOMS = ("", "expansion", "geometry", "scaling", "limits", "recovery", "two_layer", "spectra", "sources", "inference")
_MORE = ("sweeps", "plotting", "reproduce", "sklearn")
_ASKED = re.compile(r"^::: (\S+)$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Give each object that the page asks for its public name."""

    def named(asked: re.Match[str]) -> str:
        public = public_name(asked[1]) or asked[1]
        return f"{asked[0]}\n    options:\n      heading: {public}\n      toc_label: {public.removeprefix('aetheory.')}"

    return _ASKED.sub(named, markdown)


def public_name(path: str) -> str | None:
    """`ae.` and the shortest way to the object of that path; `None` for what is reached by its module alone."""
    module, _, name = path.rpartition(".")
    home = importlib.import_module(module)
    wanted = getattr(home, name, None)
    if wanted is None or isinstance(wanted, ModuleType):
        return None
    for room in (*_ROOMS, *_MORE):
        place = _room(room)
        if getattr(place, name, None) is wanted:
            return ".".join(filter(None, ("ae", room, name)))
    return None


def _room(name: str) -> Any:
    ae = importlib.import_module("aetheory")
    return getattr(ae, name) if name else ae
