"""Slots begin with different programs, and every block is run once whatever becomes of them."""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from aetheory.sweeps.engine import Queue, progress_bar, run_blocks


def queue(**counts):
    """Blocks named by their program and number."""
    return Queue({name: deque((name, number) for number in range(count)) for name, count in counts.items()})


def test_a_slot_stays_with_its_program_and_then_helps_where_fewest_are():
    blocks = queue(a=3, b=3, c=1)
    assert [blocks.take(slot)[0] for slot in (0, 1, 0, 1, 0)] == ["a", "b", "a", "b", "a"]
    # nobody is at c
    assert [blocks.take(0)[0], blocks.take(0)[0], blocks.take(1)] == ["c", "b", None]


@pytest.mark.parametrize("num_slots", [1, 3])
def test_every_block_comes_back_once_and_few_are_ahead(num_slots):
    lock, begun, kept, most = threading.Lock(), set(), [], []

    def work(region):
        with lock:
            begun.add(region)
            most.append(len(begun) - len(kept))
        return region

    pools = [ThreadPoolExecutor(1) for _ in range(num_slots)]
    for region, block in run_blocks(pools, work, queue(a=7, b=5), threading.Event()):
        assert region == block
        kept.append(region)
    assert len(kept) == len(set(kept)) == 12
    assert max(most) <= 2 * num_slots + 1


def test_different_programs_are_begun_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    pools = [ThreadPoolExecutor(1) for _ in range(2)]
    blocks = run_blocks(
        pools, lambda region: both.wait() * 0 if region[1] == 0 else 0, queue(a=3, b=3), threading.Event()
    )
    assert len(list(blocks)) == 6


def test_only_what_is_under_way_is_finished_after_a_stop():
    stop, done = threading.Event(), []
    for region, _ in run_blocks([ThreadPoolExecutor(1)], lambda region: 0, queue(a=9), stop):
        done.append(region)
        stop.set()
    assert 1 <= len(done) <= 2


@pytest.mark.parametrize(("seconds", "wanted", "lines"), [(30, None, 0), (0, None, 10), (0, False, 0)])
def test_there_are_lines_where_no_terminal_is(seconds, wanted, lines, capsys, monkeypatch):
    monkeypatch.setattr("aetheory.sweeps.engine._LOG_SECONDS", seconds)
    with progress_bar(10, 0, wanted) as bar:
        for _ in range(10):
            bar.update()
    written = capsys.readouterr().err.splitlines()
    assert (len(written) >= lines) if lines else not written
    assert all("\r" not in line for line in written)
