"""`tables.metal` runs on threads of the CPU, and the syntax of its host is checked (tests/metal/README.md).

The CPU kernels run in the same runner, so that sanitizers check them without JAX.
"""

import pathlib
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
import reference

from wnn_jax import ram
from wnn_jax.ram import bits
from wnn_jax.ram import cells as cell_kinds

HERE = pathlib.Path(__file__).parent / "metal"
SOURCES = HERE.parents[1] / "metal_ext" / "src"
KINDS = {"ternary": 0, "quad_binary": 1, "quad_weighted": 1, "count": 2, "true_wins": 3}
OPERATIONS = ("fit_and_read", "write", "read")
ADDRESS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
BUILDS = {"address": ADDRESS, "thread": "-fsanitize=thread"}

needs_gcc = pytest.mark.skipif(not shutil.which("g++"), reason="no g++ to compile the kernels with")
needs_clang = pytest.mark.skipif(
    not shutil.which("clang++"), reason="no clang++ to check Metal's sources with"
)


def build(folder, options, tables=SOURCES / "tables.metal"):
    """Compile the runner with ``options`` from the given text of the kernels."""
    runner = folder / "runner"
    include = [f"-I{HERE / 'threads'}", f"-I{SOURCES}"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-attributes", "-Wno-unused"]
    defines = ["-DWNN_CLONES=", f'-DTABLES="{tables}"']
    command = ["g++", "-std=c++20", "-O1", "-g", *options.split(), *warnings, *defines, *include]
    subprocess.run([*command, str(HERE / "runner.cc"), "-o", str(runner), "-pthread"], check=True)
    return runner


class Case:
    """One layer with padding and absent and smaller neurons, and the tables and votes of the oracle."""

    def __init__(self, kind, address_bits, sample_rate, *, examples=150, evaluated=41, neurons=3, seed=0):
        rng = np.random.default_rng(seed)
        clusters, input_bits = 2, 50
        self.config = ram.RamConfig(kind, empty_value=0.5, sample_rate=sample_rate)
        self.bits = address_bits
        connections = rng.integers(input_bits, size=(clusters, neurons, address_bits))
        connections[0, 0, : address_bits // 2] = -1
        connections[1, 1] = -1
        count = clusters * neurons
        self.connections = connections.astype(np.int32)
        self.seed = rng.integers(2**32, size=count, dtype=np.uint32)
        self.cluster = np.repeat(np.arange(clusters, dtype=np.int32), neurons)
        # Few prototypes, so that many examples meet in a cell and their order matters.
        inputs = rng.random((4, input_bits)) < 0.5
        self.inputs = inputs[rng.integers(4, size=examples)] ^ (rng.random((examples, input_bits)) < 0.02)
        self.queries = inputs[rng.integers(4, size=evaluated)]
        self.targets = rng.random((examples, clusters)) < 0.45
        self.weight = rng.random(examples) < 0.9
        self.place = np.cumsum(self.weight).astype(np.uint32)
        ones = (self.targets & self.weight[:, None]).sum(axis=0)
        self.prior = (ones / self.weight.sum()).astype(np.float32)
        keep = [cell_kinds.sampled(self.config, jnp.uint32(s), jnp.asarray(self.place)) for s in self.seed]
        keep = (np.stack(keep) & self.weight).reshape(clusters, neurons, examples)
        tables = reference.fit(kind, self.connections, self.inputs, self.targets, keep)
        votes = reference.votes(kind, tables, self.connections, self.queries, self.prior, 0.5)
        self.votes = votes.astype(np.int32)
        self.table = self.dense(tables)

    def dense(self, tables):
        """Turn the dicts of the oracle into the array that XLA holds."""
        shape = (*self.connections.shape[:2], 1 << self.bits)
        found = np.array(
            cell_kinds.empty(self.config, (*shape, 2) if self.config.cells == "count" else shape)
        )
        for k, cluster in enumerate(tables):
            for j, table in enumerate(cluster):
                for address, cell in table.items():
                    found[k, j, address] = cell
        return found

    def run(self, runner, device, operation, folder, scratch=1 << 20):
        """Run the runner in one process and return the votes, or the table that was written."""
        values = np.array(cell_kinds.read_values(self.config), np.int32)
        words, queries = (np.asarray(bits.pack(jnp.asarray(x.T))) for x in (self.inputs, self.queries))
        clusters = len(self.prior)
        kind, threshold = KINDS[self.config.cells], cell_kinds.sample_threshold(self.config)
        sizes = [
            len(self.seed),
            self.bits,
            len(words),
            clusters,
            len(self.inputs),
            len(self.queries),
            clusters,
        ]
        header = [OPERATIONS.index(operation), kind, threshold, *sizes, len(values), scratch]
        table = {
            "fit_and_read": np.zeros(0, np.uint8),
            "write": np.array(cell_kinds.empty(self.config, self.table.shape)),
            "read": self.table,
        }[operation]
        arrays = [np.array(header, np.int64), self.connections, self.cluster]
        arrays += [self.cluster, self.seed, words, self.targets.T, self.weight, self.place, self.prior]
        case, result = folder / "case", folder / "result"
        case.write_bytes(
            b"".join(np.ascontiguousarray(x).tobytes() for x in [*arrays, values, queries, table])
        )
        done = subprocess.run(
            [runner, device, case, result], capture_output=True, text=True, check=False, timeout=300
        )
        assert not done.returncode, done.stderr[-2000:]
        if operation == "write":
            return np.fromfile(result, self.table.dtype).reshape(self.table.shape)
        return np.fromfile(result, np.int32).reshape(self.votes.shape)

    def agrees(self, runner, device, operation, folder, **options):
        wanted = self.table if operation == "write" else self.votes
        return np.array_equal(self.run(runner, device, operation, folder, **options), wanted)


@needs_gcc
@pytest.mark.long
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_kernels_equal_the_oracle_under_sanitizers(tmp_path, sanitizer):
    """A row of T = 13 does not fit into a threadgroup's memory; 100 bytes of scratch hold one row."""
    runner = build(tmp_path, BUILDS[sanitizer])
    for kind in ram.CELLS:
        for address_bits, rate in [(1, 1.0), (4, 1.0), (8, 0.6), (13, 1.0)]:
            case = Case(kind, address_bits, rate)
            for operation in OPERATIONS:
                for device in ("metal", "cpu"):
                    assert case.agrees(runner, device, operation, tmp_path), (
                        kind,
                        address_bits,
                        operation,
                        device,
                    )
        assert Case(kind, 4, 1.0).agrees(runner, "metal", "fit_and_read", tmp_path, scratch=100)


BARRIER = "  threadgroup_barrier(mem_flags::mem_threadgroup);\n"
SHARED_ADD = "atomic_fetch_add_explicit(&sums[address], amount, memory_order_relaxed);"
GLOBAL_ADD = "atomic_fetch_add_explicit(&row[address], amount, memory_order_relaxed);"
VOTE_ADD = """atomic_fetch_add_explicit(&votes[ulong(output[neuron]) * params.examples + example], vote,
                            memory_order_relaxed);"""


def torn(cell, amount):
    return (
        f"{{ const int old = atomic_load_explicit(&{cell}, memory_order_relaxed); "
        f"atomic_store_explicit(&{cell}, old + {amount}, memory_order_relaxed); }}"
    )


def without(text, part, index):
    """Remove one occurrence of ``part`` from ``text``."""
    pieces = text.split(part)
    assert len(pieces) > index + 1, f"{part!r} is not there {index + 1} times"
    return part.join(pieces[: index + 1]) + part.join(pieces[index + 1 :])


def replaced(text, old, new):
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)


VOTE = "votes[ulong(output[neuron]) * params.examples + example]"
RACES = {
    "no barrier after clearing": (lambda text: without(text, BARRIER, 0), 8, "write"),
    "no barrier before applying": (lambda text: without(text, BARRIER, 1), 8, "write"),
    "torn add in a threadgroup": (
        lambda text: replaced(text, SHARED_ADD, torn("sums[address]", "amount")),
        4,
        "write",
    ),
    "torn add to the table": (
        lambda text: replaced(text, GLOBAL_ADD, torn("row[address]", "amount")),
        13,
        "write",
    ),
    "torn vote": (lambda text: replaced(text, VOTE_ADD, torn(VOTE, "vote")), 4, "read"),
}


@needs_gcc
@pytest.mark.long
@pytest.mark.parametrize("mutant", RACES)
def test_races_are_found(tmp_path, mutant):
    """Kernels with a race must give a wrong number within a few tries, or the runner could not see a race."""
    change, address_bits, operation = RACES[mutant]
    tables = tmp_path / "tables.metal"
    tables.write_text(change((SOURCES / "tables.metal").read_text()))
    runner = build(tmp_path, "", tables)
    # Two threads add to one vote if two neurons of a cluster read the same example at the same time.
    case = Case(
        "ternary", address_bits, 1.0, examples=400, evaluated=4, neurons=40 if operation == "read" else 3
    )
    assert not all(case.agrees(runner, "metal", operation, tmp_path) for _ in range(60))


def strict(tables):
    """Return whether clang accepts the kernels with their address spaces, and its messages."""
    options = "-x c++ -std=c++14 -fsyntax-only -nostdinc -fno-exceptions -fno-rtti -Wall -Werror"
    silenced = ["-Wno-unknown-attributes", "-Wno-unused"]
    command = ["clang++", *options.split(), *silenced, f"-I{HERE / 'strict'}", f"-I{SOURCES}", str(tables)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


@needs_clang
def test_address_spaces_are_right():
    passed, complaints = strict(SOURCES / "tables.metal")
    assert passed, complaints


@needs_clang
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("device int* row = table", "int* row = table"),
        ("device const uint* place, uint example)", "const uint* place, uint example)"),
        ("constant Params& params, uint seed", "device Params& params, uint seed"),
        ("if (params.threshold != 0)", "if ((params.threshold = 0))"),
        ("threadgroup atomic_int* sums", "device int* sums"),
        ("(device const int*)table + row", "(const int*)table + row"),
        ("  int vote = 0;", "  int vote = 0; throw vote;"),
    ],
)
def test_wrong_address_spaces_are_found(tmp_path, old, new):
    tables = tmp_path / "tables.metal"
    tables.write_text(replaced((SOURCES / "tables.metal").read_text(), old, new))
    passed, complaints = strict(tables)
    assert not passed
    assert "error:" in complaints


def host(folder, source):
    """Return whether clang accepts the host with our declarations of Apple's classes, and its messages."""
    options = (
        "-x objective-c++ -std=c++17 -D__APPLE__ -fsyntax-only -fobjc-arc -fblocks -fobjc-runtime=macosx-11"
    )
    warnings = ["-Wall", "-Wextra", "-Werror"]
    include = [f"-I{HERE / 'host'}", f"-I{folder}", f"-I{SOURCES}"]
    command = ["clang++", *options.split(), *warnings, *include, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


@needs_clang
@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake to embed the kernels with")
def test_the_host_is_well_formed(tmp_path):
    literal = tmp_path / "tables_source.inc"
    script = SOURCES.parent / "embed.cmake"
    subprocess.run(["cmake", f"-DSOURCES={SOURCES}", f"-DOUTPUT={literal}", "-P", script], check=True)
    embedded, kernels = literal.read_text(), (SOURCES / "tables.metal").read_text()
    assert '#include "params.h"' not in embedded
    assert (SOURCES / "params.h").read_text() in embedded
    assert kernels.split('#include "params.h"')[1] in embedded
    passed, complaints = host(tmp_path, SOURCES / "metal.mm")
    assert passed, complaints
    for old, new in [
        ("[encoder_ endEncoding]", "[encoder_ endEncodng]"),
        ("offset:0 atIndex:i + 1", "offset:0 atIndex:@selector(x)"),
        ("std::string Finish()", "int Finish()"),
    ]:
        mutant = tmp_path / "metal.mm"
        mutant.write_text(replaced((SOURCES / "metal.mm").read_text(), old, new))
        assert not host(tmp_path, mutant)[0], new
