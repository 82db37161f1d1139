"""Train and score a bitwise RAM language model beside the baselines it has to beat.

python -m experiments.bitwise --corpus=wikitext2 --tokenizer=gpt2 --cells=count --neurons=200 --bits=20
"""

import dataclasses
import hashlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import base, gates, searching
from experiments.shared import machine, plots, tables
from wnn_jax import metrics, ram
from wnn_jax.data import text
from wnn_jax.gates import on_bitwise
from wnn_jax.lm import bitwise, ngram
from wnn_jax.saving import checkpoint

FLAGS = flags.FLAGS

base.define_common_flags("bitwise")
base.define_text_flags()
gates.define_flags()
flags.DEFINE_enum("cells", "count", ram.CELLS, "What a neuron's cell is.")
flags.DEFINE_integer("neurons", 100, "Neurons of each bit's cluster.")
flags.DEFINE_integer("bits", 20, "Input bits a neuron observes.")
flags.DEFINE_integer("context", 3, "Tokens seen.")
flags.DEFINE_enum("code", "binary", bitwise.CODES, "How token ids become bits.")
flags.DEFINE_float("empty_value", 0.0, "What an EMPTY ternary cell reads.")
flags.DEFINE_float("sample_rate", 1.0, "Probability with which a neuron writes an example.")
flags.DEFINE_integer("curve_points", 4, "Points of the learning curve, each half the next; 0: none.")
flags.DEFINE_string("checkpoint", None, "Folder to save the model to, as its next version.")
flags.DEFINE_bool("save_table", False, "Save the memory itself too, not only its connectivity.")
flags.DEFINE_string("restore", None, "Score the model of this checkpoint; model and text flags are its own.")

KNESER_NEY_ORDERS = (2, 3, 5)


class Task(NamedTuple):
    """Text as the model sees it. The evaluated stream continues the training stream."""

    corpus: text.Corpus
    tokens: np.ndarray
    words: jax.Array
    targets: jax.Array


def main() -> None:
    searching.connect()
    restored = checkpoint.load(FLAGS.restore) if FLAGS.restore else None
    settings = restored.config if restored else settings_from_flags()
    if restored and FLAGS.search:
        raise ValueError("--restore scores a model as it was saved: --search needs one to begin with")
    cells = ram.RamConfig(**settings["model"]["memory"])
    if FLAGS.checkpoint:
        checkpoint.check_target(FLAGS.checkpoint)
    workdir = tables.make_workdir(FLAGS.workdir)
    corpus = text.load(text.TextConfig(**settings["text"]))
    model = {**settings["model"], "memory": cells}
    config = bitwise.BitwiseConfig(vocabulary=corpus.vocabulary, **model)
    gates.check(config.context, corpus.vocabulary)
    task = make_task(config, corpus)
    digest = hashlib.sha256(corpus.train.tobytes()).hexdigest()
    if restored and restored.table is None and digest != settings["train_sha256"]:
        raise ValueError(
            f"the training text is not the one {FLAGS.restore} was fitted on, and the checkpoint "
            "holds no table to score without it"
        )
    check_memory(config, task)
    key_connections, key_fit = jax.random.split(jax.random.key(settings["seed"]))
    connections = bitwise.init(key_connections, config)
    found = None
    if FLAGS.search:
        train = bitwise.examples(config, corpus.train)
        searcher = searching.Search(config, train, connections, settings["seed"])
        found = searcher.run()
        if FLAGS.process_id:
            return  # process 0 reports

    results = tables.Results(
        workdir,
        {
            "experiment": "bitwise",
            "train_tokens": len(corpus.train),
            "eval_tokens": len(task.tokens),
            "config": settings,
            "seed": settings["seed"],
        },
    )
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(task.tokens):,} "
        f"evaluated, {corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; "
        f"seed {settings['seed']}"
    )
    marginal = add_baselines(results, config, task)

    name = f"bitwise {config.memory.cells}"
    if found:
        # The test text is read here for the first time: once for the start, once for the end.
        votes = fit_votes(key_fit, config, connections, corpus.train, task)
        results.add(f"{name}, random", **score(config, connections, votes, task), seconds=0.0)
        searching.show(workdir, connections, found, config.context)
        connections = jnp.asarray(found.winner)
        _, neurons, address_bits = connections.shape
        config = dataclasses.replace(config, neurons=neurons, address_bits=address_bits)
        settings["model"] |= {"neurons": neurons, "address_bits": address_bits}
        name += f", {'+'.join(FLAGS.search)}"
    if restored:
        connections = jnp.asarray(restored.connections)
    started = time.perf_counter()
    table = ram.Table(**restored.table) if restored and restored.table else None
    if restored and table is not None:
        votes = jax.jit(ram.read, static_argnums=0)(config.memory, table, connections, task.words)
    elif FLAGS.save_table:
        table, votes = fit_table(key_fit, config, connections, corpus.train, task)
    else:
        votes = fit_votes(key_fit, config, connections, corpus.train, task)
    scores = score(config, connections, votes, task)
    spent = found.seconds if found else time.perf_counter() - started
    results.add(name, **scores, seconds=spent)
    if FLAGS.gating:
        add_gated(results, settings["seed"], key_fit, config, connections, votes, task, name)
    results.print()

    if restored:
        report_restored(restored, scores)
    if FLAGS.checkpoint:
        about = {**settings, "train_sha256": digest}
        arrays = table._asdict() if table else None
        saved = checkpoint.save(FLAGS.checkpoint, connections, about, scores, arrays)
        print(f"saved {saved}")
    draw(workdir, config, connections, votes, task, marginal, name)
    if FLAGS.curve_points:
        draw_curve(workdir, key_fit, config, connections, task, name, scores["ce"])
    print(f"results and pictures in {workdir}")


def settings_from_flags() -> dict[str, Any]:
    """Everything that decides the numbers, as plain data: the ``config`` of rows and checkpoints."""
    memory = ram.RamConfig(FLAGS.cells, FLAGS.empty_value, FLAGS.sample_rate)
    model = {
        "context": FLAGS.context,
        "neurons": FLAGS.neurons,
        "address_bits": FLAGS.bits,
        "code": FLAGS.code,
        "memory": dataclasses.asdict(memory),
    }
    chosen = {"text": base.text_settings(), "model": model, "seed": FLAGS.seed}
    chosen |= gates.settings()
    return {**chosen, "search": searching.settings()} if FLAGS.search else chosen


def make_task(config: bitwise.BitwiseConfig, corpus: text.Corpus) -> Task:
    bitwise.check_tokens(config, corpus.train)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
    stream = np.concatenate([corpus.train[-config.context :], corpus.test])
    evaluated = bitwise.examples(config, stream)
    return Task(corpus, corpus.test, evaluated.words, evaluated.targets)


def check_memory(config: bitwise.BitwiseConfig, task: Task) -> None:
    need = ram.fused_bytes(
        config.memory,
        clusters=config.clusters,
        neurons=config.neurons,
        address_bits=config.address_bits,
        input_bits=config.input_bits,
        train=len(task.corpus.train),
        evaluated=len(task.tokens),
    )
    remedy = "lower --bits, or --train_tokens"
    if FLAGS.save_table:
        neurons = config.clusters * config.neurons
        need += 2 * neurons * ram.row_bytes(config.memory, config.address_bits)
        remedy = "drop --save_table, or lower --bits or --neurons"
    machine.check_memory(need, remedy)


def add_baselines(results: tables.Results, config: bitwise.BitwiseConfig, task: Task) -> np.ndarray:
    """Score what needs no neuron; returns the bits' training marginals ``[B]``."""
    corpus = task.corpus

    def add(row: str, predict) -> None:
        started = time.perf_counter()
        guess = predict()
        summary = metrics.summarize(guess.nats, guess.best, task.tokens, corpus.token_bytes)
        results.add(row, **summary._asdict(), seconds=time.perf_counter() - started)

    marginal = np.asarray(bitwise.examples(config, corpus.train).targets).mean(axis=1)

    def marginals():
        shape = task.targets.shape
        one = jnp.broadcast_to(jnp.asarray(marginal, jnp.float32)[:, None], shape)
        zero = jnp.broadcast_to(jnp.asarray(1 - marginal, jnp.float32)[:, None], shape)
        return bitwise.score(config, *bitwise.log_clamped(one, zero), task.targets)

    add("uniform", lambda: ngram.uniform(corpus.vocabulary, task.tokens))
    add("bit marginals", marginals)
    add(
        "unigram (add 0.1)",
        lambda: ngram.unigram(corpus.train, task.tokens, corpus.vocabulary, add=0.1),
    )
    for order in KNESER_NEY_ORDERS:
        add(f"Kneser-Ney {order}", lambda n=order: kneser_ney(n, corpus.train, task))
    return marginal


def kneser_ney(order: int, train: np.ndarray, task: Task) -> ngram.Prediction:
    model = ngram.fit_kneser_ney(train, order, task.corpus.vocabulary)
    return ngram.predict(model, task.tokens)


def fit_votes(key, config, connections, train_tokens, task: Task) -> jax.Array:
    """`ram.fit_and_read`, one cluster a call for the sake of the progress bar."""
    train = bitwise.examples(config, train_tokens)
    fit = jax.jit(ram.fit_and_read, static_argnums=1)

    def one(cluster_key, k):
        part = train._replace(targets=train.targets[k : k + 1])
        return fit(cluster_key, config.memory, connections[k : k + 1], part, task.words)

    lookups = config.neurons * (train.targets.shape[1] + len(task.tokens))
    return jnp.concatenate(list(by_cluster(key, config, one, lookups)))


def fit_table(key, config, connections, train_tokens, task: Task) -> tuple[ram.Table, jax.Array]:
    """The same with the memory kept."""
    train = bitwise.examples(config, train_tokens)
    fit = jax.jit(ram.write, static_argnums=1, donate_argnums=2)

    def one(cluster_key, k):
        empty = ram.init(config.memory, 1, config.neurons, config.address_bits)
        part = train._replace(targets=train.targets[k : k + 1])
        return fit(cluster_key, config.memory, empty, connections[k : k + 1], part)

    parts = list(by_cluster(key, config, one, config.neurons * train.targets.shape[1]))
    table = ram.Table(
        cells=jnp.concatenate([part.cells for part in parts]),
        ones=jnp.concatenate([part.ones for part in parts]),
        written=parts[0].written,
    )
    votes = jax.jit(ram.read, static_argnums=0)(config.memory, table, connections, task.words)
    return table, votes


def by_cluster(key, config, function, lookups: int):
    """``function(key, k)`` for every cluster k, with a bar that counts table lookups."""
    total = config.clusters * lookups
    with tqdm(total=total, unit="lookup", unit_scale=True, leave=False, desc="fit") as bar:
        for k, cluster_key in enumerate(jax.random.split(key, config.clusters)):
            yield jax.block_until_ready(function(cluster_key, k))
            bar.update(lookups)


def score(config, connections, votes, task: Task) -> dict[str, Any]:
    one, zero = bitwise.log_probabilities(votes, connections)
    scores = bitwise.score(config, one, zero, task.targets)
    summary = metrics.summarize(
        np.asarray(scores.nats), np.asarray(scores.best), task.tokens, task.corpus.token_bytes
    )
    right = metrics.bit_accuracy(np.exp(np.asarray(one)), np.asarray(task.targets))
    return {**summary._asdict(), "bit_accuracy": right.tolist()}


def add_gated(results, seed: int, key_fit, config, connections, votes, task: Task, name: str) -> None:
    """The same model behind the gates that were asked for."""

    def fit_and_read(tokens: np.ndarray, words: jax.Array) -> jax.Array:
        return fit_votes(key_fit, config, connections, tokens, task._replace(words=words))

    with gates.bar(name) as on_step:
        scores = on_bitwise(
            key=jax.random.fold_in(jax.random.key(seed), 1),
            gating=gates.config(),
            config=config,
            connections=connections,
            votes=votes,
            train=task.corpus.train,
            tokens=task.tokens,
            pieces=task.corpus.pieces,
            fit_and_read=fit_and_read,
            on_step=on_step,
        )
    gates.add(results, name, scores, task.corpus)


def report_restored(restored: checkpoint.Checkpoint, scores: dict[str, Any]) -> None:
    if scores != restored.metrics:
        raise ValueError(
            f"the restored model scores {scores['ce']:.6f} nats and was saved with "
            f"{restored.metrics['ce']:.6f}: the text or the library differs"
        )
    print(f"restored from {FLAGS.restore}: every score equals the saved one to the last bit")


def draw(workdir: pathlib.Path, config, connections, votes, task: Task, marginal, name) -> None:
    targets = np.asarray(task.targets)
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


def draw_curve(workdir, key, config, connections, task: Task, name: str, full: float) -> None:
    """Refit on growing prefixes of the training text, baselines too, and score the same tokens."""
    train, vocabulary = task.corpus.train, task.corpus.vocabulary
    sizes = [len(train) >> shift for shift in range(FLAGS.curve_points - 1, -1, -1)]
    sizes = [size for size in sizes if size > max(config.context, *KNESER_NEY_ORDERS)]
    curves: dict[str, list[float]] = {name: [], "unigram": [], "Kneser-Ney 5": []}
    for size in sizes:
        prefix = train[:size]
        if size < len(train):
            votes = fit_votes(key, config, connections, prefix, task)
            curves[name].append(score(config, connections, votes, task)["ce"])
        else:
            curves[name].append(full)
        unigram = ngram.unigram(prefix, task.tokens, vocabulary, add=0.1)
        curves["unigram"].append(float(unigram.nats.mean()))
        curves["Kneser-Ney 5"].append(float(kneser_ney(5, prefix, task).nats.mean()))
    plots.learning_curve(workdir / "learning_curve.png", sizes, curves)


if __name__ == "__main__":
    base.run(main)
