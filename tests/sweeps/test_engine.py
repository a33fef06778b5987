"""Executors begin with different programs, and every block is run once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aetheory.sweeps import engine
from aetheory.sweeps.engine import BlockQueue, progress_bar, run_blocks


def queue(**counts):
    """Blocks named by their program and number."""
    return BlockQueue({name: [(name, number) for number in range(count)] for name, count in counts.items()})


def pools(count):
    executors = {f"thread {number}": ThreadPoolExecutor(1) for number in range(count)}
    return lambda: executors


def test_an_executor_stays_with_its_program_and_then_takes_the_one_with_most_blocks():
    blocks = queue(a=3, b=3, c=1)
    assert [blocks.take(name)[0] for name in "010"] == ["a", "b", "a"]
    assert [blocks.take(name)[0] for name in "0000"] == ["a", "b", "b", "c"]
    assert blocks.take("1") is None
    assert not blocks


@pytest.mark.parametrize("count", [1, 3])
def test_every_block_comes_back_once_and_few_are_ahead(count):
    lock, begun, kept, most = threading.Lock(), set(), [], []

    def work(name, number):
        with lock:
            begun.add((name, number))
            most.append(len(begun) - len(kept))
        return name, number

    for block, result in run_blocks(pools(count), work, queue(a=7, b=5), threading.Event()):
        assert block == result
        kept.append(block)
    assert len(kept) == len(set(kept)) == 12
    assert max(most) <= 2 * count + 1


def test_different_programs_are_begun_at_the_same_time():
    both = threading.Barrier(2, timeout=60)

    def work(name, number):
        if number == 0:
            both.wait()

    assert len(list(run_blocks(pools(2), work, queue(a=3, b=3), threading.Event()))) == 6


def test_only_blocks_under_way_are_finished_after_a_stop():
    stop, done = threading.Event(), []
    for block, _ in run_blocks(pools(1), lambda *block: 0, queue(a=9), stop):
        done.append(block)
        stop.set()
    assert 1 <= len(done) <= 2


def test_executors_that_appear_later_take_part(monkeypatch):
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.01)
    executors, asked, used = {}, [], set()

    def available():
        asked.append(1)
        if len(asked) > 2:
            executors.setdefault("first", ThreadPoolExecutor(1, "first"))
        if len(asked) > 6:
            executors.setdefault("second", ThreadPoolExecutor(1, "second"))
        return executors

    def work(*block):
        used.add(threading.current_thread().name.partition("_")[0])

    assert len(list(run_blocks(available, work, queue(a=40), threading.Event()))) == 40
    assert used == {"first", "second"}


@pytest.mark.parametrize(("wanted", "is_shown"), [(None, True), (True, True), (False, False)])
def test_progress_goes_to_standard_error(wanted, is_shown, capsys, monkeypatch):
    monkeypatch.setattr(engine, "LOG_SECONDS", 0)
    with progress_bar(10, 0, wanted) as bar:
        for _ in range(10):
            bar.update()
    assert ("10/10" in capsys.readouterr().err) == is_shown
