"""Time table work neuron-major against the naive way, and against what memory allows.

python -m experiments.benchmark

Every case runs in a process of its own, so that its peak memory is its own. Times are nanoseconds
per (neuron, example) pair; ratios compare cases of the same run.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

from tqdm import tqdm

from experiments.benchmarking import cases
from experiments.shared import machine, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import ram
from wnn_jax.ram import backend

Found = dict[str, dict[str, float]]  # the numbers of every case, by its name


@dataclasses.dataclass(frozen=True)
class Choice:
    """The choice of what is timed.

    Attributes:
      bits: address bits T of a neuron.
      table: tables to print.
      case: one case as TABLE:WAY:OPERATION:T, timed in this process, printed as JSON.
    """

    bits: tuple[int, ...] = (12, 16, 20)
    table: tuple[Literal["orders", "cells", "search"], ...] = ("orders", "cells", "search")
    case: str | None = None


def main(options: Any) -> None:
    sizes, choice, seed = options.sizes, options.choice, options.common.seed
    if choice.case:
        print(json.dumps(cases.run_case(sizes, seed, *choice.case.split(":"))))
        return
    most = min(ram.MAX_ADDRESS_BITS, sizes.input_bits)
    for address_bits in choice.bits:
        if not 1 <= address_bits <= most:
            raise ValueError(f"--bits must be 1 to {most}, got {address_bits}")
    workdir = tables.make_workdir(options.common.workdir)
    settings = dataclasses.asdict(sizes)
    results = tables.Results(workdir, {"experiment": "benchmark", "config": settings, "seed": seed})
    print(f"{machine.device()}; {machine.versions()}; copy {cases.copy_bandwidth() / 1e9:.1f} GB/s")
    found: Found = {}
    for case in tqdm(plan(choice), unit="case", leave=False):
        found[case] = run_child(case, sizes, seed)
        results.add(case, **found[case])
    if "orders" in choice.table:
        print_orders(choice.bits, found)
    if "cells" in choice.table:
        print_cells(choice.bits, sizes, found)
    if "search" in choice.table:
        print_search(choice.bits, found)


def plan(choice: Choice) -> list[str]:
    """The cases of the tables that are printed."""
    native_too, most, planned = backend.chosen() != "xla", max(choice.bits), []
    if "orders" in choice.table:
        planned += [
            f"orders:{way}:{operation}:{address_bits}"
            for address_bits in choice.bits
            for way in cases.WAYS
            for operation in cases.OPERATIONS
            if (native_too or way != "native") and (way in ("xla", "native") or operation != "fused write")
        ]
    if "cells" in choice.table:
        ways = ("xla", "native", "native one", "bound one") if native_too else ("xla",)
        planned += [f"cells:{way}:{kind}:{most}" for kind in cases.CELLS for way in ways]
    if "search" in choice.table:
        planned += [f"search:{way}:{kind}:{most}" for kind in cases.CELLS for way in cases.SEARCH_WAYS]
    return planned


def run_child(case: str, sizes: cases.Sizes, seed: int) -> dict[str, float]:
    arguments = [f"--{name}={value}" for name, value in dataclasses.asdict(sizes).items()]
    command = [sys.executable, "-m", "experiments.benchmark", f"--case={case}", f"--seed={seed}", *arguments]
    table, way = case.split(":")[:2]
    on_native = way.startswith(("native", "bound"))
    env = {**os.environ}
    if table != "search":  # which runs where users' searches do
        env["WNN_JAX_BACKEND"] = "cpu" if on_native else "xla"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise ValueError(f"case {case} ended with {done.returncode}: {done.stderr[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def print_orders(bits: Sequence[int], found: dict[str, dict[str, float]]) -> None:
    heads = ("T", "operation", "xla", "native", "flat", "floor", "flat/xla", "xla/floor", "flat/native")
    print(("{:>3} {:>12}" + " {:>11}" * 7).format(*heads), " peak MiB: xla, native, flat")
    for address_bits in bits:
        for operation in cases.OPERATIONS:
            plain = operation.removeprefix("fused ")
            names = {way: f"orders:{way}:{operation}:{address_bits}" for way in ("xla", "native")}
            names |= {way: f"orders:{way}:{plain}:{address_bits}" for way in ("flat", "floor")}
            ns = {way: found.get(case, {}).get("ns", float("nan")) for way, case in names.items()}
            peaks = [found.get(names[way], {}).get("peak_mib", 0) for way in ("xla", "native", "flat")]
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


def print_cells(bits: Sequence[int], sizes: cases.Sizes, found: dict[str, dict[str, float]]) -> None:
    address_bits = max(bits)
    heads = ("cells", "xla", "native", "one thread", "bound", "xla/native", "one/native", "one/bound")
    print(("\n{:>14}" + " {:>11}" * 7).format(*heads), " peak MiB: xla, native")
    ways = ("xla", "native", "native one", "bound one")
    for kind in cases.CELLS:
        names = {way: f"cells:{way}:{kind}:{address_bits}" for way in ways}
        peaks = [found.get(names[way], {}).get("peak_mib", 0) for way in ("xla", "native")]
        ns = {way: found.get(case, {}).get("ns", float("nan")) for way, case in names.items()}
        print(
            f"{kind:>14} "
            + " ".join(f"{value:>8.2f} ns" for value in ns.values())
            + f" {ns['xla'] / ns['native']:>11.1f} {ns['native one'] / ns['native']:>11.2f}"
            + f" {ns['native one'] / ns['bound one']:>11.1f}  {peaks[0]:.0f}, {peaks[1]:.0f}"
        )
        for way in ("xla", "native"):
            if names[way] in found:
                seconds = found[names[way]]["seconds"]
                results = 2 * sizes.neurons * sizes.examples / 1e9
                print(f"{'':>14} {way}: {seconds:.2f} s for {results:.2f} G lookups")
    print(
        f"Fused fit-and-read of {sizes.examples:,} and as many examples, T = {address_bits}; "
        f"xla and native use all {os.cpu_count()} cores.\n"
        "bound: one thread's random read-modify-write in a row of the size that the native kernel keeps, "
        "addresses for nothing."
    )


def print_search(bits: Sequence[int], found: dict[str, dict[str, float]]) -> None:
    names = ("cells", "full", "1 % mutants", "tabu", "mutants/full", "tabu/full")
    print(("\n{:>14}" + " {:>15}" * 5).format(*names), " s for the population in full")
    for kind in cases.CELLS:
        rates = [found[f"search:{way}:{kind}:{max(bits)}"]["genomes_per_s"] for way in cases.SEARCH_WAYS]
        columns = [f"{rate:>13,.1f}/s" for rate in rates] + [
            f"{rate / rates[0]:>14.1f}x" for rate in rates[1:]
        ]
        print(f"{kind:>14} {' '.join(columns)}  {cases.SEARCH['population'] / rates[0]:.1f}")
    print(
        f"Genomes a second, {machine.backend_name()}: 16 clusters of {cases.SEARCH['neurons']} neurons, "
        f"{cases.SEARCH['train']:,} examples fitted and {cases.SEARCH['scored']:,} scored.\n"
        f"full and mutants ({cases.SEARCH['population']} children, 1 % of the neurons moved): cross-entropy "
        "and accuracy; tabu: 1,024 neighbours of one neuron, by cross-entropy."
    )


COMMAND = Command(
    "benchmark", __doc__, main, sizes=Group(cases.Sizes), choice=Group(Choice, repeats=("bits", "table"))
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
