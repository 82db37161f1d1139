"""Ask models for what stands 8 to 256 tokens back, and hold their numbers of parameters equal.

python -m experiments.range --task=recall

Sequences are drawn from a task with a known best prediction, see `wnn_jax.data.tasks`. v8 and v9 with 1, 2, 4
and 8 hops and a small transformer have about the same number of parameters, see as many sequences as often,
and learn from the scored places alone; the rate of each is chosen on held-out sequences. Kneser-Ney 5 counts
all tokens of the same training sequences, and an online chain model reads them once and goes on to learn
while it is scored. Its parameters are the words of 32 bits of its tables, those of Kneser-Ney its n-grams.
The distances of --beyond are asked in longer sequences than any of training.
"""

import dataclasses
import functools
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared import bars, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import answering, chain, checks, vocab
from wnn_jax.checks import Limits
from wnn_jax.data import tasks
from wnn_jax.lm import ngram
from wnn_jax.vocab import model as vocab_model

_ORDER = 5  # of Kneser-Ney
_CHAIN = chain.ChainConfig(
    mode="online",
    tree="plain",
    neurons=chain.FAST.neurons,
    sets=chain.FAST.sets,
    lists=False,
    memory_mib=256,
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The models, their size and the sequences that score them.

    Attributes:
      models: names of the vocabulary-space models, v8_graph and v9_meta.
      hops: numbers of hops of each.
      parameters: the number of parameters of each model that is trained; its sizes are those that come
        nearest.
      beyond: distances beyond those of training, in sequences that are as much longer.
      held_out: number of sequences on which rates are compared.
      test: number of sequences that are scored, and of longer ones.

    Raises:
      ValueError: a value is out of range.
    """

    models: tuple[str, ...] = ("v8_graph", "v9_meta")
    hops: tuple[int, ...] = (1, 2, 4, 8)
    parameters: int = 12_400
    beyond: tuple[int, ...] = (128, 256)
    held_out: int = 128
    test: int = 512

    def __post_init__(self):
        some = Limits(least=1, most=1 << 20)
        checks.fields(self, hops=some, parameters=some, held_out=some, test=some)


class Drawn(NamedTuple):
    """The sequences of a run, each part from a key of its own."""

    config: tasks.TaskConfig
    train: tasks.Examples
    held_out: tasks.Examples
    tests: list[tuple[tasks.TaskConfig, tuple[int, ...], tasks.Examples]]  # with the distances that count


def draw(key: jax.Array, options: Any) -> Drawn:
    """Draw all sequences.

    Raises:
      ValueError: a distance beyond training is not beyond it.
    """
    task, run = options.task, options.run
    train, held_out, *others = jax.random.split(key, 4)
    parts = [(task, task.distances)]
    if run.beyond:
        longer = dataclasses.replace(task, distances=(task.distances[-1], *run.beyond))
        parts.append((longer, run.beyond))
    tests = [
        (config, distances, tasks.draw(k, config, run.test))
        for (config, distances), k in zip(parts, others, strict=False)
    ]
    sequences = options.training.sequences
    return Drawn(task, tasks.draw(train, task, sequences), tasks.draw(held_out, task, run.held_out), tests)


Scores = list[tuple[np.ndarray, np.ndarray] | None]  # nats and best [N, T - 1] of each test; None: not able


class Table:
    """The rows of the run, and their accuracies by distance."""

    def __init__(self, results: tables.Results, drawn: Drawn):
        self.results, self.drawn = results, drawn
        self.curves: dict[str, dict[int, float]] = {}

    def add(self, row: str, scores: Scores, **values: Any) -> None:
        """Add the row of a model with its accuracy and nats at each distance, and over those of training."""
        found: dict[str, float] = {}
        for (config, distances, examples), score in zip(self.drawn.tests, scores, strict=True):
            tokens = np.asarray(examples.tokens)[:, 1:]
            for distance in distances:
                where = tasks.in_range(examples, config, distance)[:, 1:]
                accuracy = nats = float("nan")
                if score is not None and where.any():
                    accuracy = float((score[1] == tokens)[where].mean())
                    nats = float(score[0][where].mean(dtype=np.float64))
                found |= {f"accuracy_{distance}": accuracy, f"nats_{distance}": nats}
        self._keep(row, found, **values)

    def add_optimum(self) -> None:
        """Add the row of what the best predictor reaches on these sequences, and the numbers of answers."""
        found: dict[str, float] = {}
        answers: dict[str, int] = {}
        for config, distances, examples in self.drawn.tests:
            for distance in distances:
                where = tasks.in_range(examples, config, distance)
                best = tasks.optimum(examples, where)
                found |= {f"accuracy_{distance}": best.accuracy, f"nats_{distance}": best.nats}
                answers[f"answers_{distance}"] = int(where.sum())
        self._keep("optimum", found, **answers)

    def add_constant(self, row: str, probability: np.ndarray) -> None:
        """Add the row of one distribution ``[V]`` for every place; ties are broken evenly."""
        best = probability == probability.max()
        found: dict[str, float] = {}
        for config, distances, examples in self.drawn.tests:
            for distance in distances:
                where = tasks.in_range(examples, config, distance)
                tokens = np.asarray(examples.tokens)[where]
                found[f"accuracy_{distance}"] = float((best[tokens] / best.sum()).mean())
                found[f"nats_{distance}"] = float(-np.log(probability[tokens]).mean())
        self._keep(row, found)

    def _keep(self, row: str, found: dict[str, float], **values: Any) -> None:
        learnt = self.drawn.config.distances
        mean = {
            name: float(np.mean([found[f"{name}_{distance}"] for distance in learnt]))
            for name in ("accuracy", "nats")
        }
        self.results.add(row, **mean, **found, **values)
        self.curves[row] = {
            int(name.split("_")[1]): value for name, value in found.items() if name.startswith("accuracy")
        }

    def show(self) -> None:
        """Print the accuracies, and the mean nats over the distances of training."""
        distances = [distance for _, some, _ in self.drawn.tests for distance in some]
        cells = {}
        for row in self.results.rows:
            accuracies = [
                "-" if row[k] is None else f"{row[k]:.1%}" for k in map("accuracy_{}".format, distances)
            ]
            size, rate = row.get("parameters"), row.get("rate")
            sizes = [f"{size:,}" if size else "-", f"{rate:g}" if rate else "-"]
            cells[row["row"]] = [*accuracies, f"{row['accuracy']:.1%}", f"{row['nats']:.3f}", *sizes]
        heads = [*map(str, distances), "mean", "nats", "parameters", "rate"]
        tables.print_grid("accuracy at a distance of", cells, heads)


def add_counts(table: Table) -> None:
    """Add the rows of the trivial baselines and of Kneser-Ney."""
    drawn, v = table.drawn, tasks.VOCABULARY
    tokens, scored = np.asarray(drawn.train.tokens), np.asarray(drawn.train.distance) > 0
    table.add_constant("uniform", np.full(v, 1 / v))
    for row, seen in (("unigram", tokens.ravel()), ("majority answer", tokens[scored])):
        counts = np.bincount(seen, minlength=v) + 0.1
        table.add_constant(row, counts / counts.sum())
    begun = time.perf_counter()
    known = ngram.fit_kneser_ney(tokens.ravel(), _ORDER, v)
    seconds = time.perf_counter() - begun
    scores: Scores = []
    for _, _, examples in drawn.tests:
        found = ngram.predict(known, np.asarray(examples.tokens).ravel())
        scores.append((_rows(found.nats, examples), _rows(found.best, examples)))
    size = sum(len(order.keys) for order in known.orders)
    table.add(f"Kneser-Ney {_ORDER}", scores, parameters=size, seconds=seconds)


def _rows(values: np.ndarray, examples: tasks.Examples) -> np.ndarray:
    """Return the values ``[N, T - 1]`` of all tokens but the first of each sequence."""
    return np.asarray(values).reshape(examples.tokens.shape)[:, 1:]


def add_chain(table: Table, key: jax.Array) -> None:
    """Add the row of the online chain model; it reads each test after the training sequences."""
    begun, scores = time.perf_counter(), []
    with bars.bar("chain", unit="token") as show:
        corpus = tasks.as_corpus(table.drawn.train)
        fitted = chain.fit(key, _CHAIN, corpus, on_step=lambda step: show(*step))
        seconds = time.perf_counter() - begun
        for _, _, examples in table.drawn.tests:
            text = np.asarray(examples.tokens).ravel()
            found = chain.score(fitted, text, argmax=True, on_step=lambda step: show(*step))
            scores.append((_rows(found.nats, examples), _rows(found.best, examples)))
    size = sum(x.nbytes for x in jax.tree.leaves(fitted.memory)) // 4
    table.add("chain, online", scores, parameters=size, seconds=seconds)


def predictors(options: Any) -> dict[str, answering.Predictor]:
    """Return the models that are trained, by the names of their rows."""
    run, v = options.run, tasks.VOCABULARY
    found = {}
    for name in run.models:
        for hops in run.hops:
            made = vocab.sized_variant(name, v, hops, run.parameters)
            found[made.name] = answering.Predictor(
                functools.partial(vocab_model.init, config=made.config),
                functools.partial(vocab_model.logits, made.config),
            )
    shape = answering.sized_transformer(v, options.task.length - 1, run.parameters)
    return found | {"transformer": answering.of_transformer(shape)}


def add_trained(table: Table, row: str, predictor: answering.Predictor, key, config) -> None:
    """Train a model and add its row; the transformer knows no positions beyond training."""
    drawn = table.drawn
    with bars.bar(row, unit="step") as show:
        made = answering.fit(key, predictor, drawn.train, drawn.held_out, config, on_step=show)
        scores: Scores = [
            None
            if row == "transformer" and examples.tokens.shape[1] > drawn.config.length
            else answering.score(predictor, made.params, examples, on_step=show)
            for _, _, examples in drawn.tests
        ]
    more = {"rate": made.rate, "held_out": {f"{k:g}": x for k, x in made.held_out.items()}}
    size = answering.count_parameters(predictor)
    table.add(row, scores, parameters=size, seconds=made.trained.seconds, **more)


def main(options: Any) -> None:
    task, seed = options.task, options.common.seed
    models = predictors(options)
    workdir = tables.make_workdir(options.common.workdir)
    keys = jax.random.split(jax.random.key(seed), 3)
    drawn = draw(keys[0], options)
    about = {"experiment": "range", "config": plain(options, "task", "training", "run"), "seed": seed}
    about["train_tokens"] = drawn.train.tokens.size
    about["eval_tokens"] = sum(int((np.asarray(x.distance) > 0).sum()) for _, _, x in drawn.tests)
    print(
        f"{task.task}: {len(drawn.train.tokens):,} sequences of {task.length} tokens, "
        f"{about['eval_tokens']:,} answers scored; {machine.device()}; seed {seed}"
    )
    table = Table(tables.Results(workdir, about), drawn)
    table.add_optimum()
    add_counts(table)
    add_chain(table, keys[1])
    for row, predictor in models.items():
        add_trained(table, row, predictor, keys[2], options.training)
    table.show()
    gray = ("optimum", "uniform", "unigram", "majority answer")
    plots.by_distance(workdir / "range.png", task.task, table.curves, gray, task.distances[-1])
    print(f"results and a picture in {workdir}")


COMMAND = Command(
    "range",
    __doc__,
    main,
    task=Group(tasks.TaskConfig),
    training=Group(answering.AnswerConfig),
    run=Group(RunConfig),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
