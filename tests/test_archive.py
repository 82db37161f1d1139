"""Compressed bytes: round trips, the header and all that it refuses, the coder, the table of programs."""

import dataclasses
import gzip
import json
import shutil
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from commands import call, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.compressing import programs, samples
from wnn_jax import chain, files
from wnn_jax.chain import archive, coder, constants, header
from wnn_jax.chain import config as configs

SENTENCE = b"the cat sat on the mat, and the dog sat on the cat. " * 8
OWN = dataclasses.replace(configs.BYTES_FAST, neurons=chain.BYTES[:5], memory_mib=20)
SHARES = (2e-6, 0.001, 0.3, 0.5, 0.9, 1 - 2e-6)


def refusal(work, *said):
    """The one line with which some work is refused; anything but a ValueError fails the test."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are checked below
        work()
    message = str(raised.value)
    assert "\n" not in message
    assert all(word in message for word in said), message
    return message


def sealed(payload=b"\1\2\3\4" * 8, *, rest=None, size=9, seal=None, **changed):
    """A file whose hashes are right, whatever its header says."""
    fields = {
        **{"schema": 3, "edition": header.EDITION, "backend": ("xla", "native").index(header.kernels())},
        **{"preset": 2, "log_slots": header.log_slots_for(min(size, 2**30), configs.BYTES_BEST)},
        **{"model": header.digest(configs.BYTES_BEST), "first": b"\0" * 4, "digest": b"\0" * 8},
        **changed,
    }
    kind = 16 * fields["backend"] + fields["preset"]
    head = struct.pack("<4sBBBB", b"WNNC", fields["schema"], fields["edition"], kind, fields["log_slots"])
    head += fields["model"] + fields["first"] + fields["digest"]
    rest = header._number(size) + (rest or b"") + payload
    return head + (seal or header.hashed(head + rest)[:8]) + rest


def described(text, length=None):
    """The part of a header that describes a model."""
    said = zlib.compress(text if isinstance(text, bytes) else json.dumps(text).encode())
    return struct.pack("<H", len(said) if length is None else length) + said


@pytest.fixture(scope="module")
def packed():
    return chain.compress(SENTENCE)


@pytest.fixture
def nothing_made(monkeypatch):
    """Fails if a memory of a model is made, or if more than 2 MB are allocated."""

    def made(*_, **__):
        raise AssertionError("tables were made before the file was checked")

    monkeypatch.setattr(archive, "empty_online", made)
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(SHARES)), max_size=400))
@settings(max_examples=60, deadline=None)
def test_the_coder_gives_back_every_bit_at_its_cost(pairs):
    bits = np.array([bit for bit, _ in pairs], np.uint8)
    ones = np.array([share for _, share in pairs], np.float32)
    encoder = coder.Encoder()
    for part in (slice(0, 100), slice(100, None)):  # added in parts or at once, the code is the same
        encoder.add(bits[part], ones[part])
    code = encoder.finish()
    cost = -np.log2(np.where(bits, ones, 1 - ones.astype(np.float64))).sum()
    assert cost - 1e-6 <= 8 * len(code) + 64
    assert 8 * len(code) <= cost + 64
    decoder = coder.Decoder(code)
    assert [decoder.bit(float(one)) for one in ones] == bits.tolist()
    assert decoder.whole
    assert not pairs or not coder.Decoder(code + bytes(9)).whole


def test_bits_of_equal_chance_are_their_own_code():
    """With P = 1/2 a one takes the lower half of the interval, so the code is the complement of the bits."""
    data = np.random.default_rng(0).bytes(50) + b"\0"
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    encoder = coder.Encoder()
    encoder.add(bits, np.full(len(bits), 0.5, np.float32))
    assert encoder.finish() == bytes(255 - x for x in data)


@pytest.mark.parametrize("preset", ["fast", "best", OWN], ids=["fast", "best", "own"])
@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\0", bytes(range(256)), b"ab" * 700, np.random.default_rng(0).bytes(500)],
    ids=["empty", "ones", "zeros", "all values", "repeated", "noise"],
)
def test_compress_and_back(data, preset):
    packed, bits = archive.encode(data, preset)
    head = 36 if preset is not OWN else 250
    assert bits <= 8 * len(packed) < bits + 8 * head
    assert len(packed) < len(data) * 1.1 + head
    assert archive.decompress(packed) == data


@given(st.binary(max_size=60))
@settings(max_examples=12, deadline=None)
def test_compress_any_bytes_and_back(data):
    assert chain.decompress(chain.compress(data, preset="fast")) == data


def test_the_two_presets_give_other_bytes_and_best_fewer_of_them():
    data = samples.make("source")[:20_000]
    fast, best = chain.compress(data, "fast"), chain.compress(data, "best")
    assert len(best) < len(fast) < len(data) / 2
    assert header.unpack(fast)[0].config == configs.BYTES_FAST
    assert header.unpack(best)[0].config == configs.BYTES_BEST
    assert (
        chain.compress(bytearray(data), configs.BYTES_BEST) == best
    )  # the same settings are the same preset


def test_bad_settings_are_refused():
    refusal(lambda: chain.compress(b"a", "slow"), "preset='slow' is unknown: give fast or best")
    refusal(lambda: chain.compress(b"a", None), "preset=None is unknown")
    static = dataclasses.replace(configs.BYTES_BEST, mode="static")
    refusal(lambda: chain.compress(b"a", static), "mode=static and tree=plain: compression needs mode=online")
    large = dataclasses.replace(configs.BYTES_BEST, memory_mib=5000)
    refusal(lambda: chain.compress(b"a", large), "memory_mib=5000: compression takes at most 4096 MiB")
    refusal(lambda: chain.decompress("words"), "packed is of type str: give bytes")


def test_the_tables_follow_the_size_of_the_data():
    small = [(0, 8), (63, 8), (127, 8), (128, 9), (1000, 11), (1 << 16, 18), (1 << 30, 22)]
    assert [header.log_slots_for(size, configs.BYTES_BEST) for size, _ in small] == [x for _, x in small]
    tight = dataclasses.replace(configs.BYTES_BEST, memory_mib=1)
    for config in (OWN, tight, configs.BYTES_FAST):
        cell = 18 if config.lists else 16
        most = int(np.log2(config.memory_mib * 2**20 / (cell * len(config.neurons))))
        assert header.log_slots_for(1 << 40, config) == min(22, most)
    assert header.unpack(chain.compress(b"a" * 40))[0].log_slots == 8


def test_every_changed_byte_of_a_file_is_refused_before_anything_is_made(packed, nothing_made):
    count = 0
    for place in range(len(packed)):
        for value in {0, 255, packed[place] ^ 1, packed[place] ^ 128} - {packed[place]}:
            hurt = packed[:place] + bytes([value]) + packed[place + 1 :]
            said = refusal(lambda hurt=hurt: chain.decompress(hurt))
            assert "damaged" in said or (place < 4 and "not compressed by" in said) or place == 4, said
            count += 1
    for cut in range(len(packed)):
        refusal(lambda cut=cut: chain.decompress(packed[:cut]))
    refusal(lambda: chain.decompress(packed + b"\0"), "damaged")
    assert count > 3 * len(packed)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"edition": 77},
            "needs the preset best (*) of edition 77, and this version of wnn_jax has best (*)",
        ),
        (
            {"preset": 9},
            "needs the preset number 9 (*) of edition 1, and this version of wnn_jax has fast and",
        ),
        (
            {"model": b"\1\2\3\4"},
            "needs the preset best (01020304) of edition 1, and this version of wnn_jax",
        ),
        ({"backend": 7}, "was compressed with the number 7 kernels (preset best)"),
        (
            {"schema": 2},
            "has schema 2, but this version of wnn_jax reads schema 3 alone: decompress it with the",
        ),
        ({"schema": 4}, "has schema 4"),
        (
            {"size": 2**41 - 1},
            "says that it holds 2199023255551 bytes, but its code of 32 bytes holds at most",
        ),
        ({"size": 10**9}, "holds at most"),
        ({"log_slots": 22}, "needs tables of 2^22 cells for 9 bytes, and this version makes them of 2^8"),
        ({"rest": b"\x80" * 40, "payload": b"", "size": 2**42}, "damaged"),
        ({"preset": 0}, "does not hold what it should"),
        ({"preset": 0, "rest": described(b"x", 3)}, "does not hold what it should"),
        ({"preset": 0, "rest": described(bytes(1 << 22))}, "its description does not end"),
        ({"preset": 0, "rest": described([1])}, "does not hold what it should"),
        ({"preset": 0, "rest": described({"neurones": 3})}, "has an unknown setting 'neurones'"),
        ({"preset": 0, "rest": described({"memory_mib": -1})}, "memory_mib=-1 is out of range"),
        ({"preset": 0, "rest": described({"memory_mib": 1 << 20})}, "compression takes at most 4096 MiB"),
        (
            {"preset": 0, "rest": described({"memory_mib": 20})},
            "needs the preset described in its header (*) of",
        ),
        ({"preset": 0, "edition": 2, "rest": described({"later": 1})}, "of edition 2, and this version of"),
    ],
)
def test_a_file_that_needs_something_else_says_what(fields, said, nothing_made):
    message = refusal(lambda: chain.decompress(sealed(**fields)))
    rest = message
    for part in said.split("*"):
        assert part in rest, message
        rest = rest[rest.index(part) + len(part) :]


def test_a_wrong_code_is_noticed_by_its_probabilities_and_by_its_data():
    refusal(lambda: chain.decompress(sealed(size=300)), "by a version whose probabilities differ")
    refusal(lambda: chain.decompress(sealed(b"", size=0)), "by a version whose probabilities differ")
    said, code = header.unpack(chain.compress(SENTENCE))
    wrong = header.pack(said._replace(digest=b"\0" * 8), code) + code
    refusal(lambda: chain.decompress(wrong), "by a version whose probabilities differ")
    longer = header.pack(said, code + bytes(9)) + code + bytes(9)
    refusal(lambda: chain.decompress(longer), "damaged")


def test_a_file_of_another_backend_is_refused_by_name(packed, nothing_made, monkeypatch):
    here = header.kernels()
    other = "xla" if here == "native" else "native"
    monkeypatch.setattr(header, "kernels", lambda: other)
    refusal(
        lambda: chain.decompress(packed),
        f"was compressed with the {here} kernels (preset best) and cannot be decompressed with the {other}",
        "set WNN_JAX_BACKEND",
    )


def test_other_constants_are_another_model(packed, nothing_made, monkeypatch):
    header.digest.cache_clear()
    monkeypatch.setattr(constants, "SMOOTH", 0.41)
    try:
        refusal(lambda: chain.decompress(packed), "needs the preset best")
    finally:
        header.digest.cache_clear()


def test_a_file_tells_its_model():
    said, code = header.unpack(chain.compress(SENTENCE, OWN))
    assert dataclasses.replace(said.config, chunk=OWN.chunk) == OWN
    assert said.size == len(SENTENCE)
    assert len(code) < len(SENTENCE) / 2
    assert header.description(OWN)["neurons"] == OWN.neurons


def test_samples_are_the_same_each_time():
    assert samples.make("logs") == samples.make("logs")
    for name in ("source", "logs", "binary"):
        assert len(samples.make(name)) == samples.SIZE
    line = samples.make("logs").splitlines()[500].decode()
    assert line.count('"') == 6
    assert "HTTP/1.1" in line


def test_a_sample_may_be_a_file_or_a_folder(tmp_path):
    (tmp_path / "b").write_bytes(b"second")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"first "))
    assert samples.make(str(tmp_path)) == b"first second"
    assert samples.make(str(tmp_path / "b")) == b"second"
    (tmp_path / "c.gz").write_bytes(b"\x1f\x8b broken")
    refusal(lambda: samples.make(str(tmp_path)), "cannot unpack")
    refusal(
        lambda: samples.make("nothing"), "there is no sample or file nothing: give files, folders, or text"
    )


def test_other_programs_give_the_bytes_back_or_are_not_there(monkeypatch):
    for name in programs.NAMES:
        found = programs.run(name, SENTENCE)
        assert found is not None or not shutil.which(name.split()[0])
        assert found is None or 0 < found.size < 2000
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert programs.run("zpaq -m5", SENTENCE) is None
    refusal(lambda: programs.round_trip("toy", b"a", lambda x: x, lambda _: b"b"), "toy does not give back")


def test_the_table_of_compressors(tmp_path):
    (tmp_path / "words").write_bytes(SENTENCE)
    done = call("compress", f"--compare={tmp_path / 'words'}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path / "run")}
    assert {"gzip -9", "bzip2 -9", "xz -9e", "chain, fast", "chain, best"} <= rows.keys()
    for name, row in rows.items():
        assert row["size"] == len(SENTENCE)
        assert row["bits_per_byte"] == pytest.approx(8 * row["bytes"] / len(SENTENCE))
        assert row["pack_bytes_per_second"] > 0 < row["unpack_bytes_per_second"]
        assert f"{row['bytes']:,}" in next(x for x in done.stdout.splitlines() if x.startswith(name))
    best = rows["chain, best"]
    assert best["bytes"] == len(chain.compress(SENTENCE)) < rows["xz -9e"]["bytes"]
    assert best["summed_bytes"] < best["bytes"]
    assert (tmp_path / "run" / "compress.png").read_bytes().startswith(b"\x89PNG")
    bad = call("compress", "--compare=x", "--output=y")
    assert bad.returncode == 2
    assert "--compare writes no file" in bad.stderr


def test_a_damaged_file_is_of_the_class_of_damaged_files():
    with pytest.raises(files.Damaged):
        chain.decompress(chain.compress(b"abc")[:-1])
