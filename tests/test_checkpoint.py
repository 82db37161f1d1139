"""Checkpoints: they come back as they were saved, and every kind of wrong folder is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.saving import checkpoint

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
    files = [x for x in second.rglob("*") if x.is_file() and x.stat().st_size]
    refused = 0
    for file in files:
        whole = file.read_bytes()
        for broken in (whole[: len(whole) // 2], b"", bytes(b ^ 0x55 for b in whole)):
            file.write_bytes(broken)
            before = tree(root)
            try:
                loaded, message = checkpoint.load(root), None
            except ValueError as error:
                loaded, message = None, str(error)
            if loaded:  # orbax did not need that file, so nothing may be lost
                np.testing.assert_array_equal(loaded.connections, connections)
            else:
                refused += 1
                assert str(second) in message
                assert "\n" not in message
            assert tree(root) == before
        file.write_bytes(whole)
    assert refused >= 6, "at least the description and the array data must matter"
    assert checkpoint.load(root).config == ABOUT
    (second / "about" / "metadata").write_text('{"form')
    with pytest.raises(ValueError, match=r"damaged .* an older version is .*00000001"):
        checkpoint.load(root)


def test_changed_numbers_are_noticed(tmp_path, connections, monkeypatch):
    monkeypatch.setattr(checkpoint, "_digest", lambda _: "0" * 64)
    checkpoint.save(tmp_path / "model", connections, ABOUT, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="connections is not what was saved"):
        checkpoint.load(tmp_path / "model")


def test_a_newer_schema_is_refused(tmp_path, connections, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", 99)
    checkpoint.save(tmp_path / "model", connections, ABOUT, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has schema 99 and this wnn_jax reads up to 1: update"):
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
    other = tmp_path / "orbax"
    checkpoint.save(other, connections, ABOUT, {})
    about = other / "00000001" / "about" / "metadata"
    about.write_text(about.read_text().replace("wnn_jax checkpoint", "something else"))
    with pytest.raises(ValueError, match="was not written by wnn_jax"):
        checkpoint.load(other)
