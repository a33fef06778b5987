"""`aetheory verify`: every claim recomputed, judged, and written down after each."""

import datetime
import difflib
import hashlib
import json
import platform
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aetheory.core.claim import Claim, Cost
from aetheory.core.compilation import forget_programs
from aetheory.group_sparse.claims import CLAIMS as RECOVERY
from aetheory.linear.claims import CLAIMS as LINEAR
from aetheory.reproduce.claims import CLAIMS as LIBRARY
from aetheory.sweeps.output import OutputFolder, provenance
from aetheory.two_layer.claims import CLAIMS as TWO_LAYER

CLAIMS = (*LINEAR, *TWO_LAYER, *RECOVERY, *LIBRARY)
_COSTS: tuple[Cost, ...] = ("quick", "default", "full")
_OWN = {"claims", "claims.py", "claim.py", "verify.py"}  # what a claim is has a digest of its own
FILE = "claims.json"


def choose(system: str | None = None, cost: Cost = "default", only: Sequence[str] = ()) -> tuple[Claim, ...]:
    """The claims of one system or of all, no costlier than `cost`; or those that are named, whatever they cost.

    Raises:
        ValueError: a name that is neither a claim's nor the beginning of some.
    """
    named = [claim for claim in CLAIMS if any(_is_under(claim.name, name) for name in only)]
    for name in only:
        if not any(_is_under(claim.name, name) for claim in named):
            near = difflib.get_close_matches(name, [claim.name for claim in CLAIMS], 3, 0.4)
            told = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"There is no claim {name!r}.{told}")
    affordable = _COSTS[: _COSTS.index(cost) + 1]
    found = named if only else [claim for claim in CLAIMS if claim.cost in affordable]
    return tuple(claim for claim in found if system in (None, claim.system))


def run(claims: Sequence[Claim], path: Path, again: bool = False) -> list[dict[str, Any]]:
    """Recompute the claims with progress, into `claims.json` of a folder; returns their records.

    Each is written when it is done. One that was done before by the same library and definition is kept, unless it is
    to be done `again`; so are those of other claims.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
    """
    folder, library = OutputFolder(path), _library()
    told = _read(path / FILE)
    done: dict[str, Any] = told.get("claims", {})
    quiet = not sys.stderr.isatty()
    for claim in tqdm(claims, "claims", unit="claim", disable=quiet):
        kept = done.get(claim.name, {})
        if not again and kept.get("rows") and (kept["library"], kept["digest"]) == (library, claim.digest):
            continue
        done[claim.name] = check(claim) | {"library": library}
        ordered = {one.name: done[one.name] for one in CLAIMS if one.name in done}
        folder.write_json(FILE, provenance() | {"platform": platform.platform(), "seed": 0, "claims": ordered})
        if quiet:
            print(line(done[claim.name]), flush=True)
    return [done[claim.name] for claim in claims]


def check(claim: Claim) -> dict[str, Any]:
    """Recompute one claim: its definition as it is shown, its rows, and whether its verdict stands.

    `stands` is None where the data are neither here nor can be downloaded.
    """
    start, error = time.perf_counter(), ""
    stands: bool | None = False
    rows, deviations = {}, {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some claims are about what lies outside the tested range
            rows = claim.rows()
        deviations = claim.deviations(rows)
        stands = claim.stands(max(deviations.values()))
    except FileNotFoundError as missing:
        error, stands = str(missing), None
    except Exception as failure:  # one claim that breaks is one red row
        error = f"{type(failure).__name__}: {failure}"
    forget_programs()
    shown = {name: value for name, value in vars(claim).items() if name not in ("compute", "sources", "published")}
    return shown | {
        "system": claim.system,
        "sources": [vars(source) for source in claim.sources],
        "rows": {label: list(row) for label, row in rows.items()},
        "deviation": max(deviations.values(), default=None),
        "worst": max(deviations, key=lambda label: deviations[label], default=""),
        "stands": stands,
        "error": error,
        "seconds": round(time.perf_counter() - start, 1),
        "date": datetime.date.today().isoformat(),
        "digest": claim.digest,
    }


def table(records: Iterable[dict[str, Any]]) -> str:
    """One line a claim: its worst row, what was expected and ours, the deviation, the verdict, seconds."""
    records = list(records)
    head = f"{'claim':<58}{'expected':>11}{'ours':>11}{'deviation':>11}  {'verdict':<26}{'s':>6}"
    broken = [record for record in records if record["stands"] is False]
    total = sum(record["seconds"] for record in records)
    missing = sum(record["stands"] is None for record in records)
    end = f"{len(records)} claims, {len(broken)} whose verdict changed, {missing} left out without data, {total:.0f} s."
    reasons = [f"{record['name']}: {record['error']}" for record in records if record["error"]]
    return "\n".join([head, *map(line, records), *reasons, end])


def line(record: dict[str, Any]) -> str:
    """Of the table."""
    expected, ours = record["rows"].get(record["worst"], (float("nan"),) * 2)
    deviation = float("nan") if record["deviation"] is None else record["deviation"]
    verdict = {True: record["verdict"], False: f"CHANGED: {record['verdict']}", None: "left out"}[record["stands"]]
    numbers = "".join(f"{value:>11.4g}" for value in (expected, ours, deviation))
    return f"{record['name']:<58}{numbers}  {verdict:<26}{record['seconds']:>6.1f}"


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip("/") + "/")


def _read(path: Path) -> dict[str, Any]:
    """What was done before; nothing where it cannot be read."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def _library() -> str:
    """A digest of the library's source and stored values, without the claims themselves."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(str(files("aetheory"))).rglob("*")):
        if path.suffix in (".py", ".json") and not _OWN & set(path.parts):
            digest.update(path.read_bytes())
    return digest.hexdigest()
