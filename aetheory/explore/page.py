"""The page: controls on one side, results on the other; computed in this process and served to this machine only."""

import html
import io
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import panel as pn
from matplotlib.figure import Figure

import aetheory as ae
from aetheory.explore.controls import SYSTEMS, accepts, controls, ladder
from aetheory.explore.state import OWN, Results, State, compute, figures

_FRAME, _STYLE = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("page.html", "page.css"))
_WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (2, 8)}
_THREADS = 6
"""Threads that compute results while the page reacts to its controls."""


class Page:
    """The page of one visitor; `layout` is its content."""

    def __init__(self) -> None:
        self.lock, self.is_stale = threading.Lock(), False
        self.simulations: dict[tuple[str, ...], ae.Curve] = {}
        self.results: Results | None = None
        self.fields: dict[str, Any] = {}
        self.system = pn.widgets.RadioButtonGroup(options=list(SYSTEMS), value="linear", **_WIDE)
        self.sliders, self.others = _column(), _column(css_classes=["others"])
        self.last, self.theories = (
            pn.widgets.DiscreteSlider(label="last time", options=[1], **_WIDE),
            _several("theories"),
        )
        self.shown = _several("values", placeholder="the usual ones")
        self.scale = pn.widgets.Select(label="scale", options=["linear", "log"], **_WIDE)
        self.repeats = pn.widgets.IntSlider(label="repeats", start=1, end=16, value=2, **_WIDE)
        self.button = pn.widgets.Button(label="Simulate", button_type="primary", on_click=self.simulate, **_WIDE)
        self.progress = pn.indicators.Progress(visible=False, **_WIDE)
        self.remarks, self.curves, self.code = _content(), _content(), _content()
        self.choose()
        self.system.param.watch(self.choose, "value")
        settings = (self.last, self.theories, self.shown, self.scale)
        for one in settings:
            one.param.watch(self.refresh, "value")
        inputs = _column(
            self.system, self.sliders, *settings, self.repeats, self.button, self.progress, css_classes=["controls"]
        )
        curves = _column("### Curves", self.remarks, self.curves, css_classes=["curves"])
        saved = pn.FlexBox(*map(self._download, ("csv", "png", "svg", "py")))
        code = _column("### The same in Python", self.code, saved)
        self.layout = _column(inputs, curves, self.others, code, css_classes=["page"])

    @property
    def state(self) -> State:
        """The values of the controls."""
        chosen = {name: widget.value for name, widget in self.fields.items()}
        shown, theories = tuple(self.shown.value), tuple(self.theories.value)
        return State(self.start, chosen, self.last.value, theories, shown, self.repeats.value, self.scale.value)

    def choose(self, *_: Any) -> None:
        """Start with the problem of the chosen system."""
        make, last = SYSTEMS[self.system.value]
        self.start = make()
        self.fields.clear()
        self.shown.value = []
        self.last.param.update(options=ladder(last), value=last)
        self.theories.param.update(options=[OWN, *self.start.theories], value=[OWN])
        self.build()

    def build(self, *_: Any) -> None:
        """Make a control for each field; called again when an option changes which fields apply."""
        chosen = {name: widget.value for name, widget in self.fields.items()}
        if not accepts(self.start, chosen):
            chosen = {name: value for name, value in chosen.items() if getattr(self.start, name) is not None}
        self.fields.clear()
        for name, label, values, value in controls(self.start, chosen):
            is_word = isinstance(value, bool | str)
            unit = "j^-" if name == "covariance" else ""  # the values are exponents of power laws
            options = {"none" if one is None else one if is_word else f"{unit}{one:g}": one for one in values}
            kind = pn.widgets.Select if is_word else pn.widgets.DiscreteSlider
            self.fields[name] = kind(label=label, options=options, value=value, **_WIDE)
            self.fields[name].param.watch(self.build if is_word else self.refresh, "value")
        self.sliders[:] = list(self.fields.values())
        self.refresh()

    def refresh(self, *_: Any) -> None:
        """Draw the present state; of changes made meanwhile, only the last is drawn afterwards."""
        self.is_stale = True
        while self.is_stale and self.lock.acquire(blocking=False):
            try:
                self.is_stale = False
                self._draw()
            finally:
                self.lock.release()

    def _draw(self) -> None:
        self.remarks.object = "<p class='busy'>computing …</p>"
        try:
            state = self.state
            self.results = found = compute(state, self.simulations.get(state.simulation))
            others = [_column(f"### {title}", _content(_svg(one))) for title, one in figures(found).items()]
            self.curves.object, self.code.object = _svg(found.figure), f"<pre>{html.escape(found.code)}</pre>"
            self.shown.options = list(dict.fromkeys(name for curve in found.curves for name in curve.values))
            self.others[:], remarks = others, found.remarks
        except Exception as error:  # the problem refuses this combination
            self.results, self.curves.object, self.code.object, self.others[:], remarks = None, "", "", [], [str(error)]
        self.remarks.object = "".join(f"<p>{html.escape(one)}</p>" for one in remarks)

    def simulate(self, *_: Any) -> None:
        """Simulate the present state, and draw the simulation beside the theories."""
        self.button.disabled, self.progress.visible, self.progress.value = True, True, -1
        try:
            state = self.state
            share = 100 / state.num_repeats
            curve = state.simulate(lambda done: self.progress.param.update(value=round(share * done)))
            self.simulations = {state.simulation: curve}
            self.refresh()
        except Exception as error:
            self.remarks.object = f"<p>simulation: {html.escape(str(error))}</p>"
        finally:
            self.button.disabled, self.progress.visible = False, False

    def _download(self, kind: str) -> pn.widgets.FileDownload:
        def file() -> io.BytesIO:
            if self.results is None:
                return io.BytesIO()
            is_image = kind in ("png", "svg")
            text = self.results.csv if kind == "csv" else self.results.code
            return io.BytesIO(_image(self.results.figure, kind) if is_image else text.encode())

        return pn.widgets.FileDownload(callback=file, filename=f"curves.{kind}", label=kind.upper(), width=70)


def _column(*content: Any, **more: Any) -> pn.Column:
    return pn.Column(*content, sizing_mode="stretch_width", stylesheets=[_STYLE], **more)


def _content(text: str = "") -> pn.pane.HTML:
    return pn.pane.HTML(text, stylesheets=[_STYLE], **_WIDE)


def _several(label: str, **more: Any) -> pn.widgets.MultiChoice:
    return pn.widgets.MultiChoice(label=label, **more, **_WIDE)


@lru_cache(maxsize=8)
def _image(figure: Figure, kind: str) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format=kind, dpi=200)
    return target.getvalue()


def _svg(figure: Figure) -> str:
    """A figure as SVG elements for a page."""
    drawing = _image(figure, "svg").decode()
    return drawing[drawing.index("<svg") :]


def page() -> pn.Template:
    """Make the page of a visitor."""
    frame = pn.Template(_FRAME)
    frame.add_panel("page", Page().layout)
    return frame


def serve(port: int, show: bool) -> None:
    """Serve the page on 127.0.0.1 until it is interrupted; with a `port` of 0, on a free one."""
    pn.extension(nthreads=_THREADS)
    pn.serve(page, port=port, address="127.0.0.1", show=show, title="aetheory")
