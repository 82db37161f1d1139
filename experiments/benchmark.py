"""Time table work neuron-major against the naive way, and against what memory allows.

python -m experiments.benchmark

Every case runs in a process of its own, so that its peak memory is its own. Times are nanoseconds
per (neuron, example) pair; ratios compare cases of the same run.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import base
from experiments.shared import machine, tables
from wnn_jax import ram, search
from wnn_jax.lm import bitwise
from wnn_jax.ram import backend, connectivity

FLAGS = flags.FLAGS

base.define_common_flags("benchmark")
flags.DEFINE_multi_integer("bits", [12, 16, 20], "Address bits T to time; repeat for several.")
flags.DEFINE_integer("neurons", 3200, "Neurons, fewer where their tables pass 4 GiB.")
flags.DEFINE_integer("examples", 100_000, "Examples written and read.")
flags.DEFINE_integer("input_bits", 64, "Input bits.")
flags.DEFINE_integer("repeats", 3, "Timed runs of each case; the fastest counts.")
flags.DEFINE_multi_enum(
    "table", ["orders", "cells", "search"], ["orders", "cells", "search"], "Tables to print."
)
flags.DEFINE_string("case", None, "One case as TABLE:WAY:OPERATION:T, in this process; prints JSON.")

OPERATIONS = ("fused write", "write", "lookup")
CELLS = ("ternary", "count", "quad_weighted")
TABLE_BYTES = 1 << 32
CONFIG = ram.RamConfig("ternary")
# The predecessor's setting of a search: a genome of 16 clusters of 200 neurons of 20 bits, scored on the ids
# of GPT-2. Its published figure is 50 genomes in 42 s on 16 CPU and 40 GPU cores.
SEARCH = {"train": 67_000, "scored": 47_000, "neurons": 200, "population": 50}
SEARCH_WAYS = ("full", "mutants", "tabu")
# Bytes of a cell in the row that the native fused kernel keeps (metal_ext/src/row.h).
PACKED = {"ternary": 2.0, "count": 4.0, "quad_weighted": 0.25}


def main() -> None:
    if FLAGS.case:
        print(json.dumps(run_case(*FLAGS.case.split(":"))))
        return
    if min(FLAGS.neurons, FLAGS.examples, FLAGS.repeats, FLAGS.input_bits) < 1:
        raise ValueError("--neurons, --examples, --repeats and --input_bits must be at least 1")
    for address_bits in FLAGS.bits:
        if not 1 <= address_bits <= min(ram.MAX_ADDRESS_BITS, FLAGS.input_bits):
            raise ValueError(f"--bits must be 1 to {ram.MAX_ADDRESS_BITS}, got {address_bits}")
    workdir = tables.make_workdir(FLAGS.workdir)
    settings = {name: getattr(FLAGS, name) for name in ("neurons", "examples", "input_bits")}
    results = tables.Results(workdir, {"experiment": "benchmark", "config": settings, "seed": FLAGS.seed})
    print(f"{machine.device()}; {machine.versions()}; copy {copy_bandwidth() / 1e9:.1f} GB/s")
    native_too = backend.chosen() != "xla"
    cases = []
    if "orders" in FLAGS.table:
        cases += [
            f"orders:{way}:{operation}:{address_bits}"
            for address_bits in FLAGS.bits
            for way in WAYS
            for operation in OPERATIONS
            if (native_too or way != "native") and (way in ("xla", "native") or operation != "fused write")
        ]
    if "cells" in FLAGS.table:
        ways = ("xla", "native", "native one", "bound one") if native_too else ("xla",)
        cases += [f"cells:{way}:{kind}:{max(FLAGS.bits)}" for kind in CELLS for way in ways]
    if "search" in FLAGS.table:
        cases += [f"search:{way}:{kind}:{max(FLAGS.bits)}" for kind in CELLS for way in SEARCH_WAYS]
    found = {}
    for case in tqdm(cases, unit="case", leave=False):
        found[case] = run_child(case)
        results.add(case, **found[case])
    if "orders" in FLAGS.table:
        print_orders(found)
    if "cells" in FLAGS.table:
        print_cells(found)
    if "search" in FLAGS.table:
        print_search(found)


def run_child(case: str) -> dict[str, float]:
    names = ("neurons", "examples", "input_bits", "repeats", "seed")
    arguments = [f"--{name}={getattr(FLAGS, name)}" for name in names]
    command = [sys.executable, "-m", "experiments.benchmark", f"--case={case}", *arguments]
    table, way = case.split(":")[:2]
    on_native = way.startswith(("native", "bound"))
    env = {**os.environ}
    if table != "search":  # which runs where users' searches do
        env["WNN_JAX_BACKEND"] = "cpu" if on_native else "xla"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise ValueError(f"case {case} ended with {done.returncode}: {done.stderr[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def print_orders(found: dict[str, dict[str, float]]) -> None:
    names = ("T", "operation", "xla", "native", "flat", "floor", "flat/xla", "xla/floor", "flat/native")
    print(("{:>3} {:>12}" + " {:>11}" * 7).format(*names), " peak MiB: xla, native, flat")
    for address_bits in FLAGS.bits:
        for operation in OPERATIONS:
            plain = operation.removeprefix("fused ")
            cells = {way: f"orders:{way}:{operation}:{address_bits}" for way in ("xla", "native")}
            cells |= {way: f"orders:{way}:{plain}:{address_bits}" for way in ("flat", "floor")}
            ns = {way: found.get(case, {}).get("ns", float("nan")) for way, case in cells.items()}
            peaks = [found.get(cells[way], {}).get("peak_mib", 0) for way in ("xla", "native", "flat")]
            print(
                f"{address_bits:>3} {operation:>12} "
                + " ".join(f"{ns[way]:>8.2f} ns" for way in ("xla", "native", "flat", "floor"))
                + f" {ns['flat'] / ns['xla']:>11.1f} {ns['xla'] / ns['floor']:>11.1f}"
                + f" {ns['flat'] / ns['native']:>11.1f}  "
                + ", ".join(f"{peak:.0f}" for peak in peaks)
            )
    print(
        "xla, native: the library, neuron-major, on its two backends (nan: not installed).\n"
        "fused write: what fit_and_read pays, which keeps no table.\n"
        "flat: one table.at[neurons, addresses].add, or table[neurons, addresses]; the addresses "
        "[N, R] were there before the clock started.\n"
        "floor: XLA's same scatter or gather on one row already in cache, addresses given."
    )


def print_cells(found: dict[str, dict[str, float]]) -> None:
    address_bits = max(FLAGS.bits)
    names = ("cells", "xla", "native", "one thread", "bound", "xla/native", "one/native", "one/bound")
    print(("\n{:>14}" + " {:>11}" * 7).format(*names), " peak MiB: xla, native")
    ways = ("xla", "native", "native one", "bound one")
    for kind in CELLS:
        cases = {way: f"cells:{way}:{kind}:{address_bits}" for way in ways}
        peaks = [found.get(cases[way], {}).get("peak_mib", 0) for way in ("xla", "native")]
        ns = {way: found.get(case, {}).get("ns", float("nan")) for way, case in cases.items()}
        print(
            f"{kind:>14} "
            + " ".join(f"{value:>8.2f} ns" for value in ns.values())
            + f" {ns['xla'] / ns['native']:>11.1f} {ns['native one'] / ns['native']:>11.2f}"
            + f" {ns['native one'] / ns['bound one']:>11.1f}  {peaks[0]:.0f}, {peaks[1]:.0f}"
        )
        for way in ("xla", "native"):
            if cases[way] in found:
                seconds = found[cases[way]]["seconds"]
                results = 2 * FLAGS.neurons * FLAGS.examples / 1e9
                print(f"{'':>14} {way}: {seconds:.2f} s for {results:.2f} G lookups")
    print(
        f"Fused fit-and-read of {FLAGS.examples:,} and as many examples, T = {address_bits}; "
        f"xla and native use all {os.cpu_count()} cores.\n"
        "bound: one thread's random read-modify-write in a row of the size that the native kernel keeps, "
        "addresses for nothing."
    )


def print_search(found: dict[str, dict[str, float]]) -> None:
    names = ("cells", "full", "1 % mutants", "tabu", "mutants/full", "tabu/full")
    print(("\n{:>14}" + " {:>15}" * 5).format(*names), " s for the population in full")
    for kind in CELLS:
        rates = [found[f"search:{way}:{kind}:{max(FLAGS.bits)}"]["genomes_per_s"] for way in SEARCH_WAYS]
        columns = [f"{rate:>13,.1f}/s" for rate in rates] + [
            f"{rate / rates[0]:>14.1f}x" for rate in rates[1:]
        ]
        print(f"{kind:>14} {' '.join(columns)}  {SEARCH['population'] / rates[0]:.1f}")
    print(
        f"Genomes a second, {machine.backend_name()}: 16 clusters of {SEARCH['neurons']} neurons, "
        f"{SEARCH['train']:,} examples fitted and {SEARCH['scored']:,} scored.\n"
        f"full and mutants ({SEARCH['population']} children, 1 % of the neurons moved): cross-entropy "
        "and accuracy; tabu: 1,024 neighbours of one neuron, by cross-entropy."
    )


def run_search(way: str, kind: str, address_bits: int) -> dict[str, float]:
    """Genomes a second by full evaluation, or by what changed."""
    count, clusters = SEARCH["train"] + SEARCH["scored"], 16
    config = bitwise.BitwiseConfig(50_257, 4, SEARCH["neurons"], address_bits, memory=ram.RamConfig(kind))
    size = SEARCH["neurons"]
    objective = search.Objective(config, connectivity.Bounds(64, size, size, 4, address_bits))
    keys = jax.random.split(jax.random.key(FLAGS.seed), 6)
    tokens = jax.random.randint(keys[0], (count + 4,), 0, config.vocabulary)
    every = bitwise.examples(config, np.asarray(tokens))
    cut = SEARCH["train"]
    train = ram.Examples(every.words[:, :cut], every.targets[:, :cut])
    seed = ram.seeds(None, config.memory, clusters, size)
    data = search.Data(train, every.words[:, cut:], every.targets[:, cut:], seed)
    population = 1 if way == "tabu" else SEARCH["population"]
    genomes = jax.vmap(lambda key: bitwise.init(key, config))(jax.random.split(keys[1], population))

    def full(genomes, data):
        return search.evaluated(objective, data, genomes)

    if way == "full":
        seconds = timed(jax.jit(lambda _, data, genomes: full(genomes, data)), None, data, genomes)
        return _search_row(seconds, population)
    votes, _ = jax.jit(full)(genomes, data)
    if way == "mutants":
        moved = jax.random.bernoulli(keys[2], 0.01, genomes.shape[:3])[..., None]
        children = jnp.where(moved, genomes[::-1], genomes)

        def mutants(_, data, votes, genomes, children):
            new = search.revote(objective, data, votes, genomes, children)
            return search.score(objective, data, children, new)

        return _search_row(timed(jax.jit(mutants), None, data, votes, genomes, children), population)
    places = jnp.tile(jnp.arange(16), (1, clusters, 1))
    moves = connectivity.random(keys[3], clusters * 16, 4, address_bits, 64).reshape(1, clusters, 16, 4, -1)

    def neighbours(_, data, votes, genomes, places, moves):
        return search.neighbours(objective, data, genomes, votes, places, moves).change

    return _search_row(timed(jax.jit(neighbours), None, data, votes, genomes, places, moves), 1024)


def _search_row(seconds: list[float], genomes: int) -> dict[str, float]:
    best = min(seconds)
    return {"ns": best * 1e9, "genomes_per_s": genomes / best, "peak_mib": peak_memory() / 2**20}


def run_case(table: str, way: str, operation: str, address_bits: str) -> dict[str, float]:
    """Time one case here; ``peak_mib`` is this process's."""
    if way.endswith(" one") and hasattr(os, "sched_setaffinity"):
        # Before JAX sizes its pool of threads.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if table == "search":
        return run_search(way, operation, int(address_bits))
    if way == "bound one":
        return run_bound(int(PACKED[operation] * 2 ** int(address_bits)))
    neurons = FLAGS.neurons
    if table == "orders":
        neurons = max(2, min(neurons, TABLE_BYTES // ram.row_bytes(CONFIG, int(address_bits))))
    keys = jax.random.split(jax.random.key(FLAGS.seed), 3)
    words = jax.random.bits(keys[0], (-(-FLAGS.input_bits // 32), FLAGS.examples))
    targets = jax.random.bernoulli(keys[1], 0.5, (1, FLAGS.examples))
    train = ram.Examples(words, targets)
    drawn = connectivity.random(keys[2], 1, neurons, int(address_bits), FLAGS.input_bits)
    if table == "orders":
        seconds, pairs = WAYS[way](operation, drawn, train), neurons * FLAGS.examples
    else:
        seconds, pairs = fit_and_read(operation, drawn, train), 2 * neurons * FLAGS.examples
    return {
        "ns": min(seconds) / pairs * 1e9,
        "seconds": min(seconds),
        "neurons": neurons,
        "peak_mib": peak_memory() / 2**20,
    }


def run_bound(row_bytes: int) -> dict[str, float]:
    """What one thread needs for a random read-modify-write in a row of so many bytes."""
    backend.chosen()
    touches, tasks = 1 << 22, 8
    seconds = timed(jax.jit(lambda _: backend.touch(max(1, row_bytes), touches, tasks)), None)
    return {"ns": min(seconds) / (touches * tasks) * 1e9, "peak_mib": peak_memory() / 2**20}


def fit_and_read(kind: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """As many examples read as written, by any kind of cell."""
    drawn = split_clusters(drawn)
    train = train._replace(targets=jnp.repeat(train.targets, drawn.shape[0], axis=0))
    config = ram.RamConfig(kind)
    return timed(jax.jit(lambda _: ram.fit_and_read(None, config, drawn, train, train.words)), None)


def peak_memory() -> int:
    """Most bytes this process ever held."""
    try:
        # ru_maxrss would count what the parent held when it started this process.
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def timed(function: Callable, *arguments) -> list[float]:
    """Seconds of every repeat after one run that compiles; a result is fed back as first argument."""
    state, seconds = arguments[0], []
    for _ in range(FLAGS.repeats + 1):
        started = time.perf_counter()
        state = jax.block_until_ready(function(state, *arguments[1:]))
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def neuron_major(operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    # A cluster is limited in neurons only by its summed vote, which nothing here reads.
    drawn = split_clusters(drawn)
    clusters, neurons, address_bits = drawn.shape
    train = train._replace(targets=jnp.repeat(train.targets, clusters, axis=0))

    def write(table):
        return ram.write(None, CONFIG, table, drawn, train)

    def read(_, table):
        return ram.read(CONFIG, table, drawn, train.words)

    def fused(_):
        return ram.fit_and_read(None, CONFIG, drawn, train, train.words[:, :1])

    if operation == "fused write":
        return timed(jax.jit(fused), None)
    table = ram.init(CONFIG, clusters, neurons, address_bits)
    if operation == "write":
        return timed(jax.jit(write, donate_argnums=0), table)
    return timed(jax.jit(read), None, table)


def split_clusters(drawn: jax.Array) -> jax.Array:
    """``[1, R, T]`` to at least two clusters that a vote can count."""
    neurons = drawn.shape[1]
    clusters = next(k for k in range(2, neurons + 1) if neurons % k == 0 and neurons // k < 1024)
    return drawn.reshape(clusters, neurons // clusters, -1)


def flat(operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """What one writes first: all addresses as ``[N, R]``, then one scatter or gather.

    The addresses are made beforehand and not timed, which flatters this way.
    """
    connections = drawn[0]
    neurons, address_bits = connections.shape
    amount = 2 * train.targets[0].astype(jnp.int32)[:, None] - 1
    column = jnp.arange(neurons)
    # One neuron at a time, into place: the [N, R, T] bits, or a transposed copy, would not fit.
    address = jax.lax.fori_loop(
        0,
        neurons,
        lambda r, made: made.at[:, r].set(ram.addresses(train.words, connections[r])),
        jnp.zeros((FLAGS.examples, neurons), jnp.int32),
    )

    def write(table, address):
        return table.at[column, address].add(amount)

    def read(_, table, address):
        return table[column, address].sum(axis=1)

    table = jnp.zeros((neurons, 1 << address_bits), jnp.int32)
    if operation == "write":
        return timed(jax.jit(write, donate_argnums=0), table, address)
    return timed(jax.jit(read), None, table, address)


def floor(operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """No neuron can cost less: its addresses are given and its row has just been used."""
    neurons, address_bits = drawn.shape[1:]
    address = [ram.addresses(train.words, connections) for connections in drawn[0, :2]]
    amount = 2 * train.targets[0].astype(jnp.int32) - 1

    def write(rows):
        def step(i, rows):
            lanes = zip(rows, address, strict=True)
            return [row.at[a ^ (i & 1)].add(amount) for row, a in lanes]

        return jax.lax.fori_loop(0, neurons // 2, step, rows)

    def read(_, rows):
        def step(i, totals):
            lanes = zip(totals, rows, address, strict=True)
            return [total + row[a ^ (i & 1)] for total, row, a in lanes]

        return jax.lax.fori_loop(0, neurons // 2, step, [jnp.zeros_like(a) for a in address])

    rows = [jnp.zeros(1 << address_bits, jnp.int32) for _ in address]
    if operation == "write":
        return timed(jax.jit(write, donate_argnums=0), rows)
    return timed(jax.jit(read), None, rows)


WAYS = {"xla": neuron_major, "native": neuron_major, "flat": flat, "floor": floor}


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of one thread copying 512 MiB."""
    source = np.ones(1 << 26)
    target = np.empty_like(source)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


if __name__ == "__main__":
    base.run(main)
