"""`pytest benchmarks/claims`: every claim recomputed, judged, and written to `claims.json` when it is done.

A claim that the same library computed before is kept, so that an interrupted run goes on where it stopped.
"""

import datetime
import functools
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
from threadpoolctl import threadpool_limits

from aetheory.core.cache import cache_directory
from aetheory.core.compilation import compile_quickly
from aetheory.core.store import content_digest, replacing, source_digest
from benchmarks.claims.definitions import OTHER_FILES, as_claim

COSTS = ("quick", "default", "full")
FILE = "claims.json"
PACKAGES = ("aetheory", "jax", "jaxlib", "equinox", "diffrax", "numpy")
collect_ignore = list(OTHER_FILES)


def pytest_addoption(parser):
    group = parser.getgroup("claims")
    group.addoption("--cost", choices=COSTS, default="default", help="claims of this cost and of lower ones")
    group.addoption("--again", action="store_true", help="recompute what was done before")
    group.addoption("--results", type=Path, default=Path("results/claims"), help=f"folder of {FILE}")


def pytest_configure(config):
    if config.option.cost == "quick":
        compile_quickly()
    threadpool_limits(1)
    jax.config.update("jax_enable_x64", True)
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(cache_directory() / "compiled")
    jax.config.update("jax_compilation_cache_dir", folder)
    if not hasattr(config, "workerinput"):  # of several processes the first one writes
        config.pluginmanager.register(Records(config.option.results), "claims")


@pytest.hookimpl(tryfirst=True)  # before `-k`
def pytest_collection_modifyitems(config, items):
    """Leave out costlier claims; `-k` selects by the names of claims too."""
    affordable = COSTS[: COSTS.index(config.option.cost) + 1]
    for item in items:
        item.claim = as_claim(item.function, item.own_markers)
        item.extra_keyword_matches.add(item.claim.name)
    config.hook.pytest_deselected(items=[item for item in items if item.claim.cost not in affordable])
    items[:] = [item for item in items if item.claim.cost in affordable]


def pytest_pyfunc_call(pyfuncitem):
    """Compute the values that the test returns, and judge them; or judge those of an earlier run."""
    claim, options = pyfuncitem.claim, pyfuncitem.config.option
    digest = content_digest(library_digest(), pyfuncitem.path.read_bytes())
    record = read(options.results / FILE).get("claims", {}).get(claim.name, {})
    if options.again or record.get("digest") != digest:
        try:
            record = check(claim, functools.partial(pyfuncitem.function, **pyfuncitem.funcargs)) | {"digest": digest}
        except FileNotFoundError as error:  # data that are neither here nor can be downloaded
            pytest.skip(str(error))
        finally:
            jax.clear_caches()  # thousands of programs exhaust the memory maps of a process
    pyfuncitem.user_properties.append(("claim", record))
    if not record["stands"]:
        pytest.fail(line(record), pytrace=False)
    return True


def check(claim, compute):
    """The record of a claim: its definition, its rows, and whether its verdict stands."""
    start = time.perf_counter()
    rows = claim.rows(compute())
    deviations = claim.deviations(rows)
    worst = max(deviations, key=deviations.get)
    definition = {name: value for name, value in vars(claim).items() if name not in ("sources", "published")}
    return definition | {
        "system": claim.system,
        "sources": [vars(source) for source in claim.sources],
        "rows": {label: list(row) for label, row in rows.items()},
        "deviation": deviations[worst],
        "worst": worst,
        "stands": claim.stands(deviations[worst]),
        "seconds": round(time.perf_counter() - start, 1),
        "date": datetime.date.today().isoformat(),
    }


@functools.cache
def library_digest():
    return source_digest("aetheory")


def read(path):
    """What was written before; nothing where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


class Records:
    """Writes the record of every claim when it is done, and prints the table at the end."""

    def __init__(self, folder):
        self.path, self.done = folder / FILE, []
        self.claims = read(self.path).get("claims", {})

    def pytest_runtest_logreport(self, report):
        record = dict(report.user_properties).get("claim")
        if report.when != "call" or record is None:
            return
        self.done.append(record)
        self.claims[record["name"]] = record
        content = {
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "device": jax.devices()[0].device_kind,
            "dtype": str(jax.numpy.result_type(float)),
            "platform": platform.platform(),
            "claims": self.claims,
        }
        with replacing(self.path) as draft:
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter):
        if not self.done:
            return
        head = f"{'claim':<58}{'expected':>11}{'ours':>11}{'deviation':>11}  {'verdict':<26}{'s':>6}"
        changed = sum(not record["stands"] for record in self.done)
        seconds = sum(record["seconds"] for record in self.done)
        end = f"{len(self.done)} claims, {changed} whose verdict changed, {seconds:.0f} s, in {self.path}"
        terminalreporter.write_line("\n".join([head, *map(line, self.done), end]))


def line(record):
    """A claim in one line: its worst row, the deviation, the verdict, seconds."""
    expected, ours = record["rows"][record["worst"]]
    numbers = "".join(f"{value:>11.4g}" for value in (expected, ours, record["deviation"]))
    verdict = record["verdict"] if record["stands"] else f"CHANGED: {record['verdict']}"
    return f"{record['name']:<58}{numbers}  {verdict:<26}{record['seconds']:>6.1f}"
