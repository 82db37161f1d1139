"""Train and score a chain language model, static and online, beside the baselines it has to beat.

python -m experiments.chain --corpus=wikitext2 --tokenizer=gpt2
"""

import dataclasses
import functools
import hashlib
import pathlib
import sys
import time
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.shared import baselines, gates, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import chain, metrics
from wnn_jax import transformer as transformers
from wnn_jax.chain import static
from wnn_jax.data import text
from wnn_jax.gates import chain_scores, on_chain
from wnn_jax.lm import bitwise
from wnn_jax.saving import checkpoint, progress


@dataclasses.dataclass(frozen=True)
class Run:
    """What is done with the model.

    Attributes:
      modes: how the tables are used; a row each.
      accuracy: also find the most probable token at every scored place.
      transformer_epochs: also train a small transformer, for this number of epochs at most.
      gate_places: scored places at which token and dual gates are tried.
      curve_points: points of the curve of training time, each half the next.
      checkpoint: folder to save the last mode's model to, tables and all.
      resume: folder to save progress to, and to continue from.
      save_every: chunks between two saves to --resume.
    """

    modes: tuple[Literal["static", "online"], ...] = ("static", "online")
    accuracy: bool = True
    transformer_epochs: int = 0
    gate_places: int = 512
    curve_points: int = 0
    checkpoint: str | None = None
    resume: str | None = None
    save_every: int = 16

    def __post_init__(self):
        if not self.modes:
            raise ValueError("--modes names no mode: static, online or both")
        if self.save_every < 1:
            raise ValueError(f"--save_every must be at least 1, got {self.save_every}")


def main(options) -> None:
    run, gating, seed = options.run, options.gating, options.common.seed
    configs = [options.chain(mode=mode) for mode in run.modes]
    if run.checkpoint:
        checkpoint.check_target(run.checkpoint)
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
    gating.check(chain_scores.CONTEXT, corpus.vocabulary)
    if gating.kinds and "static" not in run.modes:
        raise ValueError("gates are attached to the static model: --gating needs it among the --modes")
    started = time.perf_counter()
    network = chain.build(configs[0], corpus)
    log_slots = chain.log_slots_for(configs[0].memory_mib, network.view.shape[0])
    machine.check_memory(2 * configs[0].memory_mib << 20, "lower --memory_mib")
    settings = plain(options, "text", *["gating"] * bool(gating.kinds))
    settings["chain"] = {**dataclasses.asdict(configs[0]), "mode": list(run.modes), "seed": seed}
    common = {"train_tokens": len(corpus.train), "eval_tokens": len(corpus.test), "seed": seed}
    results = tables.Results(workdir, {"experiment": "chain", "config": settings, **common})
    bits = np.diff(np.asarray(network.tree.start))[corpus.train].mean()
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {seed}\n"
        f"tree: {bits:.1f} turns a training token, made in {time.perf_counter() - started:.1f} s; "
        f"{network.view.shape[0]} neurons of 2^{log_slots} cells"
    )
    baselines.add(results, corpus, orders=(5,), cache=True)
    if run.transformer_epochs:
        add_transformer(results, corpus, seed, run.transformer_epochs)
    done = None
    for config in configs:
        done = None  # the last one goes before the next is made
        done = evaluate(options, config, corpus, network)
        add_mode(results, corpus, config, done, run.accuracy)
        if gating.kinds and config.mode == "static":
            none = bitwise.Scores(jnp.asarray(done.nats), jnp.asarray(done.best))
            add_gated(results, options, done.model, corpus, none)
    results.print()
    for row in results.rows:
        if "tokens_per_second" in row:
            speeds = (f"{name} {speed:,.0f} tokens/s" for name, speed in row["tokens_per_second"].items())
            print(f"{row['row']}: {', '.join(speeds)}")
    if run.checkpoint and done:
        scores = {"ce": float(done.nats.mean())}
        print(f"saved {chain.save(run.checkpoint, done.model, options.text, scores)}")
    done = None
    if run.curve_points:
        draw_curve(workdir, configs[0], network, corpus, run.curve_points)
    print(f"results in {workdir}")


def evaluate(options, config: chain.ChainConfig, corpus: text.Corpus, network: chain.Network):
    """One mode's training and scoring, from the start or from where it was saved."""
    saved = None
    if options.run.resume:
        digest = hashlib.sha256(corpus.train.tobytes() + corpus.test.tobytes()).hexdigest()
        about = {"chain": dataclasses.asdict(config), "seed": options.common.seed, "tokens": digest}
        folder = pathlib.Path(options.run.resume) / config.mode
        saved = progress.Progress(folder, {**plain(options, "text"), **about})
    with tqdm(unit="token", leave=False, delay=0.1) as bar:
        return chain.evaluate(
            jax.random.key(options.common.seed),
            config,
            corpus,
            network=network,
            argmax=options.run.accuracy,
            saved=saved,
            save_every=options.run.save_every,
            on_step=functools.partial(show, bar),
        )


def show(bar: tqdm, step: chain.ChainStep) -> None:
    """Move a progress bar."""
    bar.set_description(step.stage)
    bar.total, bar.n = step.total, step.done
    bar.refresh()


def add_mode(results: tables.Results, corpus: text.Corpus, config, done: chain.Evaluation, accuracy: bool):
    """The row of one mode; of a static model also what its counts say without the readout."""

    def summarize(nats, best) -> dict:
        summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)._asdict()
        return summary if best[0] >= 0 else {**summary, "accuracy": float("nan")}

    if config.mode == "static":
        network, memory = done.model.network, done.model.memory
        memory = static.stand_after(network, memory, corpus.train)
        alone = static.unweighted_nats(network, memory, corpus.test, config.chunk)
        for readout, nats in alone.items():
            row = summarize(nats, np.full(len(nats), -1))
            results.add(f"the same counts, {readout}", **row, seconds=float("nan"))
    speeds = {"seconds": done.seconds, "tokens_per_second": done.tokens_per_second}
    results.add(f"chain, {config.mode}", **summarize(done.nats, done.best), **speeds)


def add_transformer(results: tables.Results, corpus: text.Corpus, seed: int, epochs: int) -> None:
    """What weights make of the same text: two layers, stopped by the end of the training text."""
    config, begun = transformers.TransformerConfig(corpus.vocabulary), time.perf_counter()
    with tqdm(total=100, unit="%", leave=False, desc="transformer") as bar:

        def show(reached: transformers.HeldOut) -> None:
            bar.update(int(100 * reached.share) - bar.n)
            bar.set_postfix_str(f"held out {reached.nats:.4f}")

        fitting = transformers.FitConfig(epochs=epochs)
        fitted = transformers.fit(jax.random.key(seed), config, fitting, corpus.train, show)
    nats, best = transformers.score(fitted, corpus.train, corpus.test)
    summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)
    results.add("transformer", **summary._asdict(), seconds=time.perf_counter() - begun)


def add_gated(
    results: tables.Results, options, model: chain.ChainModel, corpus: text.Corpus, none: bitwise.Scores
) -> None:
    """The static model behind the gates that were asked for."""
    seed = jax.random.key(options.common.seed)
    with gates.bar("chain, static") as on_step:
        scores = on_chain(
            jax.random.fold_in(seed, 1),
            options.gating,
            model,
            corpus.train,
            corpus.test,
            none,
            fit_key=seed,
            places=options.run.gate_places,
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


def draw_curve(workdir: pathlib.Path, config, network: chain.Network, corpus: text.Corpus, points: int):
    """Microseconds a training token on growing prefixes of the training text."""
    sizes = [len(corpus.train) >> shift for shift in range(points - 1, -1, -1)]
    spent: dict[str, list[float]] = {"static: counts": [], "online": []}
    for size in sizes:
        for name in spent:
            mode = "online" if name == "online" else "static"
            memory = chain.empty(dataclasses.replace(config, mode=mode), network)
            jax.block_until_ready(memory)
            begun = time.perf_counter()
            if isinstance(memory, chain.OnlineMemory):
                how = {"learn": True, "rate": config.rate, "block": config.chunk}
                memory, _ = chain.read(network, memory, corpus.train[:size], **how)
            else:
                memory, observed = static.observe(network, memory, corpus.train[:size])
                memory = static.count(network, memory, observed)
            jax.block_until_ready(memory)
            spent[name].append(1e6 * (time.perf_counter() - begun) / size)
            del memory
    for name, values in spent.items():
        curve = ", ".join(f"{size:,}: {value:.1f}" for size, value in zip(sizes, values, strict=True))
        print(f"{name}, us a training token: {curve}")
    plots.training_cost(workdir / "training_cost.png", sizes, spent)


COMMAND = Command(
    "chain",
    __doc__,
    main,
    text=Group(text.TextConfig),
    chain=Group(
        chain.ChainConfig,
        names={
            "folds": "readout_folds",
            "tokens": "readout_tokens",
            "batch": "readout_batch",
            "step_size": "readout_rate",
            "decay": "readout_decay",
        },
        given=("mode",),
    ),
    run=Group(Run),
    gating=gates.GROUP,
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
