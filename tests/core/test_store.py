"""What is stored comes back for the same settings only, undamaged, and whole or not at all."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from aetheory.core.store import content_digest, load, replacing, save, source_digest

SETTINGS = {"size": 3, "times": (0.0, 1.5), "source": "abc"}


def dataset():
    risk = xarray.DataArray(np.linspace(0, 1, 6).reshape(2, 3), dims=("name", "time"), attrs={"units": "1"})
    found = np.array([True, False])
    coordinates = {"name": ["a", "longer"], "time": [0, 1, 2]}
    return xarray.Dataset({"risk": risk, "found": ("name", found)}, coordinates, {"system": "prism"})


def test_a_dataset_comes_back_as_it_was_for_the_same_settings_only(tmp_path):
    path = tmp_path / "above" / "store"
    assert load(path, SETTINGS) is None
    save(path, dataset(), SETTINGS)
    back = load(path, SETTINGS)
    xarray.testing.assert_identical(back, dataset().assign_coords(name=np.array(["a", "longer"], object)))
    assert load(path, SETTINGS | {"source": "abd"}) is None
    # what came from a store can be stored again, in place of what is there
    save(path, back.isel(time=slice(2)), SETTINGS)
    assert load(path, SETTINGS).sizes == {"name": 2, "time": 2}
    assert [one.name for one in path.parent.iterdir()] == ["store"]
    with xarray.open_zarr(path, consolidated=False) as opened:
        assert opened.risk.attrs == {"units": "1"}


def test_a_damaged_file_is_noticed(tmp_path):
    save(tmp_path / "store", dataset(), SETTINGS)
    files = [file for file in sorted((tmp_path / "store").rglob("*")) if file.is_file()]
    assert len(files) == 1 + 2 * 4
    for file in files:
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 1
        for damaged in (None, b"", content[:-3], *([] if file.suffix == ".json" else [bytes(flipped)])):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            assert load(tmp_path / "store", SETTINGS) is None, (file, damaged)
        file.write_bytes(content)
    assert load(tmp_path / "store", SETTINGS) is not None


def test_what_is_not_finished_replaces_nothing(tmp_path):
    save(tmp_path / "store", dataset(), SETTINGS)

    def unfinished():
        with replacing(tmp_path / "store") as draft:
            draft.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unfinished()
    assert load(tmp_path / "store", SETTINGS) is not None
    with replacing(tmp_path / "file") as draft:
        draft.write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "store"]


def test_digests_follow_from_content(tmp_path, monkeypatch):
    package = tmp_path / "someones"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/formula.py"):
        (package / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_digest("someones")
    (package / "inner" / "formula.py").write_text("x = 2")
    assert source_digest("someones") != before
    assert source_digest("someones.inner.formula") == content_digest(b"x = 2")
    with pytest.raises(ValueError, match="`modules` must be names of modules that have source files, but got 'absent'"):
        source_digest("absent")
    assert content_digest(jnp.zeros(3)) == content_digest(np.zeros(3, np.float32))
    assert len({content_digest(one) for one in (np.zeros(3), np.zeros((3, 1)), np.zeros(3, int), "", "0")}) == 5
