"""A cluster of two processes on this machine gives what one process gives, also when a worker dies."""

import os
import signal

import jax
import pytest

import aetheory as ae
from aetheory.sweeps.cluster import connect

pytest.importorskip("distributed")

TASK = ae.sweeps.Simulation([0.0, 0.5, 1.0])
GRID = {"shape": {"input_dim": [8, 20], "latent_dim": [3, 30]}, "num_samples": [20], "init_scale": [0.1, 0.5, 1.0]}


@pytest.mark.filterwarnings("default")  # those of the cluster's own start and end
def test_a_cluster_agrees_with_one_process_and_survives_a_killed_worker(tmp_path, monkeypatch, x64):
    key = jax.random.key(0)
    alone = ae.sweep(TASK, GRID, key, 4)
    written, write = [], ae.sweeps.store.Store.write
    with connect("local:2") as client:
        workers = list(client.run(os.getpid).values())

        def killing(self, region, results):
            write(self, region, results)
            written.append(region)
            if len(written) == 2:
                os.kill(workers[0], signal.SIGKILL)

        monkeypatch.setattr(ae.sweeps.store.Store, "write", killing)
        together = ae.sweep(TASK, GRID, key, 4, tmp_path / "store", block_size=2, client=client)
        assert workers[0] not in client.run(os.getpid).values()
    assert len(written) == len(set(map(str, written))) == 12
    assert together.drop_attrs().identical(alone.drop_attrs())


@pytest.mark.parametrize("address", ["local:0", "local:x", "nowhere", "http://here:1"])
def test_addresses_of_no_known_form_are_refused(address):
    with pytest.raises(ValueError, match="`cluster` must be 'local:N', 'tcp://HOST:PORT'"), connect(address):
        pass


@pytest.mark.filterwarnings("default")
def test_a_scheduler_that_does_not_answer_is_reported(monkeypatch):
    monkeypatch.setattr("aetheory.sweeps.cluster.TIMEOUT", "1s")
    with pytest.raises(OSError, match=r"nothing answers at 'tcp://127.0.0.1:9'"), connect("tcp://127.0.0.1:9"):
        pass
