"""A cluster of processes on this machine gives what one process gives, also when workers die or join late."""

import os
import signal
import subprocess
import sys
import threading

import jax
import pytest

import aetheory as ae
from aetheory.sweeps import identity
from aetheory.sweeps.cluster import cluster_environment, connect

distributed = pytest.importorskip("distributed")

GRID = {"count": [3, 5], "scale": [0.1, 0.5, 1.0]}


def draws(parameters, key):
    return parameters["scale"] * jax.random.normal(key, (4, parameters["count"])).mean(1)


@pytest.mark.filterwarnings("default")  # those of the cluster's own start and end
def test_a_cluster_agrees_with_one_process_and_survives_a_killed_worker(tmp_path, monkeypatch, x64):
    key = jax.random.key(0)
    alone = ae.sweep(draws, GRID, key, 4)
    written, write = [], ae.sweeps.store.Store.write
    with connect("local:2") as client:
        workers = list(client.run(os.getpid).values())

        def killing(self, region, results):
            write(self, region, results)
            written.append(region)
            if len(written) == 2:
                os.kill(workers[0], signal.SIGKILL)

        monkeypatch.setattr(ae.sweeps.store.Store, "write", killing)
        together = ae.sweep(draws, GRID, key, 4, tmp_path / "store", block_size=2, client=client)
        assert workers[0] not in client.run(os.getpid).values()
        task = ae.sweeps.Simulation([0.0, 0.5])  # any problem's training can be sent
        assert client.submit(lambda sent: sent.settings(), task, pure=False).result() == task.settings()
    assert len(written) == len(set(map(str, written))) == 12
    assert together.drop_attrs().identical(alone.drop_attrs())


@pytest.mark.filterwarnings("default")
def test_workers_that_join_late_are_waited_for_and_their_devices_are_named(capsys, monkeypatch):
    options = {"n_workers": 0, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        threading.Timer(1.0, lambda: cluster.scale(1)).start()  # as SLURM starts jobs
        dataset = ae.sweep(draws, GRID, jax.random.key(0), 2, client=client, block_size=1)
        assert "Waiting for the first worker" in capsys.readouterr().err
        assert dataset.equals(ae.sweep(draws, GRID, jax.random.key(0), 2))
        monkeypatch.setattr(identity.jax, "devices", lambda: pytest.fail("asked for a device of the client"))
        assert cluster_environment(client).platform == "cpu"
        monkeypatch.setattr("aetheory.sweeps.cluster.versions", lambda: {"jax": "0.1"})
        with pytest.raises(ValueError, match=r"`client` must be connected to workers with {'jax': '0.1'}"):
            cluster_environment(client)


@pytest.mark.filterwarnings("default")
def test_a_block_that_kills_its_workers_is_reported(tmp_path):
    here = os.getpid()

    def deadly(parameters, key):
        if parameters["n"] == 2 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return parameters["n"] * parameters["x"]

    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), connect("local:1") as client:
        message = r"With . of 2 blocks left, workers .* were killed, probably since they need more memory .* is kept in"
        with pytest.raises(ae.sweeps.SweepError, match=message):
            ae.sweep(deadly, {"n": [1, 2], "x": [0.5]}, jax.random.key(0), None, tmp_path / "store", client=client)


def test_a_sweep_needs_nothing_of_dask():
    program = (
        "import sys; sys.modules.update(cloudpickle=None, distributed=None, dask=None); import jax, aetheory as ae;"
        "print(float(ae.sweep(lambda cell, key: cell['x'], {'x': [0.5]}, jax.random.key(0)).value[0]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0.5"


@pytest.mark.parametrize("address", ["local:0", "local:x", "nowhere", "http://here:1"])
def test_addresses_of_no_known_form_are_refused(address):
    with pytest.raises(ValueError, match="`cluster` must be 'local:N', 'tcp://HOST:PORT'"), connect(address):
        pass


@pytest.mark.filterwarnings("default")
def test_a_scheduler_that_does_not_answer_is_reported(monkeypatch):
    monkeypatch.setattr("aetheory.sweeps.cluster.TIMEOUT", "1s")
    with pytest.raises(OSError, match=r"nothing answers at 'tcp://127.0.0.1:9'"), connect("tcp://127.0.0.1:9"):
        pass


@pytest.mark.filterwarnings("default")
def test_functions_that_cannot_be_sent_and_clusters_that_end_are_reported(tmp_path, monkeypatch):
    lock = threading.Lock()

    def doubled(cell, key):
        return 2 * cell["x"]

    arguments = {"x": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]}, jax.random.key(0), None, tmp_path / "store"
    written, write = [], ae.sweeps.store.Store.write
    with connect("local:1") as client:
        with pytest.raises(ValueError, match="`function` must be one that can be sent to other processes"):
            ae.sweep(lambda cell, key: (lock, cell["x"])[1], *arguments[:3], client=client)

        def closing(self, region, results):
            write(self, region, results)
            written.append(region)
            if len(written) == 2:
                client.cluster.close()

        with monkeypatch.context() as patched:
            patched.setattr(ae.sweeps.store.Store, "write", closing)
            with pytest.raises(ae.sweeps.SweepError, match=r"of 6 blocks left, the cluster was lost .* is kept in"):
                ae.sweep(doubled, *arguments, block_size=1, client=client)
    with pytest.raises(ValueError, match=r"`client` must be a distributed.Client that is connected"):
        ae.sweep(doubled, *arguments, client=client)
    assert ae.sweep(doubled, *arguments)["value"].values.tolist() == [1, 3, 5, 7, 9, 11]
