"""Make `docs/claims.md` and its figures from `docs/claims.json`: python benchmarks/claims/report.py [CLAIMS_JSON].

Records of CLAIMS_JSON, which `pytest benchmarks/claims` writes, first replace those of the same name.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from aetheory.core.bibliography import entry

DOCS = Path(__file__).parents[2] / "docs"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MAX_OPEN = 4  # values that are shown without a click
MAX_SHOWN = 12  # values of a claim that are shown; of more, those of the largest deviations


def page(results, template):
    """The page; figures beside it are made by `figure`."""
    claims = results["claims"].values()
    for system in ("linear", "two-layer", "recovery", "library"):
        cards = "\n\n".join(card(one) for one in claims if one["system"] == system)
        template = template.replace(f"<!-- claims: {system} -->", cards)
    return template.replace("<!-- counts -->", counts(results)).replace("<!-- filters -->", filters(claims))


def counts(results):
    claims = list(results["claims"].values())
    rows = Counter((one["verdict"], one["cost"]) for one in claims)
    costs = ("quick", "default", "full")
    lines = ["| claims | " + " | ".join(costs) + " |", "| --- " * 4 + "|"]
    for verdict in dict.fromkeys(one["verdict"] for one in claims):
        lines.append(f"| {verdict} | " + " | ".join(str(rows[verdict, cost]) for cost in costs) + " |")
    dates = sorted({one["date"] for one in claims})
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    days = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    made = f"Last recomputed {days}: {versions}; {results['device']}, {results['dtype']}."
    return "\n".join(lines) + f"\n\n{made}"


def filters(claims):
    papers = dict.fromkeys(source["key"] for one in claims for source in one["sources"] if not source["derived"])
    options = {"paper": {key: name(key) for key in papers}}
    options["verdict"] = {one["verdict"]: one["verdict"] for one in claims}
    boxes = [
        f'<label>{what} <select data-filter="{what}"><option value="">all</option>'
        + "".join(f'<option value="{value}">{text}</option>' for value, text in found.items())
        + "</select></label>"
        for what, found in options.items()
    ]
    return '<p class="claim-filters">' + " ".join(boxes) + "</p>"


def card(one):
    """A claim: statement, verdict, source, values, what the tolerance is, and its command."""
    papers = " ".join(source["key"] for source in one["sources"])
    sources = "; ".join(cite(source) for source in one["sources"])
    parts = [f'<div class="claim" data-paper="{papers}" data-verdict="{one["verdict"]}" markdown>']
    parts += [f"**{one['name']}** · *{one['verdict']}* · {sources}", one["statement"]]
    if one["note"]:
        parts.append(one["note"])
    parts.append(folded(one))
    if one["axis"]:
        parts.append(f"![{one['name']}](assets/claims/{file_name(one)}.svg)" + "{ loading=lazy }")
    parts += [foot(one), "</div>"]
    return "\n\n".join(parts)


def folded(one):
    """The values; many of them are opened by a click."""
    if len(one["rows"]) <= MAX_OPEN:
        return values(one)
    title = f"{len(one['rows'])} values beside {one['against'].replace('`', '')}"
    return f"<details markdown><summary>{title}</summary>\n\n{values(one)}\n\n</details>"


def foot(one):
    """The largest deviation, the tolerance, the command that recomputes the claim, and what it took."""
    relative = {"each": " of each value", "largest": " of the largest value", None: ""}[one["relative"]]
    stored = f"; *stored*: {one['stored']}" if one["stored"] else ""
    cost = "" if one["cost"] == "default" else f" --cost {one['cost']}"
    return (
        f"Largest deviation {number(one['deviation'])}{relative}; tolerance {number(one['tolerance'])}: {one['why']}"
        f"{stored}. `pytest benchmarks/claims -k {one['name']}{cost}` "
        f"({one['cost']}, {one['seconds']:.0f} s on {one['date']})"
    )


def values(one):
    """A table of what is expected beside ours: of a curve over its axis, of many values the furthest off."""
    rows, expected = one["rows"], one["against"]
    if one["axis"]:
        tables = []
        for series, points in curves(rows).items():
            head = [f"{series}, {one['axis']}", *(number(x) for x, _, _ in points)]
            lines = [head, ["---"] * len(head), [expected, *(number(value) for _, value, _ in points)]]
            tables.append([*lines, ["ours", *(number(value) for _, _, value in points)]])
        return "\n\n".join("\n".join(map(cells, lines)) for lines in tables)
    shown = sorted(rows, key=lambda label: -abs(rows[label][1] - rows[label][0]))[:MAX_SHOWN]
    shown = [label for label in rows if label in shown]
    lines = [["", expected, "ours"], ["---"] * 3, *([label, *map(number, rows[label])] for label in shown)]
    rest = f"\n\n{len(rows) - len(shown)} more are closer." if len(rows) > len(shown) else ""
    return "\n".join(map(cells, lines)) + rest


def curves(rows):
    """By series, the points (x, expected, ours) of labels "series @ x"."""
    found = {}
    for label, (expected, ours) in rows.items():
        series, x = label.split(" @ ")
        found.setdefault(series, []).append((float(x), expected, ours))
    return found


def figure(one):
    """The expected points over our curves, as SVG of the same bytes for the same values."""
    drawing = Figure(figsize=(5, 3), layout="constrained")
    ax = drawing.subplots()
    for colour, (series, points) in zip(COLOURS * 5, curves(one["rows"]).items(), strict=False):
        x, expected, ours = zip(*points, strict=True)
        ax.plot(x, ours, color=colour, label=series)
        ax.plot(x, expected, "o", color=colour, markersize=4)
    ax.set(xlabel=one["axis"], yscale="log" if one["log"] else "linear")
    ax.set_title(f"dots: {one['against'].replace('`', '')}; lines: ours", fontsize=9)
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    target = DOCS / "assets" / "claims" / f"{file_name(one)}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": one["name"], "svg.fonttype": "none"}):
        drawing.savefig(target, metadata={"Date": None})


def cite(source):
    """A source, with a link where it is on arXiv."""
    text, eprint = name(source["key"]), entry(source["key"]).fields.get("eprint")
    if eprint:
        text = f"[{text}](https://arxiv.org/abs/{eprint})"
    return (
        ("derived here from " if source["derived"] else "") + text + (f", {source['place']}" if source["place"] else "")
    )


def name(key):
    known = entry(key)
    return "this library" if key == "aetheory" else f"{known.surname} {known.fields['year']}"


def file_name(one):
    return one["name"].replace("/", "-")


def number(value):
    return f"{value:.5g}"


def cells(row):
    return "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"


def main():
    path = DOCS / "claims.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    for new in sys.argv[1:]:
        recomputed = json.loads(Path(new).read_text(encoding="utf-8"))
        results = recomputed | {"claims": results["claims"] | recomputed["claims"]}
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    template = (DOCS / "claims.in.md").read_text(encoding="utf-8")
    (DOCS / "claims.md").write_text(page(results, template), encoding="utf-8")
    for old in (DOCS / "assets" / "claims").glob("*.svg"):
        old.unlink()
    for one in results["claims"].values():
        if one["axis"]:
            figure(one)


if __name__ == "__main__":
    main()
