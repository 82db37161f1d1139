"""Time the work on tables, neuron by neuron, beside the naive way and beside the limit of the memory.

python -m experiments.benchmark

Each case runs in its own process, so that its peak memory can be measured. Times are in nanoseconds for each
pair of a neuron and an example. Ratios compare cases of the same run.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

from experiments.benchmarking import cases
from experiments.shared import bars, machine, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, ram
from wnn_jax.ram import backend

Found = dict[str, dict[str, float]]  # the numbers of each case, by the name of the case


@dataclasses.dataclass(frozen=True)
class Choice:
    """The cases to time.

    Attributes:
      bits: the numbers of address bits T of a neuron.
      table: the tables to print. classify is the rows that classifiers learn and classify in a second; export
        is what exported classifiers cost; chain what a second thread of the chain model is worth, and what
        it takes to forget a document; watching the time that commands spend on showing their steps.
      case: a single case, as TABLE:WAY:OPERATION:T; it is timed in this process and printed as JSON.

    Raises:
      ValueError: a value is out of range.
    """

    bits: tuple[int, ...] = (12, 16, 20)
    table: tuple[Literal["orders", "cells", "search", "classify", "export", "chain", "watching"], ...] = (
        "orders",
        "cells",
        "search",
    )
    case: str | None = None

    def __post_init__(self):
        checks.fields(self, bits=checks.Limits(least=1, most=ram.MAX_ADDRESS_BITS))


def main(options: Any) -> None:
    sizes, choice, seed = options.sizes, options.choice, options.common.seed
    if choice.case:
        print(json.dumps(cases.run_case(sizes, seed, *choice.case.split(":"))))
        return
    most = min(ram.MAX_ADDRESS_BITS, sizes.input_bits)
    for address_bits in choice.bits:
        if not 1 <= address_bits <= most:
            raise ValueError(f"--bits must be 1 to {most}, got {address_bits}: change --bits or --input_bits")
    workdir = tables.make_workdir(options.common.workdir)
    settings = dataclasses.asdict(sizes)
    results = tables.Results(workdir, {"experiment": "benchmark", "config": settings, "seed": seed})
    print(f"{machine.device()}; {machine.versions()}; copy {cases.copy_bandwidth() / 1e9:.1f} GB/s")
    found: Found = {}
    for case in bars.each(plan(choice), "benchmark", "case"):
        found[case] = run_child(case, sizes, seed)
        results.add(case, **found[case])
    if "orders" in choice.table:
        print_orders(choice.bits, found)
    if "cells" in choice.table:
        print_cells(choice.bits, sizes, found)
    if "search" in choice.table:
        print_search(choice.bits, found)
    for table, module in cases.OTHERS.items():
        if table in choice.table:
            module.show(found)


def plan(choice: Choice) -> list[str]:
    """List the cases of the tables that are printed."""
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
    for table, module in cases.OTHERS.items():
        if table in choice.table:
            planned += module.planned()
    return planned


def run_child(case: str, sizes: cases.Sizes, seed: int) -> dict[str, float]:
    """Time one case in a new process and return its numbers.

    Raises:
      ValueError: the process ended with an error.
    """
    arguments = [f"--{name}={value}" for name, value in dataclasses.asdict(sizes).items()]
    command = [sys.executable, "-m", "experiments.benchmark", f"--case={case}", f"--seed={seed}", *arguments]
    table, way = case.split(":")[:2]
    on_native = way.startswith(("native", "bound"))
    env = {**os.environ}
    if table not in ("search", *cases.OTHERS):  # these run on the default backend, as a user's do
        env["WNN_JAX_BACKEND"] = "cpu" if on_native else "xla"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode == -signal.SIGKILL:
        raise ValueError(f"case {case} was killed, for want of memory: lower --neurons, --examples or --bits")
    if done.returncode:
        raise ValueError(f"case {case} ended with {done.returncode}: {done.stderr[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def print_orders(bits: Sequence[int], found: dict[str, dict[str, float]]) -> None:
    """Print the table of writes and lookups, neuron by neuron and in the naive order."""
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
        "xla, native: the library on its two backends, neuron by neuron (nan: not installed).\n"
        "fused write: the write inside fit_and_read, which keeps no table.\n"
        "flat: one table.at[neurons, addresses].add, or table[neurons, addresses]; the time to compute "
        "the addresses [N, R] is not counted.\n"
        "floor: the same scatter or gather of XLA on one row that is in the cache already, addresses given."
    )


def print_cells(bits: Sequence[int], sizes: cases.Sizes, found: dict[str, dict[str, float]]) -> None:
    """Print the table of fitting and reading by the kind of cell."""
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
        f"Fused fit and read: {sizes.examples:,} examples fitted and as many read, T = {address_bits}; "
        f"xla and native use all {os.cpu_count()} cores.\n"
        "bound: random read-modify-writes of one thread in a row of the size that the native kernel keeps; "
        "the addresses cost nothing."
    )


def print_search(bits: Sequence[int], found: dict[str, dict[str, float]]) -> None:
    """Print the table of genomes a second by the kind of cell."""
    names = ("cells", "full", "1 % mutants", "tabu", "mutants/full", "tabu/full")
    print(("\n{:>14}" + " {:>15}" * 5).format(*names), " s for a full population")
    for kind in cases.CELLS:
        rates = [found[f"search:{way}:{kind}:{max(bits)}"]["genomes_per_s"] for way in cases.SEARCH_WAYS]
        columns = [f"{rate:>13,.1f}/s" for rate in rates] + [
            f"{rate / rates[0]:>14.1f}x" for rate in rates[1:]
        ]
        print(f"{kind:>14} {' '.join(columns)}  {cases.SEARCH['population'] / rates[0]:.1f}")
    print(
        f"Genomes a second, {machine.backend_name()}: 16 clusters of {cases.SEARCH['neurons']} neurons, "
        f"{cases.SEARCH['train']:,} examples fitted and {cases.SEARCH['scored']:,} scored.\n"
        f"full: {cases.SEARCH['population']} genomes; mutants: as many children, with 1 % of the neurons "
        "changed; both by cross-entropy and accuracy. tabu: 1,024 neighbours of a genome, one neuron "
        "changed, by cross-entropy."
    )


COMMAND = Command(
    "benchmark", __doc__, main, sizes=Group(cases.Sizes), choice=Group(Choice, repeats=("bits", "table"))
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
