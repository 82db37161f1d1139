"""Train and score a bitwise RAM language model, beside the baselines that it has to beat.

python -m experiments.bitwise --corpus=wikitext2 --tokenizer=gpt2 --cells=count --neurons=200 --bits=20
"""

import contextlib
import dataclasses
import hashlib
import itertools
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared import bars, baselines, gates, machine, plots, searching, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import checks, files, metrics, ram
from wnn_jax.data import text
from wnn_jax.gates import on_bitwise
from wnn_jax.lm import bitwise, fitting, ngram
from wnn_jax.saving import checkpoint, layers

KNESER_NEY_ORDERS = (2, 3, 5)


@dataclasses.dataclass(frozen=True)
class BitwiseRun:
    """The work of this command besides fitting and scoring one model.

    Attributes:
      curve_points: the number of points of the learning curve, each on half the text of the next; 0 for no
        curve.
      checkpoint: folder to save the model to, as the next version.
      save_table: whether to save the tables too, not only the connectivity.
      restore: folder of a checkpoint whose model is scored; the flags of model and text then come from it.

    Raises:
      ValueError: a value is out of range.
    """

    curve_points: int = 4
    checkpoint: str | None = None
    save_table: bool = False
    restore: str | None = None

    def __post_init__(self):
        checks.fields(self, curve_points=checks.Limits(least=0, most=31))


class ScoredText(NamedTuple):
    """A corpus, and its test tokens as examples; the test text continues the training text.

    Attributes:
      corpus: the corpus.
      evaluated: the examples of the test tokens.
    """

    corpus: text.Corpus
    evaluated: ram.Examples


def main(options: Any) -> None:
    options.search_run.connect()
    run, searched = options.run, options.search().algorithms
    restored = checkpoint.load(run.restore) if run.restore else None
    if restored and searched:
        raise ValueError("--restore scores a model as it was saved: leave out --search, or --restore")
    if run.checkpoint:
        checkpoint.check_target(run.checkpoint, "model")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = restored_corpus(restored, run.restore) if restored else text.load(options.text)
    config = (
        restored_model(restored, corpus, run.restore)
        if restored
        else options.model(vocabulary=corpus.vocabulary)
    )
    settings = restored.config if restored else record(options, config)
    options.gates.check(config.context, corpus.vocabulary)
    task = scored_text(config, corpus)
    digest = hashlib.sha256(corpus.train.tobytes()).hexdigest()
    if restored and restored.table is None and digest != settings["train_sha256"]:
        raise ValueError(
            f"the training text is not the one that {run.restore} was fitted on, and the checkpoint holds no "
            "table to score without it: use the text that it was fitted on"
        )
    check_memory(config, corpus, run.save_table)
    key_connections, key_fit = jax.random.split(jax.random.key(settings["seed"]))
    connections = bitwise.init(key_connections, config)
    result = None
    if searched:
        result = searching.run(options, config, bitwise.examples(config, corpus.train), connections)
        if options.search_run.process_id:
            return  # only process 0 reports

    results = tables.begin("bitwise", workdir, corpus, settings, settings["seed"])
    marginal = add_baselines(results, config, task)
    name = f"bitwise {config.memory.cells}"
    if result:
        # The test text is scored only now: once for the genome at the start, once for the genome at the end.
        votes = fit_votes(key_fit, config, connections, corpus.train, task)
        results.add(f"{name}, random", **score(config, connections, votes, task), seconds=0.0)
        searching.show(workdir, connections, result, config.context, options.search_run.tensorboard)
        connections = jnp.asarray(result.genome)
        sizes = {"neurons": connections.shape[1], "address_bits": connections.shape[2]}
        config = dataclasses.replace(config, **sizes)
        settings["model"] |= sizes
        name += f", {'+'.join(searched)}"
    started = time.perf_counter()
    if restored:
        connections = jnp.asarray(restored.connections)
    table, votes = fit(restored, run.save_table, key_fit, config, connections, task)
    scores = score(config, connections, votes, task)
    results.add(name, **scores, seconds=result.seconds if result else time.perf_counter() - started)
    if options.gates.kinds:
        add_gated(results, options, key_fit, config, connections, votes, corpus, name)
    results.print()
    if restored:
        report_restored(run.restore, restored, scores)
    if run.checkpoint:
        about = {**settings, "train_sha256": digest, "ids": corpus.tokenizer.digest}
        arrays = table._asdict() if table else None
        print(f"saved {checkpoint.save(run.checkpoint, connections, about, scores, arrays)}")
    draw(workdir, config, connections, votes, task, marginal, name)
    if run.curve_points:
        draw_curve(workdir, run.curve_points, key_fit, config, connections, task, name, scores["ce"])
    print(f"results and pictures in {workdir}")


def fit(
    restored: checkpoint.Checkpoint | None, keep: bool, key, config, connections, task: ScoredText
) -> tuple[ram.Table | None, jax.Array]:
    """Return the votes on the test text, and the table if it was saved or must be kept."""
    table = None
    if restored and restored.table:
        with files.contents("the checkpoint of --restore"):
            table = layers.table(config.memory, restored.table, connections)
    if table is None and keep:
        table = fit_table(key, config, connections, task.corpus.train)
    if table is None:
        return None, fit_votes(key, config, connections, task.corpus.train, task)
    return table, fitting.read(fitting.BitwiseModel(config, connections, table), task.evaluated.words)


def record(options: Any, config: bitwise.BitwiseConfig) -> dict[str, Any]:
    """Collect all settings that decide the numbers, as JSON data: the ``config`` of rows and checkpoints."""
    model = dataclasses.asdict(config)
    del model["vocabulary"]  # the text decides it
    recorded = {"text": dataclasses.asdict(options.text), "model": model, "seed": options.common.seed}
    if options.gates.kinds:
        recorded["gates"] = dataclasses.asdict(options.gates)
    if options.search().algorithms:
        recorded |= {"search": dataclasses.asdict(options.search()), **plain(options, "sizes", "steps")}
    return recorded


def restored_corpus(restored: checkpoint.Checkpoint, folder: str) -> text.Corpus:
    """Read the text that a saved model was fitted on, with ids that mean what they meant then.

    Raises:
      ValueError: the checkpoint holds no bitwise model, or its text or tokenizer has changed.
    """
    if not {"text", "model", "seed", "train_sha256"} <= set(restored.config):
        raise ValueError(f"{folder} holds no bitwise model: give a folder that --checkpoint wrote")
    config = checks.made(text.TextConfig, restored.config["text"], f"the checkpoint {folder}")
    corpus = text.load(config)
    if "ids" in restored.config:  # version 0.2 did not keep it
        text.check_ids_mean(corpus.tokenizer, restored.config["ids"], config)
    return corpus


def restored_model(
    restored: checkpoint.Checkpoint, corpus: text.Corpus, folder: str
) -> bitwise.BitwiseConfig:
    """Make the config of a saved model again.

    Raises:
      ValueError: a setting or the connectivity is damaged.
    """
    with files.contents(folder):
        settings = {**restored.config["model"], "vocabulary": corpus.vocabulary}
        config = checks.made(bitwise.BitwiseConfig, settings, "its config")
        checks.integer("seed", restored.config["seed"], checks.SEED)
        sizes = {"K": config.clusters, "n": config.neurons, "T": config.address_bits}
        limits = checks.Limits(least=-1, most=config.input_bits - 1)
        checks.array("connections", restored.connections, "integers", sizes, limits)
        return config


def scored_text(config: bitwise.BitwiseConfig, corpus: text.Corpus) -> ScoredText:
    """Make the examples of the test tokens.

    Raises:
      ValueError: the corpus has no test token, or too few tokens or wrong ids for the model.
    """
    bitwise.check_tokens(config, corpus.train)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate: give a longer test text")
    return ScoredText(corpus, fitting.following(config, corpus.train, corpus.test))


def check_memory(config: bitwise.BitwiseConfig, corpus: text.Corpus, save_table: bool) -> None:
    """Refuse a model that needs more memory than is free.

    Raises:
      ValueError: see `machine.check_memory`.
    """
    need = fitting.needed_bytes(config, len(corpus.train), len(corpus.test), save_table)
    remedy = "lower --bits, or --train_tokens"
    if save_table:
        remedy = "leave out --save_table, or lower --bits or --neurons"
    machine.check_memory(need, remedy)


def add_baselines(results: tables.Results, config: bitwise.BitwiseConfig, task: ScoredText) -> np.ndarray:
    """Add the rows of the baselines; return the share of ones of each bit in the training text, ``[B]``."""
    marginal = np.asarray(bitwise.examples(config, task.corpus.train).targets).mean(axis=1)

    def marginals() -> bitwise.Scores:
        targets = task.evaluated.targets
        one = jnp.broadcast_to(jnp.asarray(marginal, jnp.float32)[:, None], targets.shape)
        zero = jnp.broadcast_to(jnp.asarray(1 - marginal, jnp.float32)[:, None], targets.shape)
        return bitwise.score(config, *bitwise.log_clamped(one, zero), targets)

    baselines.add(results, task.corpus, KNESER_NEY_ORDERS, extra={"bit marginals": marginals})
    return marginal


def fit_votes(key, config, connections, train: np.ndarray, task: ScoredText) -> jax.Array:
    """Call `fitting.votes` with a progress bar."""
    with lookup_bar(config, len(train) + len(task.corpus.test)) as on_cluster:
        return fitting.votes(key, config, connections, train, task.evaluated.words, on_cluster)


def fit_table(key, config, connections, train: np.ndarray) -> ram.Table:
    """Call `fitting.fit` with a progress bar."""
    with lookup_bar(config, len(train)) as on_cluster:
        return fitting.fit(key, config, train, connections, on_cluster).table


@contextlib.contextmanager
def lookup_bar(config: bitwise.BitwiseConfig, tokens: int) -> Iterator[Callable[[Any], None]]:
    """Show a progress bar that counts table lookups; give a callback for each cluster that is done."""
    lookups, done = config.neurons * (tokens - config.context), itertools.count(1)
    with bars.bar("fit", "lookup") as on_step:
        yield lambda _: on_step("", next(done) * lookups, config.clusters * lookups)


def score(config, connections, votes, task: ScoredText) -> dict[str, Any]:
    """Return the scores of a model on the test text, as the values of a row."""
    one, zero = bitwise.log_probabilities(votes, connections)
    scores = bitwise.score(config, one, zero, task.evaluated.targets)
    corpus = task.corpus
    summary = metrics.summarize(
        np.asarray(scores.nats),
        np.asarray(scores.best),
        corpus.test,
        text.count_first(corpus, len(corpus.test)),
        text.count_words(corpus, corpus.test),
    )
    right = metrics.bit_accuracy(np.exp(np.asarray(one)), np.asarray(task.evaluated.targets))
    return {**summary._asdict(), "bit_accuracy": right.tolist()}


def add_gated(
    results, options: Any, key_fit, config, connections, votes, corpus: text.Corpus, name: str
) -> None:
    """Add the rows of the model with the chosen gates."""
    with bars.bar(name) as on_step:
        scores = on_bitwise(
            key=jax.random.fold_in(jax.random.key(options.common.seed), 1),
            gating=options.gates,
            config=config,
            connections=connections,
            votes=votes,
            train=corpus.train,
            tokens=corpus.test,
            pieces=corpus.pieces,
            fit_and_read=lambda first, words: fitting.votes(key_fit, config, connections, first, words),
            on_step=on_step,
        )
    gates.add(results, name, scores, corpus)


def report_restored(folder: str, restored: checkpoint.Checkpoint, scores: dict[str, Any]) -> None:
    """Print that a restored model scores as it did when it was saved.

    Raises:
      ValueError: a score differs.
    """
    # Older versions saved fewer scores. A number that is NaN is the same as text.
    if any(repr(scores.get(name)) != repr(saved) for name, saved in restored.metrics.items()):
        raise ValueError(
            f"the restored model scores {scores['ce']:.6f} nats and was saved with "
            f"{restored.metrics.get('ce')}: the text or the version of the library differs"
        )
    print(f"restored from {folder}: every score equals the saved one to the last bit")


def draw(
    workdir: pathlib.Path, config, connections, votes, task: ScoredText, marginal: np.ndarray, name: str
) -> None:
    """Draw the accuracy and the reliability of the bits, beside those of the training marginals."""
    targets = np.asarray(task.evaluated.targets)
    one = np.asarray(ram.probability(votes, connections)[0])
    constant = np.broadcast_to(marginal[:, None], targets.shape)
    plots.bit_accuracy(
        workdir / "bit_accuracy.png",
        metrics.bit_accuracy(one, targets),
        metrics.bit_accuracy(constant, targets),
        name,
    )
    curves = {
        name: metrics.reliability(one, targets),
        "training marginals": metrics.reliability(constant, targets),
    }
    plots.reliability(workdir / "reliability.png", curves)


def draw_curve(
    workdir: pathlib.Path, points: int, key, config, connections, task: ScoredText, name: str, full: float
) -> None:
    """Draw the learning curve: the model and two baselines, refitted on growing prefixes of the text."""
    train, test, vocabulary = task.corpus.train, task.corpus.test, task.corpus.vocabulary
    sizes = [len(train) >> shift for shift in range(points - 1, -1, -1)]
    sizes = [size for size in sizes if size > max(config.context, *KNESER_NEY_ORDERS)]
    partial = fitting.learning_curve(key, config, connections, train, task.evaluated, sizes[:-1])
    unigram = [ngram.unigram(train[:size], test, vocabulary, add=0.1) for size in sizes]
    kneser_ney = [ngram.kneser_ney(train[:size], test, 5, vocabulary) for size in sizes]
    curves = {
        name: [*partial, full],
        "unigram": [float(x.nats.mean()) for x in unigram],
        "Kneser-Ney 5": [float(x.nats.mean()) for x in kneser_ney],
    }
    plots.learning_curve(workdir / "learning_curve.png", sizes, curves)


COMMAND = Command(
    "bitwise",
    __doc__,
    main,
    text=Group(text.TextConfig),
    model=Group(bitwise.BitwiseConfig, names={"address_bits": "bits"}, given=("vocabulary",)),
    run=Group(BitwiseRun),
    gates=gates.GROUP,
    **searching.GROUPS,
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
