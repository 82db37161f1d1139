"""Checkpoints: they come back as they were saved, and every kind of wrong folder is refused."""

import json
import pathlib
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.saving import checkpoint, folders

GOLDEN = pathlib.Path(__file__).parent / "golden" / "bitwise_0.1.tar.xz"
CONFIG = bitwise.BitwiseConfig(50, context=2, neurons=3, address_bits=5)
ABOUT = {"model": {"neurons": 3}, "seed": 1}


@pytest.fixture
def connections():
    return bitwise.init(jax.random.key(0), CONFIG)


def tree(folder):
    return {x.relative_to(folder): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def test_a_restored_model_scores_the_same(tmp_path, connections):
    rng = np.random.default_rng(0)
    train = bitwise.examples(CONFIG, rng.integers(50, size=300))
    words = bitwise.examples(CONFIG, rng.integers(50, size=50)).words
    empty = ram.init(CONFIG.memory, CONFIG.clusters, CONFIG.neurons, CONFIG.address_bits)
    table = ram.write(None, CONFIG.memory, empty, connections, train)
    checkpoint.save(tmp_path / "model", connections, ABOUT, {"ce": 1.25}, table._asdict())
    loaded = checkpoint.load(tmp_path / "model")
    assert loaded.config == ABOUT
    assert loaded.metrics == {"ce": 1.25}
    assert loaded.connections.dtype == np.int8
    before = ram.fit_and_read(None, CONFIG.memory, connections, train, words)
    refitted = ram.fit_and_read(None, CONFIG.memory, jnp.asarray(loaded.connections), train, words)
    np.testing.assert_array_equal(refitted, before)
    assert loaded.table is not None
    read = ram.read(CONFIG.memory, ram.Table(**loaded.table), jnp.asarray(loaded.connections), words)
    np.testing.assert_array_equal(read, before)


def test_connectivity_is_stored_in_the_smallest_integer(tmp_path):
    for input_bits, name in [(64, "int8"), (128, "int8"), (129, "int16"), (1024, "int16")]:
        drawn = np.full((1, 1, 2), input_bits - 1, np.int64)
        drawn[0, 0, 0] = connectivity.UNUSED
        checkpoint.save(tmp_path / str(input_bits), drawn, {}, {})
        loaded = checkpoint.load(tmp_path / str(input_bits)).connections
        assert loaded.dtype.name == name
        np.testing.assert_array_equal(loaded, drawn)


def test_saving_never_touches_an_older_version(tmp_path, connections):
    root = tmp_path / "model"
    first = checkpoint.save(root, connections, {"version": 1}, {})
    before = tree(first)
    second = checkpoint.save(root, connections, {"version": 2}, {})
    assert tree(first) == before
    assert checkpoint.load(root).config == {"version": 2}
    assert checkpoint.load(first).config == {"version": 1}
    # A save that is killed leaves a temporary folder, which does not count as a version.
    (root / "00000003.orbax-checkpoint-tmp-1").mkdir()
    assert checkpoint.load(root).config == {"version": 2}
    assert second.name == "00000002"


def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, connections):
    root = tmp_path / "model"
    checkpoint.save(root, connections, ABOUT, {})
    second = checkpoint.save(root, connections, ABOUT, {})
    files = [x for x in second.rglob("*") if x.is_file()]
    for file in files:
        whole = file.read_bytes()
        for broken in (whole[: len(whole) // 2], whole + b"\n", bytes(b ^ 0x55 for b in whole)):
            file.write_bytes(broken)
            before = tree(root)
            with pytest.raises(ValueError, match=rf"{second}.*an older version is .*00000001") as raised:
                checkpoint.load(root)
            assert "\n" not in str(raised.value)
            assert tree(root) == before
        file.write_bytes(whole)
    assert checkpoint.load(root).config == ABOUT
    (second / "more").touch()
    with pytest.raises(ValueError, match=r"more in it was not there when it was written"):
        checkpoint.load(root)


def test_changed_numbers_of_schema_1_are_noticed(tmp_path):
    with tarfile.open(GOLDEN) as archive:
        # Python before 3.11.4 has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "model")
    assert checkpoint.load(tmp_path / "model").table
    about = tmp_path / "model" / "00000001" / "about" / "metadata"
    kept = json.loads(about.read_text())
    for other, message in (
        ({"sha256": dict.fromkeys(kept["sha256"], "0" * 64)}, "is not what was saved"),
        ({"schema": 2}, "its description is not of schema 1"),
        ({"format": "something else"}, "its description is not of schema 1"),
        ({"config": 3}, "TypeError"),
    ):
        about.write_text(json.dumps(kept | other))
        with pytest.raises(ValueError, match=message):
            checkpoint.load(tmp_path / "model")
    del kept["metrics"]
    about.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"does not hold what it should .KeyError 'metrics'"):
        checkpoint.load(tmp_path / "model")


def test_a_newer_schema_is_refused(tmp_path, connections, monkeypatch):
    monkeypatch.setattr(folders, "SCHEMA", 99)
    checkpoint.save(tmp_path / "model", connections, ABOUT, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has schema 99, and this wnn_jax reads schema 2"):
        checkpoint.load(tmp_path / "model")


def test_foreign_folders_are_refused(tmp_path, connections):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.png").write_bytes(b"cat")
    with pytest.raises(ValueError, match="photos is not a wnn_jax checkpoint"):
        checkpoint.load(foreign)
    with pytest.raises(ValueError, match="is not a wnn_jax checkpoint: choose another folder"):
        checkpoint.save(foreign, connections, ABOUT, {})
    assert tree(foreign).keys() == {(foreign / "cat.png").relative_to(foreign)}
    with pytest.raises(ValueError, match="nowhere is not a wnn_jax checkpoint"):
        checkpoint.load(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match="file exists and is not a wnn_jax checkpoint"):
        checkpoint.save(file, connections, ABOUT, {})
    other = tmp_path / "progress"
    folders.write(other, "progress", {}, {"connections": np.zeros(3)})
    with pytest.raises(ValueError, match="holds a progress: give a checkpoint"):
        checkpoint.load(other)


def test_arrays_without_entries_are_kept_with_their_forms(tmp_path):
    """A model may lack a part, whose array is then empty."""
    empty = {"lists": np.zeros((0, 0, 8), np.uint32), "maps": np.zeros((3, 0), np.float32)}
    folders.write(tmp_path / "some", "toy", {"a": 1}, {"x": np.arange(3), **empty})
    about, arrays = folders.read(tmp_path / "some", "toy")
    assert about == {"a": 1}
    assert np.array_equal(arrays["x"], np.arange(3))
    for name, x in empty.items():
        assert arrays[name].shape == x.shape
        assert arrays[name].dtype == x.dtype
