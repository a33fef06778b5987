"""One table for all systems, made of what their summaries hold."""

from collections.abc import Callable, Iterator
from typing import Any

Row = tuple[str, str]


def overview(summaries: dict[str, dict[str, Any]]) -> str:
    """The main numbers of every system that was run, a line each.

    Arguments:
        summaries: what each runner returned, by the system's name.
    """
    rows = [(name, *row) for name, summary in summaries.items() for row in _ROWS[name](summary)]
    width = max(len(what) for _, what, _ in rows) + 2
    lines = [f"{name:<10}{what:<{width}}{found}" for name, what, found in rows]
    seconds = sum(float(summary["seconds"]) for summary in summaries.values())
    return "\n".join(["Summary", *lines, f"All in {seconds:.0f} s."])


def _prism(summary: dict[str, Any]) -> Iterator[Row]:
    for name, panel in summary["panels"].items():
        train, population = panel["train_deviation_relative"], panel["population_deviation_relative"]
        yield (
            f"{name}: theory off simulation, share of the initial risk",
            f"train {train:.2%}, population {population:.2%}",
        )
    found = summary["resummation"]["deviations"]["conformal-pade"]["last_time"]
    yield "sum of the loss expansion off the exact curve, up to t = 3", f"{found:.2%}"


def _limits(summary: dict[str, Any]) -> Iterator[Row]:
    for name, panel in summary["panels"].items():
        for key, what in (
            ("alternating_mean_excess", "alternating descent above the limit, at most"),
            ("whitened_rotation_excess", "whitened images above the Gaussian limit, at most"),
            ("denoised_excess", "sparse inputs, denoised: simulated off predicted, at most"),
        ):
            if key in panel:
                yield f"{name}: {what}", f"{max(map(abs, _numbers(panel[key]))):.4f}"


def _recovery(summary: dict[str, Any]) -> Iterator[Row]:
    for run in summary["runs"]:
        first, *_, last = run["squared_distance_at"].values()
        level = "no noise" if run["signal_to_noise"] is None else f"{run['signal_to_noise']:g} dB"
        yield (
            f"{run['network']}, {level}: squared distance of the dictionary; support found",
            f"{first:.1f} -> {last:.2f}; {run['found']:.1%}",
        )
    for name, features in summary["clusters"].items():
        for feature in ("raw", "sparse", "group"):
            score = features.get(feature, {}).get("scores", {}).get("k-means")
            if score is not None:
                yield f"{name}: k-means accuracy, {feature}", f"{score['accuracy']['mean']:.1%}"


def _numbers(nested: Any) -> Iterator[float]:
    """All numbers of nested lists; `None` stands for what was not computed."""
    if isinstance(nested, list):
        for entry in nested:
            yield from _numbers(entry)
    elif nested is not None:
        yield float(nested)


_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "prism": _prism,
    "limits": _limits,
    "recovery": _recovery,
}
