"""One block of a sweep: its evaluations, and what failed among them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from aetheory.sweeps.execute import Executor, OutputError, Results
from aetheory.sweeps.plan import Lanes, Plan, Region

FAILED = "failed"
_SUCCEEDED = "succeeded"


class Failure(NamedTuple):
    """An evaluation without a finite result: its cell, its repeat, and why."""

    cell: int
    repeat: int
    reason: str


class Block(NamedTuple):
    """The results of a block in the block's shape, `failed` among them, and the failures."""

    results: Results
    failures: list[Failure]


def run_block(executor: Executor, plan: Plan, region: Region, *, stop_at_failure: bool) -> Block:
    """Run all evaluations of a block.

    Arguments:
        executor: what compiles and runs.
        plan: what there is to run.
        region: which part of the grid.
        stop_at_failure: return at the first failure, with the other results left out.

    Raises:
        ValueError: results of another shape or type than in other cells.
        MemoryError: a single evaluation is too large.
    """
    shape = tuple(part.stop - part.start for part in region)
    flat: Results = {}
    failures: list[Failure] = []
    for lanes in plan.lanes(region):
        results, failed = _run(executor, lanes, stop_at_failure)
        failures += failed
        if failed and stop_at_failure:
            return Block({}, failures)
        for name, values in results.items():
            whole = flat.setdefault(name, np.empty((int(np.prod(shape)), *values.shape[1:]), values.dtype))
            whole[lanes.place] = values
    return Block({name: values.reshape(*shape, *values.shape[1:]) for name, values in flat.items()}, failures)


def _run(executor: Executor, lanes: Lanes, stop_at_failure: bool) -> tuple[Results, list[Failure]]:
    try:
        executor.prepare(lanes)
    except OutputError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        if executor.outputs is None:
            raise
        return _nothing(executor, lanes), [_failure(lanes, place, error) for place in range(len(lanes.place))]
    try:
        results = executor.run(lanes)
    except RuntimeError as error:
        if len(lanes.place) == 1:
            return _nothing(executor, lanes), [_failure(lanes, 0, error)]
        return _one_by_one(executor, lanes, stop_at_failure)
    bad = _unfinished(results)
    results[FAILED] = bad
    reason = "a result is NaN or infinite" if _SUCCEEDED not in results else "the flow stopped early or diverged"
    for values in results.values():
        if values.dtype.kind == "f":
            values[bad] = np.nan
    return results, [Failure(int(lanes.cell[i]), int(lanes.repeat[i]), reason) for i in np.flatnonzero(bad)]


def _one_by_one(executor: Executor, lanes: Lanes, stop_at_failure: bool) -> tuple[Results, list[Failure]]:
    """Which evaluations of a call fail: an error that is raised inside it names none."""
    pieces, failures = [], []
    for place in range(len(lanes.place)):
        results, failed = _run(executor, lanes.take(slice(place, place + 1)), stop_at_failure)
        pieces.append(results)
        failures += failed
        if failed and stop_at_failure:
            break
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}, failures


def _unfinished(results: Results) -> Bool[np.ndarray, " lanes"]:
    count = len(next(iter(results.values())))
    bad = np.zeros(count, bool)
    for name, values in results.items():
        if values.dtype.kind == "f":
            bad |= ~np.isfinite(values).reshape(count, -1).all(axis=1)
        elif name == _SUCCEEDED and values.dtype.kind == "b":
            bad |= ~values.reshape(count, -1).all(axis=1)
    return bad


def _nothing(executor: Executor, lanes: Lanes) -> Results:
    assert executor.outputs is not None
    count = len(lanes.place)
    empty = {
        name: np.full((count, *output.shape), np.nan if output.dtype.kind == "f" else 0, output.dtype)
        for name, output in executor.outputs.items()
    }
    return {**empty, FAILED: np.ones(count, bool)}


def _failure(lanes: Lanes, place: int, error: BaseException) -> Failure:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return Failure(int(lanes.cell[place]), int(lanes.repeat[place]), lines[0] if lines else type(error).__name__)
