"""Train and score a chain language model, static and online, beside the baselines it has to beat.

python -m experiments.chain --corpus=wikitext2 --tokenizer=gpt2
"""

import hashlib
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import base, gates
from experiments.shared import baselines, machine, plots, tables
from wnn_jax import chain, metrics
from wnn_jax import transformer as transformers
from wnn_jax.chain import contexts, static, tokentree
from wnn_jax.data import text
from wnn_jax.gates import chain_scores, on_chain
from wnn_jax.lm import bitwise
from wnn_jax.saving import checkpoint, progress

FLAGS = flags.FLAGS

MODES = ("static", "online")

base.define_common_flags("chain")
base.define_text_flags()
gates.define_flags()
flags.DEFINE_list("modes", list(MODES), "static, online: how the tables are used.")
flags.DEFINE_enum("tree", "clustered", ["clustered", "plain"], "How tokens become bits.")
flags.DEFINE_integer("rare", 16, "Tokens seen fewer times are spelled by bytes; 0: none.")
flags.DEFINE_enum("neurons", "words", ["words", "bytes"], "What the context neurons observe.")
flags.DEFINE_list("without", [], "Leave out the context neurons that observe any of these fields.")
flags.DEFINE_integer("memory_mib", 1536, "Most MiB of tables.")
flags.DEFINE_float("rate", 0.03, "Learning rate of the online mixer.")
flags.DEFINE_integer("readout_tokens", 150_000, "Training tokens on which the static readout learns.")
flags.DEFINE_integer("epochs", 2, "Passes of the static readout over them.")
flags.DEFINE_bool("accuracy", True, "Also find the most probable token at every scored place.")
flags.DEFINE_integer("transformer_epochs", 0, "Also train a small transformer for so many epochs at most.")
flags.DEFINE_integer("gate_places", 512, "Scored places at which token and dual gates are tried.")
flags.DEFINE_integer("curve_points", 0, "Points of the curve of training time, each half the next.")
flags.DEFINE_string("checkpoint", None, "Folder to save the last mode's model to, tables and all.")
flags.DEFINE_string("resume", None, "Folder to save progress to, and to continue from.")
flags.DEFINE_integer("save_every", 16, "Chunks between two saves to --resume.")
flags.DEFINE_integer("chunk", 16384, "Tokens a call.")


def main() -> None:
    unknown = [mode for mode in FLAGS.modes if mode not in MODES]
    if unknown or not FLAGS.modes:
        raise ValueError(f"unknown mode {unknown[:1]}: --modes takes {' and '.join(MODES)}")
    if min(FLAGS.chunk, FLAGS.save_every) < 1:
        raise ValueError("--chunk and --save_every must be at least 1")
    if FLAGS.checkpoint:
        checkpoint.check_target(FLAGS.checkpoint)
    workdir = tables.make_workdir(FLAGS.workdir)
    corpus = text.load(text.TextConfig(**base.text_settings()))
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
    gates.check(chain_scores.CONTEXT, corpus.vocabulary)
    if FLAGS.gating and "static" not in FLAGS.modes:
        raise ValueError("gates are attached to the static model: --gating needs it among the --modes")
    started = time.perf_counter()
    model = make_model(corpus)
    log_slots = chain.log_slots_for(FLAGS.memory_mib, model.view.shape[0])
    machine.check_memory(2 * FLAGS.memory_mib << 20, "lower --memory_mib")
    settings = settings_from_flags()
    common = {"train_tokens": len(corpus.train), "eval_tokens": len(corpus.test), "seed": FLAGS.seed}
    results = tables.Results(workdir, {"experiment": "chain", "config": settings, **common})
    bits = np.diff(np.asarray(model.tree.start))[corpus.train].mean()
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {FLAGS.seed}\n"
        f"tree: {bits:.1f} turns a training token, made in {time.perf_counter() - started:.1f} s; "
        f"{model.view.shape[0]} neurons of 2^{log_slots} cells"
    )
    add_baselines(results, corpus)
    if FLAGS.transformer_epochs:
        add_transformer(results, corpus)
    memory = None
    for mode in FLAGS.modes:
        memory = None  # before the next is made
        run = Run(mode, model, corpus, log_slots, settings)
        nats, best, memory = run.finish()
        for readout, spent in run.weightless.items():
            alone = metrics.summarize(spent, np.full(len(spent), -1), corpus.test, corpus.token_bytes)
            alone = {**alone._asdict(), "accuracy": float("nan")}
            results.add(f"the same counts, {readout}", **alone, seconds=float("nan"))
        summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)._asdict()
        if not FLAGS.accuracy:
            summary["accuracy"] = float("nan")
        results.add(f"chain, {mode}", **summary, seconds=run.seconds, tokens_per_second=run.speed)
        if FLAGS.gating and mode == "static":
            memory = add_gated(results, run, memory, bitwise.Scores(jnp.asarray(nats), jnp.asarray(best)))
    results.print()
    for row in results.rows:
        if "tokens_per_second" in row:
            speeds = ", ".join(
                f"{name} {speed:,.0f} tokens/s" for name, speed in row["tokens_per_second"].items()
            )
            print(f"{row['row']}: {speeds}")
    if FLAGS.checkpoint and memory is not None:
        about = {**settings, "mode": FLAGS.modes[-1]}
        scores = {"ce": results.rows[-1]["ce"]}
        saved = checkpoint.save(
            FLAGS.checkpoint, model.connections, about, scores, chain.arrays(model, memory)
        )
        print(f"saved {saved}")
    memory = None
    if FLAGS.curve_points:
        draw_curve(workdir, model, corpus, log_slots)
    print(f"results in {workdir}")


def settings_from_flags() -> dict[str, Any]:
    """Everything that decides the numbers, as plain data."""
    names = ("rare", "neurons", "without", "memory_mib", "rate", "readout_tokens", "epochs", "seed", "chunk")
    chosen = {name: getattr(FLAGS, name) for name in names}
    return {"text": base.text_settings(), "chain": {**chosen, "tree": FLAGS.tree}, **gates.settings()}


def make_model(corpus: text.Corpus) -> chain.Model:
    described = chain.WORDS if FLAGS.neurons == "words" else chain.BYTES
    dropped = set(FLAGS.without)
    if unknown := dropped - {*contexts.FIELDS, *contexts.VIEWS}:
        known = ", ".join((*contexts.FIELDS, *contexts.VIEWS))
        raise ValueError(f"--without={sorted(unknown)[0]} names no field or view: choose of {known}")
    described = tuple(one for one in described if not dropped & {*one[1].split(), one[0]})
    if FLAGS.tree == "plain":
        tree = tokentree.plain(corpus.vocabulary)
    else:
        tree = tokentree.clustered(corpus.train, corpus.pieces, FLAGS.rare)
    return chain.model(tree, corpus.pieces, described)


def add_baselines(results: tables.Results, corpus: text.Corpus) -> None:
    """What needs no tables, and for the online row what a cache of recent tokens adds."""
    baselines.add(results, corpus, orders=(5,), cache=True)


def add_transformer(results: tables.Results, corpus: text.Corpus) -> None:
    """What weights make of the same text: two layers, stopped by the end of the training text."""
    config = transformers.TransformerConfig(corpus.vocabulary)
    fitting = transformers.FitConfig(epochs=FLAGS.transformer_epochs)
    begun = time.perf_counter()
    with tqdm(total=100, unit="%", leave=False, desc="transformer") as bar:

        def show(reached: transformers.HeldOut) -> None:
            bar.update(int(100 * reached.share) - bar.n)
            bar.set_postfix_str(f"held out {reached.nats:.4f}")

        fitted = transformers.fit(jax.random.key(FLAGS.seed), config, fitting, corpus.train, show)
    nats, best = transformers.score(fitted, corpus.train, corpus.test)
    summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)
    results.add("transformer", **summary._asdict(), seconds=time.perf_counter() - begun)


class Run:
    """One mode's training and scoring, chunk by chunk, from the start or from where it was saved."""

    def __init__(self, mode: str, model: chain.Model, corpus: text.Corpus, log_slots: int, settings):
        self.mode, self.model, self.corpus, self.log_slots = mode, model, corpus, log_slots
        self.seconds, self.speed = 0.0, {}
        self.weightless: dict[str, np.ndarray] = {}  # nats of the static counts without the readout
        self.saved = None
        if FLAGS.resume:
            digest = hashlib.sha256(corpus.train.tobytes() + corpus.test.tobytes()).hexdigest()
            folder = pathlib.Path(FLAGS.resume) / mode
            self.saved = progress.Progress(folder, {**settings, "mode": mode, "tokens": digest})

    def finish(self) -> tuple[np.ndarray, np.ndarray, chain.Memory]:
        """Nats and guesses of the evaluated tokens, and the memory at the end."""
        online = self.mode == "online"
        train, test = self.corpus.train, self.corpus.test
        found = self.saved.latest() if self.saved else None
        nats, best, done, fitted = np.zeros(len(test)), np.full(len(test), -1, np.int32), 0, False
        if found:
            arrays, data = found
            names = chain.Memory._fields
            memory = chain.Memory(*(jnp.asarray(arrays[name]) for name in names))
            nats, best = np.array(arrays["nats"]), np.array(arrays["best"])
            done, fitted, self.seconds = data["done"], data["fitted"], data["seconds"]
        else:
            memory = chain.empty(self.model, self.log_slots, online)
        clock = time.perf_counter()

        def save() -> None:
            nonlocal clock
            self.seconds, clock = self.seconds + time.perf_counter() - clock, time.perf_counter()
            if self.saved:
                arrays = {**memory._asdict(), "nats": nats, "best": best}
                self.saved.save(arrays, {"done": done, "fitted": fitted, "seconds": self.seconds})

        if not online and not fitted:
            memory = self.fit_static(memory, train)
            done, fitted = len(train), True
            save()
        with tqdm(
            total=len(train) + len(test), initial=done, unit="token", leave=False, desc=self.mode
        ) as bar:
            chunks, clocks = 0, {}  # tokens and seconds of each stage
            while done < len(train) + len(test):
                scored = done >= len(train)
                part = test[done - len(train) :] if scored else train[done:]
                part = part[: FLAGS.chunk]
                begun = time.perf_counter()
                argmax = scored and FLAGS.accuracy
                memory, reading = chain.read(self.model, memory, part, online, argmax, FLAGS.rate)
                if scored:
                    here = slice(done - len(train), done - len(train) + len(part))
                    nats[here], best[here] = chain.nats(self.model, reading), np.asarray(reading.best)
                jax.block_until_ready(memory.registers)
                if chunks and len(part) == FLAGS.chunk:  # the first compiles
                    taken = clocks.setdefault("scoring" if scored else "reading", [0, 0.0])
                    taken[0] += len(part)
                    taken[1] += time.perf_counter() - begun
                done += len(part)
                chunks += 1
                bar.update(len(part))
                if chunks % FLAGS.save_every == 0:
                    save()
        self.speed |= {stage: tokens / seconds for stage, (tokens, seconds) in clocks.items()}
        save()
        if not online:
            self.weightless = self.read_weightless(memory)
        return nats, best, memory

    def read_weightless(self, memory: chain.Memory) -> dict[str, np.ndarray]:
        test, parts = self.corpus.test, []
        begun = chain.empty(self.model, 2, online=False)
        begun, _ = static.observe(self.model, begun, self.corpus.train)
        for at in range(0, len(test), FLAGS.chunk):
            begun, stream = static.observe(self.model, begun, test[at : at + FLAGS.chunk])
            parts.append(static.weightless(self.model, memory, stream))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def fit_static(self, memory: chain.Memory, train: np.ndarray) -> chain.Memory:
        config = static.ReadoutConfig(tokens=FLAGS.readout_tokens, epochs=FLAGS.epochs)
        begun = time.perf_counter()
        with tqdm(total=100, unit="%", leave=False, desc="fit") as bar:
            key = jax.random.key(FLAGS.seed)
            for share, fitted in static.fit(key, self.model, memory, train, config):
                bar.update(int(100 * share) - bar.n)
                memory = fitted
            jax.block_until_ready(memory)
        self.speed["training"] = len(train) / (time.perf_counter() - begun)
        return memory


def add_gated(
    results: tables.Results, run: "Run", memory: chain.Memory, none: bitwise.Scores
) -> chain.Memory:
    """The static model behind the gates that were asked for; the memory comes back as it stood."""
    corpus = run.corpus

    def fit(tokens: np.ndarray) -> chain.Memory:
        return run.fit_static(chain.empty(run.model, run.log_slots, online=False), tokens)

    with gates.bar("chain, static") as on_step:
        memory, scores = on_chain(
            key=jax.random.fold_in(jax.random.key(FLAGS.seed), 1),
            gating=gates.config(),
            model=run.model,
            memory=memory,
            train=corpus.train,
            tokens=corpus.test,
            pieces=corpus.pieces,
            without=none,
            fit=fit,
            places=FLAGS.gate_places,
            chunk=FLAGS.chunk,
            on_step=on_step,
        )
    gates.add(results, "chain, static", scores.whole, corpus)
    if scores.first:
        nats, best = (np.asarray(x) for x in scores.first["none"])
        some = len(nats)
        summary = metrics.summarize(nats, best, corpus.test[:some], corpus.token_bytes)
        name = f"chain, static, first {some}"
        results.add(name, **summary._asdict(), seconds=float("nan"))
        gates.add(results, name, scores.first, corpus)
    return memory


def draw_curve(workdir: pathlib.Path, model: chain.Model, corpus: text.Corpus, log_slots: int) -> None:
    """Microseconds a training token on growing prefixes of the training text."""
    sizes = [len(corpus.train) >> shift for shift in range(FLAGS.curve_points - 1, -1, -1)]
    spent: dict[str, list[float]] = {"static: counts": [], "online": []}
    for size in sizes:
        for name in spent:
            memory = chain.empty(model, log_slots, name == "online")
            jax.block_until_ready(memory)
            begun = time.perf_counter()
            if name == "online":
                for at in range(0, size, FLAGS.chunk):
                    memory, _ = chain.read(model, memory, corpus.train[at : at + FLAGS.chunk], True)
            else:
                memory, stream = static.observe(model, memory, corpus.train[:size])
                memory = static.count(model, memory, stream)
            jax.block_until_ready(memory)
            spent[name].append(1e6 * (time.perf_counter() - begun) / size)
            del memory
    for name, values in spent.items():
        points = ", ".join(f"{size:,}: {value:.1f}" for size, value in zip(sizes, values, strict=True))
        print(f"{name}, us a training token: {points}")
    plots.training_cost(workdir / "training_cost.png", sizes, spent)


if __name__ == "__main__":
    base.run(main)
