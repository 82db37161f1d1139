"""Which rows may be compared: those of the same test text, tokens, kind and number of seeds."""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import measures
from experiments.reporting.measures import Measure
from experiments.reporting.reading import Run

# Trivial systems of a task: counts of the training text, constants, and programs of others.
_BASELINE = re.compile(
    r"uniform|bit marginals|unigram|bigram|trigram|Kneser-Ney|majority$|mean$|ridge|logistic regression"
    r"|linear|\d+ nearest|random forest|wisardpkg|always |copy of a rating|user (mean|median)|item-kNN"
    r"|matrix factorisation|gzip|bzip2|xz |zstd|zpaq"
)
# Baselines that count the training text: no seed decides their numbers.
_UNSEEDED = re.compile(r"uniform|bit marginals|unigram|bigram|trigram|Kneser-Ney")
_NOT_HONEST = re.compile(r"oracle|leaky|not a model")
_START = re.compile(r"(.*), random$")  # the model that a search began with
_TEXT = ("corpus", "eval_corpus", "tokenizer", "overlap")
_DEFAULTS = {"corpus": "builtin", "tokenizer": "bytes", "eval_corpus": None, "overlap": "refuse"}
_SAME = 1e-3  # relative; values of an unseeded baseline that are further apart tell of two texts

Context = tuple[tuple[str, str], ...]


@dataclasses.dataclass
class System:
    """One row of a table: the rows of one model, one a seed.

    Attributes:
      name: the name of its rows.
      runs: the names of the runs that they are of.
      seeds: the seeds that they are of.
      records: the rows.
      baseline: whether it is a trivial baseline of the task.
      honest: whether it may be the best: it reads nothing that a model may not read.
      bases: the names of the runs without their seeds.
    """

    name: str
    runs: list[str]
    seeds: list[Any]
    records: list[Mapping[str, Any]]
    baseline: bool
    honest: bool
    bases: list[str] = dataclasses.field(default_factory=list)

    @property
    def seeded(self) -> bool:
        """Whether a seed decides its numbers."""
        return not _UNSEEDED.match(self.name)

    def values(self, key: str) -> list[float]:
        """The numbers under a key, of those rows that have one."""
        return [float(row[key]) for row in self.records if measures.is_number(row.get(key))]

    def mean(self, key: str) -> float | None:
        """The mean of the numbers under a key; None where no row has one."""
        found = self.values(key)
        return float(np.mean(found)) if found else None


@dataclasses.dataclass
class Table:
    """Rows that may be compared.

    Attributes:
      number: the number of the table on the page, from 1.
      context: what all rows share, by its name: the test text, the tokens, the kind, the number of seeds.
      measure: what ranks the rows.
      systems: the baselines, and then the others, best first.
      best: the position of the best honest system; None where there is none.
      warnings: what speaks against a comparison, in sentences.
      why: why the rows of the nearest other table stand there.
    """

    number: int
    context: Context
    measure: Measure
    systems: list[System]
    best: int | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    why: str = ""

    @property
    def title(self) -> str:
        """The text and the numbers that were tested, in words."""
        shown = dict(self.context)
        return f"{shown.pop('test text')}: {', '.join(shown.values())}"


def tables(runs: Sequence[Run]) -> tuple[list[Table], list[str]]:
    """Sort all rows of quality into tables of rows that may be compared.

    Args:
      runs: the runs.

    Returns:
      The tables, and a line for each reason why rows are in none.
    """
    groups: dict[tuple[Context, str], dict[tuple, System]] = {}
    unranked: dict[str, int] = {}
    for run in runs:
        own = _settings(run)
        for record in run.records():
            measure = measures.ranking(record)
            reason = unfit(record, measure)
            if measure is None or reason:
                unranked[reason] = unranked.get(reason, 0) + 1
                continue
            systems = groups.setdefault((context(record), measure.key), {})
            _add(systems, run, own, record)
    found = [table for (shared, key), systems in groups.items() for table in _split(shared, key, systems)]
    found.sort(key=lambda table: (-len(table.systems), table.context))
    for number, table in enumerate(found, 1):
        table.number = number
    for table in found:
        table.why = _why(table, found)
    return found, [f"{count:,} rows: {reason}" for reason, count in unranked.items()]


def unfit(record: Mapping[str, Any], measure: Measure | None) -> str:
    """Why a row is in no ranking; empty where it may be in one."""
    if measure is None:
        return "they hold no cross-entropy, accuracy, R² or size of a file"
    if record.get("experiment") == "benchmark":
        return "they are times of a machine"
    if "source" in record:
        return "they are stated elsewhere, or of another program"
    if "nats_of_code" in record:
        return "they are of models of different training texts, before and after forgetting"
    if measures.is_number(record.get("tokens")):
        return "they are of growing parts of a training text; the pictures show them as curves"
    if str(record["row"]).startswith("choice"):
        return "they are scored on held-out training rows, not on test rows"
    return ""


def context(record: Mapping[str, Any]) -> Context:
    """The facts that a row shares with all rows that it may be compared with, but for the number of seeds."""
    if "file" in record:
        shown = {"test text": str(record["file"]), "size": f"{measures.write(record.get('size'))} bytes"}
    elif isinstance(record.get("data"), str):
        shown = {"test text": record["data"]}
        if "protocol" in record:
            shown["protocol"] = f"protocol {record['protocol']}"
            shown["shown"] = f"{measures.write(record.get('shown'))} shown"
        elif ": " in str(record["row"]):  # the rows of one study have one word before the colon
            shown["study"] = str(record["row"]).partition(": ")[0]
    else:
        shown = _tested_text(record)
    if "ce" in record:
        shown["kind"] = str(record.get("kind") or "static")
    return tuple((key, value[:300]) for key, value in shown.items())


def _tested_text(record: Mapping[str, Any]) -> dict[str, str]:
    config = record.get("config")
    given = config.get("text") if isinstance(config, Mapping) else None
    text = given if isinstance(given, Mapping) else flags(record.get("command"))
    known = {key: text.get(key, default) for key, default in _DEFAULTS.items()}
    if not any(
        key in text for key in _TEXT
    ):  # nothing says which text it is: a run is comparable with itself
        known = {
            "corpus": f"the text of {record.get('experiment', 'a run')} of {record.get('time', 'no time')}"
        }
    words = [f"{known['corpus']}"]
    if known.get("eval_corpus"):
        words.append(f"tested on {known['eval_corpus']}")
    if known.get("overlap") == "drop":
        words.append("shared lines dropped")
    shown = {"test text": ", ".join(words)}
    if "tokenizer" in known:
        shown["tokenizer"] = f"tokenizer {known['tokenizer']}"
    shown["scored tokens"] = f"{measures.write(record.get('eval_tokens'))} scored tokens"
    shown["training tokens"] = f"{measures.write(record.get('train_tokens'))} training tokens"
    return shown


def flags(command: Any) -> dict[str, str]:
    """The flags of a command line, by their names; none where it is no command line."""
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return {}
    found = (re.fullmatch(r"--(\w+)=(.*)", word, re.S) for word in words)
    return {match[1]: match[2] for match in found if match}


def _settings(run: Run) -> str:
    """A text that runs share which differ in the seed alone."""
    if "@" in run.name:
        return run.base
    config = run.head.get("config")
    if not isinstance(config, Mapping):
        return run.name
    return json.dumps({key: value for key, value in config.items() if key != "seed"}, sort_keys=True)


def _add(systems: dict[tuple, System], run: Run, settings: str, record: Mapping[str, Any]) -> None:
    """Add a row to its system: the next seed of one, or a new one."""
    name, seed = str(record["row"]), record.get("seed", 0)
    baseline = bool(_BASELINE.match(name))
    if _UNSEEDED.match(name):
        system = systems.setdefault((name,), System(name, [], [], [], True, True))
        _note(system, run, seed, record)
        return
    size = record.get("size")
    for again in range(len(systems) + 1):
        key = name, settings, json.dumps(size), again
        if key not in systems:
            systems[key] = System(name, [], [], [], baseline, not _NOT_HONEST.search(name))
        if seed not in systems[key].seeds:
            seeds = record.get("seeds")
            for one in seeds if isinstance(seeds, list) and seeds else [seed]:
                _note(systems[key], run, one, record)
            return


def _note(system: System, run: Run, seed: Any, record: Mapping[str, Any]) -> None:
    if run.name not in system.runs:
        system.runs.append(run.name)
    if run.base not in system.bases:
        system.bases.append(run.base)
    if seed not in system.seeds:
        system.seeds.append(seed)
        if record is not (system.records or [None])[-1]:  # one row may stand for the mean of several seeds
            system.records.append(record)


def _split(shared: Context, key: str, systems: Mapping[tuple, System]) -> list[Table]:
    """The tables of one context: one for each number of seeds, each with the baselines that have none."""
    measure = next(one for one in measures.RANKED if one.key == key)
    unseeded = [one for one in systems.values() if not one.seeded]
    others = [one for one in systems.values() if one.seeded]
    counts = sorted({len(one.seeds) for one in others}) or [max(len(one.seeds) for one in unseeded)]
    made = []
    for count in counts:
        chosen = unseeded + [one for one in others if len(one.seeds) == count]
        sign = 1 if measure.lower else -1
        chosen.sort(key=lambda one: (not one.baseline, sign * (one.mean(key) or 0.0)))
        seeds = "1 seed" if count == 1 else f"{count} seeds"
        table = Table(0, (*shared, ("number of seeds", seeds)), measure, chosen)
        table.warnings = [_apart(one, measure) for one in unseeded if _apart(one, measure)] + _texts(chosen)
        honest = [i for i, one in enumerate(chosen) if one.honest and not one.baseline]
        table.best = honest[0] if honest and not table.warnings else None
        made.append(table)
    return made


def _apart(system: System, measure: Measure) -> str:
    """A warning where a baseline without a seed has two values; empty where it has one."""
    found = system.values(measure.key)
    low, high = min(found), max(found)
    if high - low <= _SAME * abs(high):
        return ""
    return (
        f"{system.name} has values from {measure.write(low)} to {measure.write(high)} in "
        f"{', '.join(system.runs)}: these runs do not have the same text, so no row is marked as the best"
    )


def _texts(systems: Sequence[System]) -> list[str]:
    """A warning where rows hold digests of different scored tokens; rows of earlier versions hold none."""
    found: dict[str, list[str]] = {}
    for system in systems:
        for record in system.records:
            if isinstance(record.get("scored_sha256"), str):
                found.setdefault(record["scored_sha256"], []).extend(system.runs)
    if len(found) < 2:
        return []
    sides = " and ".join(f"{', '.join(dict.fromkeys(runs))} ({digest[:8]})" for digest, runs in found.items())
    return [f"{sides} scored other tokens under the same name of a text: no row is marked as the best"]


def _why(table: Table, others: Sequence[Table]) -> str:
    """In what the rows of the most similar other table differ."""
    rest = [one for one in others if one is not table and one.measure is table.measure]
    if not rest:
        return ""
    mine = dict(table.context)
    nearest = min(rest, key=lambda one: len(set(one.context) ^ set(table.context)))
    theirs = dict(nearest.context)
    differ = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
    sides = [(key, mine.get(key, "none"), theirs.get(key, "none")) for key in sorted(differ)]
    why = "; another ".join(f"{key}: here {here}, there {there}" for key, here, there in sides)
    return f"Not ranked with table {nearest.number}, the most similar one, because of another {why}."


def verdicts(table: Table, all_tables: Sequence[Table]) -> list[tuple[System, str]]:
    """One line for each system of a table: how far it is from its start and from the baselines.

    Args:
      table: the table.
      all_tables: all tables. A table without baselines takes those of the same text of another kind, and
        says so.
    """
    measure = table.measure
    baselines, kind = [one for one in table.systems if one.baseline], ""
    if not baselines:
        baselines, kind = _of_another_kind(table, all_tables)
    lines = []
    for system in table.systems:
        if system.baseline:
            continue
        own = system.mean(measure.key)
        parts = []
        for one in table.systems:
            start = _START.match(one.name)
            if not start or one.name == system.name or not set(one.runs) & set(system.runs):
                continue
            before = one.mean(measure.key)
            if system.name.startswith(f"{start[1]}, ") and own is not None and before:
                parts.append(f"{_side(100 * (own - before) / abs(before), ' %', 1)} its start")
        for one in _references(baselines, measure):
            parts.append(f"{_difference(own, one.mean(measure.key), measure)} {one.name}{kind}")
        lines.append((system, ", ".join(parts) or "no baseline of the same test stands beside it"))
    return lines


def _of_another_kind(table: Table, all_tables: Sequence[Table]) -> tuple[list[System], str]:
    free = ("kind", "number of seeds")
    mine = {pair for pair in table.context if pair[0] not in free}
    for other in all_tables:
        theirs = {pair for pair in other.context if pair[0] not in free}
        baselines = [one for one in other.systems if one.baseline]
        if theirs == mine and baselines and other.measure is table.measure:
            return baselines, f" ({dict(other.context).get('kind', 'another kind')})"
    return [], ""


def _references(baselines: Sequence[System], measure: Measure) -> list[System]:
    """The baselines that a verdict names: the unigram table where there is one, and the best."""
    if not baselines:
        return []
    unigram = [one for one in baselines if one.name.startswith("unigram")][:1]
    sign = 1 if measure.lower else -1
    best = min(baselines, key=lambda one: sign * (one.mean(measure.key) or 0.0))
    return unigram if best in unigram else [*unigram, best]


def _difference(own: float | None, other: float | None, measure: Measure) -> str:
    gap = measure.factor * ((own or 0.0) - (other or 0.0))
    unit = {"%": " points"}.get(measure.unit, f" {measure.unit.split()[0]}" if measure.unit else "")
    return _side(gap, unit, 2)


def _side(gap: float, unit: str, digits: int) -> str:
    written = f"{abs(gap):,.{digits}f}"
    if float(written.replace(",", "")) == 0:
        return "level with"
    return f"{written}{unit} {'below' if gap < 0 else 'above'}"
