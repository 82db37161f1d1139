"""Exported models: every score that a compiled or simulated model gives is the one of Python."""

import gzip
import os
import re

import frozen_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import export
from wnn_jax.classify import Classifier, encoders, layer
from wnn_jax.export import inputs, plan, tools

# Models of every kind of cells, hashes, sharing, pins and input values.
CASES = {
    "binary": {},
    "count": {"cell": "count", "classes": 15, "pins": 2},
    "int4": {"cell": "int4", "classes": 7, "data": "whole+categories+missing"},
    "int2": {"cell": "int2", "classes": 2},
    "int6": {"cell": "int6", "data": "image"},
    "int8": {"cell": "int8", "classes": 5},
    "int16": {"cell": "int16", "classes": 1, "data": "real"},
    "int32": {"cell": "int32", "classes": 1, "data": "bytes+missing"},
    "real": {"data": "real", "classes": 2},
    "missing": {"data": "real+categories+missing", "cell": "count"},
    "categories": {"data": "bytes+categories"},
    "large": {"data": "large", "cell": "int4", "classes": 1},
    "mixed": {"mixed": True, "classes": 4, "neurons": 20},
    "shared": {"reads": 4, "neurons": 16},
    "slid": {"reads": 4, "neurons": 16, "slid": True, "data": "image"},
    "slid_hashed": {"reads": 2, "slid": True, "data": "image", "hashes": 2, "cell": "int8"},
    "slid_mixed": {"reads": 3, "slid": True, "data": "image", "mixed": True, "classes": 9},
    "mixed_shared": {"mixed": True, "reads": 3, "data": "whole+missing", "cell": "int4"},
    "hashed": {"hashes": 2, "classes": 9},
    "long_hashed": {"hashes": 3, "pins": 40, "entries": 64, "cell": "int4", "classes": 5, "neurons": 6},
    "one_hash": {"hashes": 1, "pins": 20, "cell": "int8", "neurons": 6},
    "all": {"hashes": 2, "mixed": True, "reads": 2, "cell": "count", "data": "real+missing"},
    "one_class": {"classes": 1},
    "letters": {"classes": 26, "neurons": 40},
    "words": {"classes": 70, "neurons": 6, "pins": 3},
    "one_pin": {"classes": 7, "pins": 1},
    "nine_pins": {"pins": 9, "neurons": 5},
}
USE = "int use(wnn_input *x, wnn_score *s) { return (int)wnn_predict(x, s) + wnn_selftest(x, s); }\n"
MEASURED = ("-O3", "-O2", "-Os")


def needs(*programs):
    lacking = tools.missing(*programs)
    return pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")


def case(name, **more):
    return frozen_models.model(list(CASES).index(name), **{**CASES[name], **more})


def changed(path, pattern, change):
    """Change the first number of the array whose definition a pattern finds."""
    text = path.read_text()
    start = re.search(pattern, text).end()
    number = re.compile(r"-?\d+").search(text, start)
    path.write_text(text[: number.start()] + str(change(int(number[0]))) + text[number.end() :])


@needs("gcc")
@pytest.mark.parametrize("name", CASES)
def test_c_gives_every_score_of_python(name):
    model, X = case(name)
    report = export.verify(model, X, optimise="-O1")
    assert report.equal
    assert report.rows == len(X)
    assert report.microseconds > 0


@needs("iverilog", "vvp")
@pytest.mark.parametrize("name", CASES)
def test_a_simulated_circuit_gives_every_score_of_python(name):
    model, X = case(name)
    assert export.verify(model, X[:60], "iverilog").equal


@needs("avr-gcc", "avr-size", "simavr")
@pytest.mark.parametrize("name", [one for one in CASES if one not in ("nine_pins", "categories", "one_pin")])
def test_a_simulated_arduino_gives_every_score_of_python(name):
    model, X = case(name)
    report = export.verify(model, X[:12], "avr")
    assert report.equal
    assert len(report.cycles) == report.rows == 12
    assert min(report.cycles) > 0
    assert report.flash < 32_256


@needs("gcc", "g++", "nm")
@pytest.mark.parametrize("name", ["binary", "int4", "missing", "mixed_shared", "long_hashed", "int32"])
def test_a_header_is_clean_c_and_cpp_and_needs_nothing(name, tmp_path):
    model, X = case(name)
    export.c(model, tmp_path / "model.h", X[:2])
    caller = (
        '#include "model.h"\n#ifdef __cplusplus\nextern "C"\n#endif\nint use(wnn_input *x, wnn_score *s);\n'
    )
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-c", "model_use.c", "-o", "use.o"]
    (tmp_path / "model_use.c").write_text(caller + USE)
    for compiler, flag in (("gcc", "-std=c99"), ("g++", "-std=c++11")):
        language = "c" if compiler == "gcc" else "c++"
        for level in ("-O3", "-Os"):
            tools.run(tmp_path, compiler, flag, level, "-x", language, *strict)
            assert not tools.run(tmp_path, "nm", "-u", "use.o").strip()


@needs("avr-gcc", "avr-g++")
@pytest.mark.parametrize("name", ["binary", "int4", "long_hashed"])
def test_a_header_for_an_arduino_is_clean_c_and_cpp(name, tmp_path):
    model, X = case(name)
    export.c(model, tmp_path / "model.h", X[:2], rom="avr")
    (tmp_path / "use.c").write_text('#include "model.h"\nint use(wnn_input *, wnn_score *);\n' + USE)
    for compiler, language in (("avr-gcc", "c99"), ("avr-g++", "c++11")):
        flags = [f"-std={language}", "-mmcu=atmega328p", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Os"]
        tools.run(tmp_path, compiler, *flags, "-x", "c" if language == "c99" else "c++", "-c", "use.c")


@needs("gcc")
def test_what_is_broken_in_a_header_is_found(tmp_path):
    model, X = case("binary")
    path = tmp_path / "model.h"

    def written():
        export.c(model, path)
        return path

    assert export.verify(model, X, path=written()).equal
    changed(written(), r"wnn_cells\[\d+\] WNN_ROM = \{\n", lambda x: x ^ 1)
    report = export.verify(model, X, path=path)
    assert not report.equal
    assert report.wrong > 0
    assert 0 <= report.first < len(X)
    changed(written(), r"wnn_level\[\d+\] WNN_ROM = \{\n", lambda x: x + 9)
    assert not export.verify(model, X, path=path).equal
    written().write_text(path.read_text().replace("scores[k] > scores[best]", "scores[k] >= scores[best]"))
    ties = (np.diff(np.sort(plan.scores(model, X), axis=1)[:, -2:], axis=1) == 0).sum()
    report = export.verify(model, X, path=path)
    assert report.wrong == ties > 0  # only the tie rule differs, and only where there is a tie


@needs("gcc")
def test_the_self_test_of_a_header_fails_where_a_table_is_broken(tmp_path):
    model, X = case("int8")
    path = tmp_path / "model.h"
    export.c(model, path, X[:2])
    assert export.verify(model, X[:5], path=path).equal
    changed(path, r"wnn_test_scores\[[^]]*\] WNN_ROM = \{\n", lambda x: x + 1)
    with pytest.raises(tools.FailedProgramError, match="ended with code 2"):
        export.verify(model, X[:5], path=path)


@needs("gcc")
def test_a_header_of_another_type_or_model_is_refused(tmp_path):
    model, X = case("binary")
    export.c(model, tmp_path / "model.h", inputs="float")
    assert export.verify(model, X, path=tmp_path / "model.h", inputs="float").equal
    with pytest.raises(tools.FailedProgramError, match="of another model, or of another inputs="):
        export.verify(model, X, path=tmp_path / "model.h")
    other, Y = case("words")
    with pytest.raises(tools.FailedProgramError, match="of another model"):
        export.verify(other, Y, path=tmp_path / "model.h", inputs="float")


@needs("iverilog", "vvp")
def test_a_testbench_checks_itself_and_finds_what_is_broken(tmp_path):
    model, X = case("int4", data="bytes")
    export.verilog(model, tmp_path / "model.v", X[:40])

    def run():
        tools.run(tmp_path, "iverilog", "-g2005", "-s", "wnn_tb", "-o", "sim", "model_tb.v", "model.v")
        return tools.run(tmp_path, "vvp", "-n", "sim")

    assert run() == "PASS: 40 rows\n"
    rows = (tmp_path / "model_expected.hex").read_text().splitlines()
    rows[3] = f"{int(rows[3], 16) ^ 1:0{len(rows[3])}x}"
    (tmp_path / "model_expected.hex").write_text("\n".join(rows) + "\n")
    assert "FAIL: 1 of 40 rows" in run()
    text = (tmp_path / "model.v").read_text()
    constant = re.search(r"localparam .*'h([0-9a-f]+);", text)
    swapped = f"{int(constant[1], 16) ^ 0xFFFF:x}"
    (tmp_path / "model.v").write_text(text[: constant.start(1)] + swapped + text[constant.end(1) :])
    assert not export.verify(model, X[:60], "iverilog", path=tmp_path / "model.v").equal


@needs("yosys")
def test_the_area_has_its_parts():
    model, _ = case("binary", neurons=4, classes=2)
    area = export.area(model)
    used = len(np.unique(np.stack([model.mapping.column.ravel(), model.mapping.level.ravel()]), axis=1).T)
    assert 0 < area.encoder <= 8 * used  # a comparator of 8 bits with a constant
    assert 0 < area.tables <= 8  # a table of 5 bits takes one for each class
    assert area.adders > 0
    assert area.argmax > 0
    assert area.total == area.encoder + area.tables + area.adders + area.argmax + area.glue


def test_the_size_has_its_parts():
    model, _ = case("int4", data="bytes", neurons=12, pins=5, classes=7)
    size = export.size(model)
    assert size.table_bits == 12 * 32 * 7 * 4
    assert size.tables == size.table_bits // 8
    assert size.pins == 12 * 5  # a byte names one of six features
    assert size.encoder == 12 * 5  # and another one is the threshold
    assert size.total == size.tables + size.pins + size.encoder + size.constants
    assert size.kib["total"] == size.total / 1024
    hashed, _ = case("long_hashed")
    assert export.size(hashed).constants >= 3 * 40  # a byte for each hash of each pin
    real, _ = case("real")
    columns = plan.make(real).columns
    each = sum(1 + 1 + 4 * len(one.values) for one in columns)  # feature, number of thresholds, thresholds
    assert export.size(real).encoder == each


def test_pins_that_move_are_stored_once():
    moved, _ = frozen_models.model(0, data="image", reads=4, neurons=16, slid=True)
    first, _ = frozen_models.model(0, data="image", reads=1, neurons=4)
    size, least = export.size(moved), export.size(first)
    assert size.table_bits == least.table_bits
    assert size.pins == least.pins + 4  # a byte for each step
    assert size.encoder == least.encoder


@needs("gcc", "size")
def test_the_compiled_size_holds_the_tables():
    model, _ = case("binary")
    assert export.size(model, compiled=True).text > export.size(model).total


def test_only_what_is_used_is_exported(tmp_path):
    encoder = encoders.given([10, 20, 30, 40], 5)
    pins = layer.Mapping(
        np.array([[1, 3, 0]], np.int32),
        np.array([[2, 4, 255]], np.uint8),
        np.zeros(1, np.int32),
        layer.dense(3),
    )
    cells = np.ones((1, 8, 2), np.int8)
    made = plan.make(Classifier(encoder, pins, cells, 1.0, (0, 1)))
    assert [(one.feature, one.values) for one in made.columns] == [(1, (20,)), (3, (40,))]
    assert made.groups[0].cells.shape == (1, 4, 2)
    assert made.input.name == "uint8"


@needs("gcc")
def test_a_model_without_a_used_pin_is_a_constant():
    model, X = case("binary")
    unused = model.mapping._replace(
        column=np.zeros_like(model.mapping.column), level=np.full_like(model.mapping.level, layer.UNUSED)
    )
    model = model._replace(mapping=unused)
    assert export.verify(model, X).equal
    if not tools.missing("iverilog", "vvp"):
        assert export.verify(model, X, "iverilog").equal


@given(st.floats(-(2.0**30), 2.0**31, width=32))
def test_a_threshold_for_integers_is_exact(threshold):
    first = inputs.reaching(np.float32(threshold))
    assert np.float32(first) >= np.float32(threshold) > np.float32(first - 1)


@needs("gcc")
def test_integers_beyond_float32_are_compared_as_python_does():
    edges = [-1_000_000_128, 16_777_217, 1_000_000_064, 2_000_000_000]
    encoder = encoders.given(edges, 2)
    rng = np.random.default_rng(0)
    pins = frozen_models.mapping(rng, encoder, 8, 4)
    cells = frozen_models.cells(rng, "int8", 8, 16, 3)
    model = Classifier(encoder, pins, cells, 1.0, (0, 1, 2))
    near = np.add.outer(np.array(edges), np.arange(-200, 201)).ravel()
    X = np.stack([near, rng.permutation(near)], axis=1).astype(np.int64)
    assert export.verify(model, X, inputs="int32").equal


def test_the_type_of_the_input_follows_from_the_data():
    found = {}
    for kind in ("bytes", "whole", "large", "real", "bytes+missing", "bytes+categories"):
        model, _ = frozen_models.model(3, data=kind)
        found[kind] = plan.make(model).input.name
    assert found == {
        "bytes": "uint8",
        "whole": "int16",
        "large": "float",
        "real": "float",
        "bytes+missing": "int16",
        "bytes+categories": "uint8",
    }


@needs("gcc")
def test_features_that_no_pin_reads_do_not_matter():
    X = np.random.default_rng(0).integers(0, 256, (200, 4)).astype(np.float64)
    X[:, 2] += 0.25
    encoder = encoders.fit(encoders.EncoderConfig(bits=3), X)
    column = np.flatnonzero(np.isin(encoder.source, (0, 3)))[:, None].repeat(3, axis=1).astype(np.int32)
    level = np.tile(np.arange(1, 4, dtype=np.uint8), (2, 1))
    pins = layer.Mapping(column, level, np.arange(2, dtype=np.int32), layer.dense(3))
    cells = frozen_models.cells(np.random.default_rng(1), "int8", 2, 8, 3)
    model = Classifier(encoder, pins, cells, 1.0, (0, 1, 2))
    assert plan.make(model).input.name == "uint8"
    assert export.verify(model, X).equal
    for backend in ("avr", "iverilog"):
        if not tools.missing(*{"avr": ("avr-gcc", "simavr"), "iverilog": ("iverilog",)}[backend]):
            assert export.verify(model, X[:20], backend).equal


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    model, X = case("binary")
    missing, _ = frozen_models.model(3, data="bytes+missing")
    real, _ = case("real")
    level = model._replace(mapping=model.mapping._replace(level=np.zeros_like(model.mapping.level)))
    wide, _ = frozen_models.model(0, pins=17, neurons=2)
    deep, _ = frozen_models.model(0, pins=13, neurons=20, cell="int4")
    for call, said in [
        (lambda: export.verify(model, X, "gcc"), "unknown backend 'gcc'"),
        (lambda: export.verify(model, X[:0]), "X has no row"),
        (
            lambda: export.verify(model, X + 0.5),
            "row 0, feature 0 of X is .* reads uint8: give whole numbers",
        ),
        (lambda: export.verify(model, X + 400.0), "give whole numbers from 0 to 255"),
        (lambda: export.c(model, tmp_path / "x.h", inputs="uint4"), "unknown inputs 'uint4'"),
        (lambda: export.c(model, tmp_path / "x.h", rom="flash"), "unknown rom 'flash'"),
        (lambda: export.c(model, tmp_path / "x.h", X[:0]), "tests has no row"),
        (
            lambda: export.c(missing, tmp_path / "x.h", inputs="uint8"),
            "may be missing, and uint8 has no value",
        ),
        (lambda: export.c(real, tmp_path / "x.h", inputs="uint8"), "the threshold .* is no value of uint8"),
        (lambda: export.c(level, tmp_path / "x.h"), "pin 0 of neuron 0 has level 0"),
        (lambda: export.c(model._replace(cells=model.cells * 1.0), tmp_path / "x.h"), "the cells have dtype"),
        (lambda: export.c((), tmp_path / "x.h"), "a tuple has no encoder"),
        (lambda: export.c(deep, tmp_path / "x.h", rom="avr"), "rom='avr' addresses 32,767"),
        (lambda: export.verilog(wide, tmp_path / "x.v"), "has 131,072 entries"),
    ]:
        with pytest.raises(ValueError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    model, X = case("binary")
    monkeypatch.setenv("PATH", os.devnull)
    for call, package in [
        (lambda: export.verify(model, X), "gcc not found: run apt-get install gcc"),
        (lambda: export.verify(model, X, "avr"), "apt-get install gcc-avr avr-libc binutils-avr simavr"),
        (lambda: export.verify(model, X, "verilator"), r"apt-get install verilator g\+\+ make"),
        (lambda: export.verify(model, X, "iverilog"), "apt-get install iverilog"),
        (lambda: export.area(model), "yosys not found: run apt-get install yosys"),
        (lambda: export.size(model, compiled=True), "apt-get install gcc binutils"),
    ]:
        with pytest.raises(export.MissingProgramError, match=package):
            call()


def test_the_name_of_a_model_changes_with_all_that_its_answers_need():
    model, _ = case("binary")
    cells = model.cells.copy()
    cells[0, 0, 0] ^= 1
    others = [
        model._replace(cells=cells),
        model._replace(labels=("a", "b", "c")),
        model._replace(encoder=model.encoder._replace(threshold=model.encoder.threshold + 1)),
    ]
    assert len({plan.digest(one) for one in (model, *others)}) == 4


ARDUINO = """
#include <stdint.h>
#include <stdio.h>
#define F(text) ((const __FlashStringHelper *)(text))
#define WNN_ROM
#define WNN_RD8(p) (*(p))
#define WNN_RD16(p) (*(p))
#define WNN_RD32(p) (*(p))
#define WNN_RDF(p) (*(p))
class __FlashStringHelper;
static FILE *line;
struct {
    void begin(long) {}
    int available() { int c = getc(line); ungetc(c, line); return c != EOF; }
    int read() { return getc(line); }
    void println(const __FlashStringHelper *text) { puts((const char *)text); }
    void println(float value, int digits) { printf("%.*f\\n", digits, value); }
} Serial;
#include "SKETCH.ino"
int main() { line = fopen("rows.csv", "r"); setup(); while (Serial.available()) loop(); }
"""


@needs("g++")
@pytest.mark.parametrize("name", ["binary", "missing", "int4", "int16"])
def test_a_sketch_answers_the_rows_of_its_serial_line(name, tmp_path):
    model, X = case(name)
    rows = [",".join("" if np.isnan(x) else f"{x:.9g}" for x in row) for row in X[:30]]
    folder = tmp_path / "answers"
    export.sketch(model, folder, X[:2])
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    (folder / "main.cpp").write_text(ARDUINO.replace("SKETCH", "answers"))
    tools.run(folder, "g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-o", "run", "main.cpp")
    about, tested, *answers = tools.run(folder, str(folder / "run")).splitlines()
    assert plan.digest(model) in about
    assert tested == "self-test passed"
    scores = plan.scores(model, X[:30])
    if name == "int16":
        wanted = model.offset + model.scale * scores[:, 0]
        assert np.allclose(np.array(answers, float), wanted, atol=1e-5)
    else:
        assert answers == [model.labels[k] for k in scores.argmax(axis=1)]


def image_model(seed, neurons=432, pins=5, moves=(0,)):
    """A model with the shape of a trained one: two thresholds a pixel, random cells of one bit."""
    rng, reads = np.random.default_rng(seed), len(moves)
    inner = np.add.outer(28 * np.arange(3, 24), np.arange(3, 24)).ravel()
    column = rng.choice(inner, (neurons, 1, pins)) + np.array(moves)[:, None]
    column = column.reshape(-1, pins).astype(np.int32)
    level = np.repeat(rng.integers(1, 3, (neurons, pins)).astype(np.uint8), reads, axis=0)
    table = np.repeat(np.arange(neurons, dtype=np.int32), reads)
    cells = (2 * rng.integers(0, 2, (neurons, 1 << pins, 10)) - 1).astype(np.int8)
    wired = layer.Mapping(column, level, table, layer.dense(pins))
    return Classifier(encoders.given([41, 151], 784), wired, cells, 1.0, tuple(range(10)))


@pytest.fixture(scope="module")
def images(data):
    packed = (data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(-1, 784)


@pytest.mark.long
@needs("gcc")
def test_c_gives_all_scores_of_all_test_images_in_time(images):
    model = image_model(0)
    for level in MEASURED:
        report = export.verify(model, images, optimise=level)
        assert report.equal
        assert report.rows == 10_000
        assert report.microseconds <= 12
    assert export.verify(image_model(1, 216, 6, (0, 1, 28, 29)), images).equal


@pytest.mark.long
@needs("avr-gcc", "avr-size", "simavr")
def test_an_arduino_reads_four_images_in_time(images):
    for model in (image_model(0), image_model(1, 216, 6, (0, 1, 28, 29))):
        report = export.verify(model, images[:4], "avr")
        assert report.equal
        assert max(report.cycles) <= 0.015 * 16e6
        assert report.flash + 4 * 784 <= 32_256


@pytest.mark.long
@needs("verilator", "g++", "make")
def test_verilator_gives_every_score_of_a_thousand_images(images):
    report = export.verify(image_model(0, 48), images[:1000], "verilator")
    assert report.equal
    assert report.rows == 1000
