"""Every file that the library makes, damaged: one line that names it, or a miss of a cache.

Other contents than what was written are never taken.

A share of the flipped bits runs by default, and all of them with ``-m long``; the counts are printed.
"""

import contextlib
import functools
import io
import json
import lzma
import os
import pathlib
import resource
import shutil
import stat
import subprocess
import zipfile

import hostile
import jax
import numpy as np
import pytest

from experiments import reproduce
from experiments.reporting import rows
from experiments.shared import plots, tables
from wnn_jax import eam, files, metrics, ram, vocab
from wnn_jax.data import tokenizers
from wnn_jax.saving import checkpoint, folders, layers, packing, progress

GOLDEN = pathlib.Path(__file__).parent / "golden"
share = pytest.mark.parametrize("share", [0.01, pytest.param(1.0, marks=pytest.mark.long)])
rng = np.random.default_rng(0)


def damaged(data, share):
    """Flip a share of all bits, each alone, and cut the data at a share of all places; the first cut is 0."""
    for bit in np.flatnonzero(rng.random(8 * len(data)) < share):
        hurt = bytearray(data)
        hurt[bit // 8] ^= 1 << bit % 8
        yield bytes(hurt)
    for cut in (0, *np.flatnonzero(rng.random(len(data)) < share)):
        yield data[:cut]


def refusal(load, *named):
    """Return the one line with which a load is refused; anything but a ValueError fails the test."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are checked below
        load()
    message = str(raised.value)
    assert "\n" not in message
    assert all(str(name) in message for name in named), message
    return message


def small_layer():
    X = rng.integers(2, size=(20, 6)).astype(bool)
    return ram.fit(jax.random.key(0), ram.LayerConfig(2, 3), X, X[:, :2])


@pytest.fixture(scope="module")
def layer():
    return small_layer()


def files_of(folder):
    return sorted(x for x in folder.rglob("*") if x.is_file() and x.name != ".lock")


def save_small(root):
    return checkpoint.save(root, np.zeros((1, 1, 2), np.int8), {"a": 1}, {"b": 2.5}, {"t": np.arange(3)})


@share
def test_a_checkpoint(tmp_path, share):
    folder, count = save_small(tmp_path / "model"), 0
    for path in files_of(folder):
        whole = path.read_bytes()
        for hurt in damaged(whole, share):
            path.write_bytes(hurt)
            refusal(lambda: checkpoint.load(tmp_path / "model"), folder)
            count += 1
        path.unlink()
        refusal(lambda: checkpoint.load(folder), folder)
        path.write_bytes(whole)
    print(f"checkpoint: {count} damaged versions refused")
    assert checkpoint.load(tmp_path / "model").config == {"a": 1}


@share
def test_progress(tmp_path, share):
    def begin():
        return progress.Progress(tmp_path / "run", {"work": 1})

    saved, count = begin(), 0
    saved.save({"x": np.arange(3)}, {"step": 1})
    first = tmp_path / "run" / "steps" / "1"
    for path in (tmp_path / "run" / "progress.sealed", *files_of(first)):
        whole = path.read_bytes()
        for hurt in damaged(whole, share):
            path.write_bytes(hurt)
            refusal(lambda: begin().latest(lambda *step: step), f"remove {tmp_path / 'run'}")
            count += 1
        path.write_bytes(whole)
    # With an older step that is whole, the work continues from that one, and the damaged one goes.
    saved.save({"x": np.arange(3)}, {"step": 2})
    second = tmp_path / "run" / "steps" / "2"
    for path in files_of(second):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.warns(UserWarning, match=rf"{second}.*The work continues from {first}"):
            assert begin().latest(lambda _, data: data) == {"step": 1}
        count += 1
        path.write_bytes(whole)
    (second / files.SEAL).unlink()
    again = begin()
    with pytest.warns(UserWarning, match="continues"):
        again.latest(lambda *step: step)
    again.save({"x": np.arange(4)}, {"step": 3})
    assert sorted(x.name for x in second.parent.iterdir()) == ["1", "3"]
    assert begin().latest(lambda _, data: data) == {"step": 3}
    print(f"progress: {count} damaged folders noticed")


def packed_models():
    """Each kind of packed model, with the function that reads it."""
    student, words = (GOLDEN / name for name in ("student_1.eam", "vocab.bin"))
    return {
        "eam": (eam.unpack, eam.pack(*eam.unpack(student.read_bytes()))),
        "vocab": (vocab.unpack, vocab.pack(vocab.unpack(words.read_bytes()))),
        "toy": (lambda data: packing.unpack("toy", data), packing.pack("toy", {"a": 1}, {"x": np.arange(3)})),
    }


@share
def test_a_packed_model(share):
    for kind, (unpack, packed) in packed_models().items():
        count = 0
        for hurt in damaged(packed, 1.0 if kind == "toy" else share):
            refusal(lambda hurt=hurt, unpack=unpack: unpack(hurt), "packed model")
            count += 1
        print(f"{kind}: {count} damaged models refused")
        unpack(packed)


@share
def test_a_packed_model_of_schema_1(share):
    """It has no digest but those of xz."""
    for name, unpack in (("student_1.eam", eam.unpack), ("vocab.bin", vocab.unpack)):
        packed = (GOLDEN / name).read_bytes()
        hurts = [*damaged(packed, share)]
        for hurt in hurts:
            refusal(lambda hurt=hurt, unpack=unpack: unpack(hurt), "packed model")
        print(f"{name}: {len(hurts)} damaged models refused")


def boxed(members, method=zipfile.ZIP_STORED):
    """Make a packed model, with a right digest, of a zip file with these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as parts:
        for name, data in members:
            parts.writestr(name, data)
    return files.seal("model", 2, lzma.compress(file.getvalue(), preset=0))


def npy(x=None, header=None):
    file = io.BytesIO()
    if header is None:
        np.save(file, x)
    else:
        np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def header(shape, descr="<f4"):
    return npy(header={"shape": shape, "fortran_order": False, "descr": descr})


ABOUT = ("about.npy", npy(np.array('{"format": "toy"}')))


@pytest.mark.parametrize(
    "data",
    [
        files.seal("model", 2, b""),
        files.seal("model", 2, b"no xz"),
        files.seal("model", 2, lzma.compress(b"no zip")),
        files.seal("model", 2, lzma.compress(b"x")[:-3]),
        files.seal("model", 2, lzma.compress(b"x") + b"more"),
        files.seal("model", 2, lzma.compress(b"x", format=lzma.FORMAT_ALONE)),
        files.seal("model", 1, b""),
        files.seal("ids", 2, b""),
        boxed([]),
        boxed([("x.npy", npy(np.arange(3)))]),
        boxed([("about.npy", npy(np.array("no json")))]),
        boxed([("about.npy", npy(np.array("[" * 100_000)))]),
        boxed([("about.npy", npy(np.array("3")))]),
        boxed([("about.npy", npy(np.array('{"format": ["toy"]}')))]),
        boxed([ABOUT, ("x", npy(np.arange(3)))]),
        boxed([ABOUT, ("x.npy", b"")]),
        boxed([ABOUT, ("x.npy", b"\x93NUMPY\1")]),
        boxed([ABOUT, ("x.npy", header((1 << 40,)))]),
        boxed([ABOUT, ("x.npy", header((1 << 70, 0)) + b"more")]),
        boxed([ABOUT, ("x.npy", header((-1,)))]),
        boxed([ABOUT, ("x.npy", header((2,), "|O") + bytes(16))]),
        boxed([ABOUT, ("x.npy", header((2,), "|V0"))]),
        boxed([ABOUT, ("x.npy", header((2,), [("a", "<f4")]) + bytes(8))]),
        boxed([ABOUT, ("x.npy", npy(np.arange(3))[:-1])]),
        boxed([ABOUT, ("x.npy", npy(np.zeros(100_000)))], zipfile.ZIP_DEFLATED),
    ],
)
def test_a_hostile_box(data):
    refusal(lambda: packing.unpack("toy", data), "packed model")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_parts_of_a_box_that_share_a_name_or_their_bytes(monkeypatch):
    x = ("x.npy", npy(np.arange(3)))
    refusal(lambda: packing.unpack("toy", boxed([ABOUT, x, x])), "is there twice")
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [*self.filelist] * 50)
    refusal(lambda: packing.unpack("toy", boxed([ABOUT, x])), "overlap")


def test_a_bomb_is_not_expanded(monkeypatch):
    bomb = files.seal("model", 2, lzma.compress(bytes(1 << 22), preset=0))
    monkeypatch.setattr(packing, "_MOST", 1 << 20)
    refusal(lambda: packing.unpack("toy", bomb), "expands to more than 1048576 bytes")
    with pytest.raises(ValueError, match="a packed model has at most 1048576"):
        packing.pack("toy", {}, {"x": np.zeros(1 << 20)})
    monkeypatch.setattr(packing, "_WORKING", 1 << 16)
    refusal(lambda: packing.unpack("toy", bomb), "LZMAError Memory usage limit")


@pytest.mark.long
def test_a_bomb_of_the_real_limit_is_not_expanded():
    machine = lzma.LZMACompressor(preset=0)
    parts = [machine.compress(bytes(1 << 24)) for _ in range(66)]
    refusal(lambda: packing.unpack("toy", files.seal("model", 2, b"".join(parts) + machine.flush())), "more")


def other_values(x):
    """List arrays that must not pass for ``x``."""
    yield from (x[None], x.astype(np.int64), x.astype(np.complex64), x.astype(str))
    if x.size:
        yield x.ravel()[:-1]
        if x.dtype.kind == "f":
            for value in (np.nan, np.inf):
                hurt = x.copy()
                hurt.flat[0] = value
                yield hurt


def swapped(data, change):
    """Let ``change`` change the JSON data of a packed model."""
    data = json.loads(json.dumps(data))
    change(data)
    return data


EAM_CHANGES = [
    lambda about: about.clear(),
    lambda about: about.update(config=3),
    lambda about: about["config"].clear(),
    lambda about: about["config"].update(encoder=[]),
    lambda about: about["config"].update(more=1),
    lambda about: about["config"].update(keys=0),
    lambda about: about["config"].update(keys="8"),
    lambda about: about["config"].update(hidden=-1),
    lambda about: about["config"]["encoder"].update(layers=10**9),
    lambda about: about["config"]["encoder"].update(layers=-1),
    lambda about: about["config"]["encoder"].update(heads=0),
    lambda about: about["config"]["encoder"].update(vocabulary=2**31 - 1),
    lambda about: about["config"]["encoder"].update(width=10**30),
    lambda about: about["config"]["memory"].update(nearest=0),
    lambda about: about["config"]["memory"].update(sharpness=float("nan")),
]
VOCAB_CHANGES = [
    lambda about: about.clear(),
    lambda about: about.update(config=3),
    lambda about: about.update(config=["Nothing", {}]),
    lambda about: about.update(config=["Form", {}]),
    lambda about: about["config"].pop(),
    lambda about: about["config"][1].update(more=1),
    lambda about: about["config"][1].update(steps=10**9),
    lambda about: about["config"][1].update(steps="3"),
    lambda about: about["config"][1].update(repeats=0),
    lambda about: about["config"][1].update(vocabulary=2**31 - 1),
    lambda about: about["config"][1].update(columns=2**30),
    lambda about: about["config"][1].update(moves=[]),
    lambda about: about["config"][1].update(moves={"of": [3]}),
    lambda about: about["config"][1].update(moves={"of": []}),
    lambda about: about.update(window=0),
    lambda about: about.update(window="64"),
    lambda about: about.update(places=[0] * len(about["places"])),
    lambda about: about.update(places=about["places"][:-1]),
    lambda about: about.update(places=[0.5] * len(about["places"])),
    lambda about: about.update(places={}),
    lambda about: about.update(places=[-1, *about["places"][1:]]),
]


@share
@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [("eam", "wnn_jax eam 1", EAM_CHANGES), ("vocab", "wnn_jax vocab 1", VOCAB_CHANGES)],
)
def test_a_hostile_model(kind, name, changes, share):
    unpack, packed = packed_models()[kind]
    about, arrays = packing.unpack(name, packed)
    count = 0

    def refused(about, arrays):
        nonlocal count
        refusal(lambda: unpack(packing.pack(name, about, arrays)), "packed model")
        count += 1

    for change in changes:
        refused(swapped(about, change), arrays)
    for key, x in arrays.items():
        hurts = [{other: y for other, y in arrays.items() if other != key}]
        hurts += [arrays | {key: value} for value in other_values(x)]
        for hurt in hurts:
            if rng.random() < 8 * share:
                refused(about, hurt)
    refused(about, arrays | {"more": np.arange(3)})
    refused(about, arrays | {"more/step": np.arange(3)})
    print(f"{kind}: {count} hostile models refused")
    assert "give one of" in refusal(lambda: packing.unpack("another kind", packed))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.clear(),
        lambda about: about.update(arrays=3),
        lambda about: about["arrays"].update(connections=["<i4", [1 << 40]]),
        lambda about: about["arrays"].update(connections=["no type", [1]]),
        lambda about: about["arrays"].pop("connections"),
        lambda about: about["arrays"].update(more=["<i4", [1]]),
        lambda about: about.update(about=[]),
        lambda about: about["about"].pop("config"),
        lambda about: about["about"].pop("metrics"),
        lambda about: about["about"].update(config=None),
        lambda about: about["about"].update(metrics=3),
    ],
)
def test_a_hostile_description_of_a_checkpoint(tmp_path, change):
    hostile.resealed(save_small(tmp_path / "model"), change)
    refusal(lambda: checkpoint.load(tmp_path / "model"), tmp_path / "model", "does not hold what it should")


def test_a_checkpoint_of_more_than_the_memory_is_not_read(tmp_path, monkeypatch):
    save_small(tmp_path / "model")
    monkeypatch.setattr(os, "sysconf", lambda _: 4)
    refusal(lambda: checkpoint.load(tmp_path / "model"), "its arrays need 26 bytes, and this machine has 16")


def test_hostile_seals_of_a_folder(tmp_path):
    folder = save_small(tmp_path / "model")
    seal = folder / files.SEAL
    whole = seal.read_bytes()
    changes = [
        lambda about: 3,
        lambda about: {},
        lambda about: about | {"files": 3},
        lambda about: about | {"files": {}},
        lambda about: about | {"files": about["files"] | {"../../etc/passwd": [1, "0"]}},
        lambda about: about | {"files": {name: 3 for name in about["files"]}},
        lambda about: about | {"files": {name: [-1, x[1]] for name, x in about["files"].items()}},
        lambda about: about | {"files": {name: [x[0], None] for name, x in about["files"].items()}},
        lambda about: about | {"about": 3},
    ]
    for change in changes:
        seal.write_bytes(whole)
        hostile.resealed_file(seal, "checkpoint", folders.SCHEMA, change)
        refusal(lambda: checkpoint.load(tmp_path / "model"), folder)


LAYER_CHANGES = [
    lambda arrays, about: arrays.update(connections=arrays["connections"] - 7),
    lambda arrays, about: arrays.update(connections=arrays["connections"][0]),
    lambda arrays, about: arrays.update(connections=arrays["connections"].astype(np.float32)),
    lambda arrays, about: arrays.update(table_cells=arrays["table_cells"][:, :, :4]),
    lambda arrays, about: arrays.update(table_cells=arrays["table_cells"].astype(np.int8)),
    lambda arrays, about: arrays.update(table_cells=arrays["table_cells"] - 100),
    lambda arrays, about: arrays.update(table_ones=arrays["table_ones"] + 1000),
    lambda arrays, about: arrays.update(table_written=arrays["table_written"] - 1000),
    lambda arrays, about: arrays.pop("table_ones"),
    lambda arrays, about: arrays.update(table_more=arrays["table_ones"]),
    lambda arrays, about: arrays.update(table_seed=arrays["table_seed"][:1]),
    lambda arrays, about: arrays.update(table_seed=arrays["table_seed"].astype(np.float32)),
    lambda arrays, about: about["config"].update(draws="none"),
    lambda arrays, about: about["config"].pop("draws"),
    lambda arrays, about: about["config"].update(layer=3),
    lambda arrays, about: about["config"]["layer"].update(neurons=0),
    lambda arrays, about: about["config"]["layer"]["memory"].update(cells="ternary"),
    lambda arrays, about: about["config"]["layer"]["memory"].update(more=1),
]


@pytest.mark.parametrize("change", LAYER_CHANGES)
def test_a_hostile_layer(tmp_path, layer, change):
    hostile.rewritten(layers.save(tmp_path / "model", layer), change)
    refusal(lambda: layers.load(tmp_path / "model"), tmp_path / "model")


def kept_in(cache):
    return sorted(x for x in cache.iterdir() if x.is_file())


@pytest.mark.parametrize("name", ["bytes", "bpe:260"])
def test_a_damaged_cache_is_a_miss(tmp_path, monkeypatch, name):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    text = "the cat sat on the mat. " * 3

    def ids():
        made = tokenizers.parse_tokenizer(name)(text)
        return made.pieces, tokenizers.cached_ids(made, text).tolist()

    right, count = ids(), 0
    kept = {path: path.read_bytes() for path in kept_in(tmp_path / "cache")}
    assert len(kept) == (1 if name == "bytes" else 2)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the entries are written anew many times
    for path, whole in kept.items():
        strangers = [b"", b"\x93NUMPY", *(x for other, x in kept.items() if other != path)]
        for hurt in (*damaged(whole, 0.1 if name == "bytes" else 0.02), *strangers):
            path.write_bytes(hurt)
            assert ids() == right
            assert path.read_bytes() == whole, "a miss is written anew"
            count += 1
        path.write_bytes(whole)
    print(f"{name}: {count} damaged entries were misses")


@pytest.mark.parametrize(
    "ids",
    [
        np.array([-5, *b"cat"], "<i4").tobytes(),
        np.array([*b"ca", 256], "<i4").tobytes(),
        np.array([*b"ca"], "<i4").tobytes(),
        np.array([*b"cats"], "<i4").tobytes(),
        np.array([*b"cat"], "<i4").tobytes()[:-1],
        np.array([*b"cat"], "<i8").tobytes(),
        b"",
    ],
)
def test_a_hostile_cache_is_a_miss(tmp_path, monkeypatch, ids):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    made = tokenizers.parse_tokenizer("bytes")("")
    tokenizers.cached_ids(made, "cat")
    (path,) = kept_in(tmp_path / "cache")
    path.write_bytes(files.seal("ids", 1, f"{path.name}\n".encode() + ids))
    assert tokenizers.cached_ids(made, "cat").tolist() == [*b"cat"]


@pytest.mark.parametrize("model", [b"", b"{}", b"no json", b"\xff", b'{"version": "1.0"}'])
def test_a_hostile_tokenizer_in_the_cache_is_a_miss(tmp_path, monkeypatch, model):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    right = tokenizers.parse_tokenizer("bpe:260")("the cat sat").pieces
    (path,) = kept_in(tmp_path / "cache")
    path.write_bytes(files.seal("tokenizer", 1, f"{path.name}\n".encode() + model))
    assert tokenizers.parse_tokenizer("bpe:260")("the cat sat").pieces == right


def test_half_a_row_is_ended_and_named(tmp_path):
    results = tables.Results(tmp_path, {"config": {}, "seed": 0})
    results.add("one", ce=1.0)
    path = tmp_path / "results.jsonl"
    with path.open("ab") as file:
        file.write(b'{"row": "hal')
    results.add("two", ce=2.0)
    whole = path.read_bytes().splitlines()
    assert [json.loads(whole[i])["row"] for i in (0, 2)] == ["one", "two"]
    refusal(lambda: rows.read_workdir(tmp_path), f"{path} line 2 is not a whole row: remove that line")
    path.write_bytes(b"\n".join([whole[0], whole[2]]))
    assert [row["row"] for row in rows.read_workdir(tmp_path)[1]] == ["one", "two"]
    for bad in (b"\xff", b"3", b"[1]", b"null", b"[" * 100_000):
        path.write_bytes(bad)
        refusal(lambda: rows.read_workdir(tmp_path), "line 1 is not a whole row")
    for bad in (b'{"row": 1}', b'{"run": 1}', b"{}"):
        path.write_bytes(bad)
        refusal(lambda: rows.Kept(tmp_path), "results.jsonl line 1")


def test_a_run_whose_end_is_damaged_is_run_again(tmp_path, monkeypatch):
    count = []

    def ran(command, **_):
        count.append(command)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "results.jsonl").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", ran)
    run = rows.Run("a", "a", "bitwise", 0.0, 0.0)

    def again():
        before = len(count)
        reproduce._run(run, tmp_path / "run", resume=True)
        return len(count) > before

    assert again()
    assert not again()
    done = tmp_path / "run" / "done.sealed"
    for hurt in (*damaged(done.read_bytes(), 0.01), files.seal("run", 1, b"3"), files.seal("run", 1, b"{}")):
        done.write_bytes(hurt)
        assert again()
        assert not again()


def make_everything(root, layer):
    """Make one file of each kind."""
    layers.save(root / "layer", layer)
    saved = progress.Progress(root / "progress", {})
    saved.save({"x": np.arange(3)}, {})
    tables.Results(root, {}).add("one", ce=1.0)
    files.write(root / "model.eam", packing.pack("toy", {}, {}))
    made = tokenizers.parse_tokenizer("bpe:260")("the cat")
    tokenizers.cached_ids(made, "the cat")
    bins = metrics.Reliability(np.full(2, 0.5), np.full(2, 0.5), np.ones(2))
    plots.reliability(root / "reliability.png", {"model": bins})


def test_the_users_umask_rules_over_every_kind_of_file(tmp_path, monkeypatch, layer):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    old = os.umask(0o022)
    try:
        make_everything(tmp_path, layer)
    finally:
        os.umask(old)
    made = files_of(tmp_path)
    assert len(made) > 20
    assert {stat.S_IMODE(x.stat().st_mode) for x in made} == {0o644}
    assert {stat.S_IMODE(x.stat().st_mode) for x in tmp_path.rglob("*") if x.is_dir()} == {0o755}


@contextlib.contextmanager
def full_disk(most):
    """Let no file become longer than ``most`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("most", [0, 100, 1000])
def test_a_first_save_on_a_full_disk_leaves_a_folder_that_is_accepted(tmp_path, most):
    root, run = tmp_path / "model", tmp_path / "run"
    random = rng.random((1, 40, 40))
    with full_disk(most):
        save = functools.partial(checkpoint.save, root, np.zeros((1, 1, 2)), {}, {}, {"t": random})
        refusal(save, "cannot write", root)
        refusal(lambda: progress.Progress(run, {"long": "x" * 2000}), "cannot write", run)
    assert not files_of(root)
    assert save_small(root).name == "00000001"
    saved = progress.Progress(run, {"long": "x" * 2000})
    saved.save({"x": np.arange(3)}, {})
    with full_disk(most):
        refusal(lambda: saved.save({"x": random}, {}), "cannot write", run)
    assert saved.latest(lambda arrays, _: arrays["x"].tolist()) == [0, 1, 2]
    assert [x.name for x in (run / "steps").iterdir()] == ["1"]


def test_what_killed_saves_left_is_accepted_and_removed(tmp_path):
    """The names are those under which this version, and orbax in the versions before, write folders."""
    left = [".00000001.77.partial", "00000001.orbax-checkpoint-tmp-7", "00000001.orbax-checkpoint-tmp"]
    for name in left:
        (tmp_path / "model" / name / "arrays").mkdir(parents=True)
    with pytest.raises(ValueError, match="is not a wnn_jax checkpoint"):
        checkpoint.load(tmp_path / "model")
    assert save_small(tmp_path / "model").name == "00000001"
    assert sorted(x.name for x in (tmp_path / "model").iterdir()) == [".lock", "00000001"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".progress.sealed.77.partial").write_bytes(b"ha")
    saved = progress.Progress(tmp_path / "run", {})
    (tmp_path / "run" / "steps" / ".1.77.partial").mkdir()
    assert saved.latest(lambda *step: step) is None
    saved.save({"x": np.arange(3)}, {})
    assert [x.name for x in (tmp_path / "run" / "steps").iterdir()] == ["1"]


def test_the_newest_whole_version_of_a_checkpoint_is_named(tmp_path):
    root = tmp_path / "model"
    versions = [save_small(root) for _ in range(4)]
    for version in versions[2:]:
        (version / files.SEAL).write_bytes(b"")
    assert refusal(lambda: checkpoint.load(root)).endswith(f"an older version is {versions[1]}")
    assert checkpoint.load(versions[0]).config == {"a": 1}
    shutil.rmtree(versions[0])
    shutil.rmtree(versions[1])
    assert "older" not in refusal(lambda: checkpoint.load(root))
