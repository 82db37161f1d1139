"""The cases that `experiments.benchmark` times. Each case runs in its own process."""

import dataclasses
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarking import chain, classify, export, watching
from wnn_jax import checks, ram, search
from wnn_jax.lm import bitwise, objective
from wnn_jax.ram import backend, connectivity
from wnn_jax.search import evaluate

# Tables that are not of RAM neurons: each module lists its cases, runs one and shows all.
OTHERS = {"classify": classify, "export": export, "chain": chain, "watching": watching}
OPERATIONS = ("fused write", "write", "lookup")
CELLS: tuple[ram.CellKind, ...] = ("ternary", "count", "quad_weighted")
TABLE_BYTES = 1 << 32
CONFIG = ram.RamConfig("ternary")
# The setting of the predecessor's search: a genome of 16 clusters of 200 neurons of 20 bits, scored on GPT-2
# ids. The predecessor's published speed is 50 genomes in 42 s on 16 CPU and 40 GPU cores.
SEARCH = {"train": 67_000, "scored": 47_000, "neurons": 200, "population": 50}
SEARCH_WAYS = ("full", "mutants", "tabu")
# Bytes of a cell in the row that the native fused kernel keeps (metal_ext/src/row.h).
PACKED = {"ternary": 2.0, "count": 4.0, "quad_weighted": 0.25}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The amount of work that is timed.

    Attributes:
      neurons: the number of neurons; fewer are used if their tables would exceed 4 GiB.
      examples: the number of examples written and read.
      input_bits: the number of input bits of an example.
      repeats: the number of timed runs of each case; the fastest counts.

    Raises:
      ValueError: a number is below 1.
    """

    neurons: int = 3200
    examples: int = 100_000
    input_bits: int = 64
    repeats: int = 3

    def __post_init__(self):
        some = checks.Limits(least=1)
        checks.fields(self, neurons=some, examples=some, input_bits=some, repeats=some)


def run_search(sizes: Sizes, seed: int, way: str, kind: ram.CellKind, address_bits: int) -> dict[str, float]:
    """Time the evaluation of genomes, in full or of the changed neurons only."""
    count, clusters = SEARCH["train"] + SEARCH["scored"], 16
    config = bitwise.BitwiseConfig(50_257, 4, SEARCH["neurons"], address_bits, memory=ram.RamConfig(kind))
    size = SEARCH["neurons"]
    bounds = search.Bounds(64, max_neurons=size, max_bits=address_bits, min_neurons=size, min_bits=4)
    evaluator = search.Evaluator(objective.BitwiseObjective(config, bounds))
    keys = jax.random.split(jax.random.key(seed), 6)
    tokens = jax.random.randint(keys[0], (count + 4,), 0, config.vocabulary)
    every = bitwise.examples(config, np.asarray(tokens))
    cut = SEARCH["train"]
    train = ram.Examples(every.words[:, :cut], every.targets[:, :cut])
    seeds = ram.seeds(None, config.memory, clusters, size)
    fold = search.Fold(train, every.words[:, cut:], every.targets[:, cut:], seeds)
    population = 1 if way == "tabu" else SEARCH["population"]
    genomes = jax.vmap(lambda key: bitwise.init(key, config))(jax.random.split(keys[1], population))

    def full(genomes, fold):
        return evaluate.evaluated(evaluator, fold, genomes)

    if way == "full":
        seconds = timed(sizes, jax.jit(lambda _, fold, genomes: full(genomes, fold)), None, fold, genomes)
        return _search_row(seconds, population)
    votes, _ = jax.jit(full)(genomes, fold)
    if way == "mutants":
        moved = jax.random.bernoulli(keys[2], 0.01, genomes.shape[:3])[..., None]
        children = jnp.where(moved, genomes[::-1], genomes)

        def mutants(_, fold, votes, genomes, children):
            new = evaluate.revote(evaluator, fold, votes, genomes, children)
            return evaluate.score(evaluator, fold, children, new)

        return _search_row(timed(sizes, jax.jit(mutants), None, fold, votes, genomes, children), population)
    places = jnp.tile(jnp.arange(16), (1, clusters, 1))
    moves = connectivity.random(keys[3], clusters * 16, 4, address_bits, 64).reshape(1, clusters, 16, 4, -1)

    def neighbours(_, fold, votes, genomes, places, moves):
        return evaluate.neighbours(evaluator, fold, genomes, votes, places, moves).change

    return _search_row(timed(sizes, jax.jit(neighbours), None, fold, votes, genomes, places, moves), 1024)


def _search_row(seconds: list[float], genomes: int) -> dict[str, float]:
    best = min(seconds)
    return {"ns": best * 1e9, "genomes_per_s": genomes / best, "peak_mib": peak_memory() / 2**20}


def run_case(
    sizes: Sizes, seed: int, table: str, way: str, operation: Any, address_bits: str
) -> dict[str, float]:
    """Time one case in this process; ``peak_mib`` is the peak memory of the process."""
    if (way.endswith(" one") or table == "classify") and hasattr(os, "sched_setaffinity"):
        # JAX sizes its pool of threads by the cores it finds, so they are limited before its first use.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if table == "search":
        return run_search(sizes, seed, way, operation, int(address_bits))
    if table in OTHERS:
        return OTHERS[table].run(seed, way, operation)
    if way == "bound one":
        return run_bound(sizes, int(PACKED[operation] * 2 ** int(address_bits)))
    neurons = sizes.neurons
    if table == "orders":
        neurons = max(2, min(neurons, TABLE_BYTES // ram.row_bytes(CONFIG, int(address_bits))))
    keys = jax.random.split(jax.random.key(seed), 3)
    words = jax.random.bits(keys[0], (-(-sizes.input_bits // 32), sizes.examples))
    targets = jax.random.bernoulli(keys[1], 0.5, (1, sizes.examples))
    train = ram.Examples(words, targets)
    drawn = connectivity.random(keys[2], 1, neurons, int(address_bits), sizes.input_bits)
    if table == "orders":
        seconds, pairs = WAYS[way](sizes, operation, drawn, train), neurons * sizes.examples
    else:
        seconds, pairs = fit_and_read(sizes, operation, drawn, train), 2 * neurons * sizes.examples
    return {
        "ns": min(seconds) / pairs * 1e9,
        "seconds": min(seconds),
        "neurons": neurons,
        "peak_mib": peak_memory() / 2**20,
    }


def run_bound(sizes: Sizes, row_bytes: int) -> dict[str, float]:
    """Time the random read-modify-writes of one thread in a row of ``row_bytes`` bytes."""
    backend.chosen()
    touches, tasks = 1 << 22, 8
    seconds = timed(sizes, jax.jit(lambda _: backend.touch(max(1, row_bytes), touches, tasks)), None)
    return {"ns": min(seconds) / (touches * tasks) * 1e9, "peak_mib": peak_memory() / 2**20}


def fit_and_read(sizes: Sizes, kind: ram.CellKind, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """Time `ram.fit_and_read` with cells of one kind; as many examples are read as written."""
    drawn = split_clusters(drawn)
    train = train._replace(targets=jnp.repeat(train.targets, drawn.shape[0], axis=0))
    config = ram.RamConfig(kind)
    return timed(sizes, jax.jit(lambda _: ram.fit_and_read(None, config, drawn, train, train.words)), None)


def peak_memory() -> int:
    """Return the largest number of bytes that this process ever held."""
    try:
        # ru_maxrss would include the memory of the parent at the start of this process.
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def timed(sizes: Sizes, function: Callable, *arguments) -> list[float]:
    """Return the seconds of each repeat, after a first run that compiles.

    The result of a run is the first argument of the next one.
    """
    state, seconds = arguments[0], []
    for _ in range(sizes.repeats + 1):
        started = time.perf_counter()
        state = jax.block_until_ready(function(state, *arguments[1:]))
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def neuron_major(sizes: Sizes, operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """Time the way of the library: one neuron after another."""
    # The sum of votes limits the size of a cluster: the neurons are split, although no vote is read here.
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
        return timed(sizes, jax.jit(fused), None)
    table = ram.init(CONFIG, clusters, neurons, address_bits)
    if operation == "write":
        return timed(sizes, jax.jit(write, donate_argnums=0), table)
    return timed(sizes, jax.jit(read), None, table)


def split_clusters(drawn: jax.Array) -> jax.Array:
    """Split connections ``[1, R, T]`` into two or more equal clusters of fewer than 1,024 neurons."""
    neurons = drawn.shape[1]
    clusters = next(k for k in range(2, neurons + 1) if neurons % k == 0 and neurons // k < 1024)
    return drawn.reshape(clusters, neurons // clusters, -1)


def flat(sizes: Sizes, operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """Time the naive way: all addresses ``[N, R]`` first, then one scatter or gather.

    The time to compute the addresses is not counted, which favours this way.
    """
    connections = drawn[0]
    neurons, address_bits = connections.shape
    amount = 2 * train.targets[0].astype(jnp.int32)[:, None] - 1
    column = jnp.arange(neurons)
    # One neuron at a time, in place: the bits [N, R, T], or a transposed copy, would not fit into memory.
    address = jax.lax.fori_loop(
        0,
        neurons,
        lambda r, made: made.at[:, r].set(ram.addresses(train.words, connections[r])),
        jnp.zeros((sizes.examples, neurons), jnp.int32),
    )

    def write(table, address):
        return table.at[column, address].add(amount)

    def read(_, table, address):
        return table[column, address].sum(axis=1)

    table = jnp.zeros((neurons, 1 << address_bits), jnp.int32)
    if operation == "write":
        return timed(sizes, jax.jit(write, donate_argnums=0), table, address)
    return timed(sizes, jax.jit(read), None, table, address)


def floor(sizes: Sizes, operation: str, drawn: jax.Array, train: ram.Examples) -> list[float]:
    """Time a lower bound for a neuron: its addresses are given and its row is in the cache already."""
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
        return timed(sizes, jax.jit(write, donate_argnums=0), rows)
    return timed(sizes, jax.jit(read), None, rows)


WAYS = {"xla": neuron_major, "native": neuron_major, "flat": flat, "floor": floor}


def copy_bandwidth() -> float:
    """Return the bytes a second, read and written, of one thread that copies 512 MiB."""
    source = np.ones(1 << 26)
    target = np.empty_like(source)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)
