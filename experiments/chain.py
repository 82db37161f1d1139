"""Train and score a chain language model, static and online, beside the baselines that it has to beat.

python -m experiments.chain --corpus=wikitext2 --tokenizer=gpt2
"""

import dataclasses
import pathlib
import sys
import time
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.shared import bars, baselines, gates, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import chain, checks
from wnn_jax import transformer as transformers
from wnn_jax.checks import Limits
from wnn_jax.data import text
from wnn_jax.gates import chain_scores, on_chain
from wnn_jax.lm import bitwise, ngram
from wnn_jax.saving import checkpoint, progress


@dataclasses.dataclass(frozen=True)
class Run:
    """The work of this command with the model.

    Attributes:
      modes: the modes of the model, a row for each. static: the tables are fixed after training. online: the
        tables also learn while they are scored.
      accuracy: whether to find the most probable token at each scored place; without it the accuracy is
        unknown.
      transformer_epochs: the most epochs of a small transformer that is trained for comparison; 0 trains
        none.
      gate_places: the number of scored places on which token and dual gates are evaluated.
      curve_points: the number of points of the curve of training time, each on half the text of the next; 0
        for no curve.
      checkpoint: folder to save the model of the last mode to, with its tables.
      resume: folder to save the progress to, and to continue from.
      save_every: the number of chunks between two saves to --resume.
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
        checks.fields(
            self,
            transformer_epochs=Limits(least=0, most=100_000),
            gate_places=Limits(least=1),
            curve_points=Limits(least=0, most=31),
            save_every=Limits(least=1),
        )
        if not self.modes:
            raise ValueError("--modes names no mode: give static, online, or static,online")


def main(options) -> None:
    run, gating, seed = options.run, options.gating, options.common.seed
    configs = [options.chain(mode=mode) for mode in run.modes]
    if run.checkpoint:
        checkpoint.check_target(run.checkpoint, "chain")
    if run.resume:
        progress.parts(run.resume, "chain")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate: give a longer test text")
    gating.check(chain_scores.CONTEXT, corpus.vocabulary)
    if gating.kinds and "static" not in run.modes:
        raise ValueError("gates are on the static model: --gating needs static among the --modes")
    started = time.perf_counter()
    network = chain.build(configs[0], corpus)
    log_slots = chain.log_slots_for(configs[0].memory_mib, network.view.shape[0])
    machine.check_memory(2 * configs[0].memory_mib << 20, "lower --memory_mib")
    settings = plain(options, "text", *["gating"] * bool(gating.kinds))
    settings["chain"] = {**dataclasses.asdict(configs[0]), "mode": list(run.modes), "seed": seed}
    results = tables.begin("chain", workdir, corpus, settings, seed)
    bits = np.diff(np.asarray(network.tree.start))[corpus.train].mean()
    print(
        f"token tree: {bits:.1f} turns a training token, built in {time.perf_counter() - started:.1f} s; "
        f"{network.view.shape[0]} neurons of 2^{log_slots} cells"
    )
    baselines.add(results, corpus, orders=(5,), cache=True)
    if run.transformer_epochs:
        add_transformer(results, corpus, seed, run.transformer_epochs)
    done = None
    for config in configs:
        done = None  # frees the tables of the last model before the next one is made
        done = evaluate(options, config, corpus, network)
        add_mode(results, corpus, config, done)
        if gating.kinds and config.mode == "static":
            add_gated(results, options, done, corpus)
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
        draw_curve(results, workdir, chain.training_cost(configs[0], network, corpus.train, run.curve_points))
    print(f"results in {workdir}")


def evaluate(options, config: chain.ChainConfig, corpus: text.Corpus, network: chain.Network):
    """Train and score one mode, from the start or from saved progress."""
    run = options.run
    with bars.bar(unit="token") as show:
        return chain.evaluate(
            jax.random.key(options.common.seed),
            config,
            corpus,
            network=network,
            argmax=run.accuracy,
            resume=run.resume and pathlib.Path(run.resume, config.mode),
            save_every=run.save_every,
            on_step=lambda step: show(*step),
        )


def add_mode(results: tables.Results, corpus: text.Corpus, config, done: chain.Evaluation) -> None:
    """Add the row of one mode, and for a static model the rows of its counts without the readout."""
    if config.mode == "static":
        for readout, nats in chain.unweighted(done.model, corpus).items():
            guess = ngram.Prediction(nats, np.full(len(nats), -1))
            baselines.add_row(results, corpus, f"the same counts, {readout}", guess)
    scores = ngram.Prediction(done.nats, done.best)
    speeds = {"seconds": done.seconds, "tokens_per_second": done.tokens_per_second}
    baselines.add_row(results, corpus, f"chain, {config.mode}", scores, **speeds)


def add_transformer(results: tables.Results, corpus: text.Corpus, seed: int, epochs: int) -> None:
    """Add the row of a small transformer; the loss on the end of the training text decides when it stops."""
    config, begun = transformers.TransformerConfig(corpus.vocabulary), time.perf_counter()
    with tqdm(total=100, unit="%", leave=False, desc="transformer") as bar:

        def show(reached: transformers.HeldOut) -> None:
            bar.update(int(100 * reached.share) - bar.n)
            bar.set_postfix_str(f"held out {reached.nats:.4f}")

        fitting = transformers.FitConfig(epochs=epochs)
        fitted = transformers.fit(jax.random.key(seed), config, fitting, corpus.train, show)
    scores = ngram.Prediction(*transformers.score(fitted, corpus.train, corpus.test))
    baselines.add_row(results, corpus, "transformer", scores, time.perf_counter() - begun)


def add_gated(results: tables.Results, options, done: chain.Evaluation, corpus: text.Corpus) -> None:
    """Add the rows of the static model with the chosen gates."""
    seed = jax.random.key(options.common.seed)
    with bars.bar("chain, static") as on_step:
        scores = on_chain(
            jax.random.fold_in(seed, 1),
            options.gating,
            done.model,
            corpus.train,
            corpus.test,
            bitwise.Scores(jnp.asarray(done.nats), jnp.asarray(done.best)),
            fit_key=seed,
            places=options.run.gate_places,
            on_step=on_step,
        )
    gates.add(results, "chain, static", scores.whole, corpus)
    if scores.first:
        name = f"chain, static, first {len(scores.first['none'].nats)}"
        baselines.add_row(results, corpus, name, scores.first["none"])
        gates.add(results, name, scores.first, corpus)


def draw_curve(results: tables.Results, workdir: pathlib.Path, cost: chain.TrainingCost) -> None:
    """Record, print and draw the microseconds a training token on growing prefixes of the training text."""
    for name, values in cost.microseconds.items():
        results.add(f"training cost, {name}", tokens=list(cost.tokens), microseconds=list(values))
        points = zip(cost.tokens, values, strict=True)
        curve = ", ".join(f"{size:,}: {value:.1f}" for size, value in points)
        print(f"{name}, us a training token: {curve}")
    plots.training_cost(workdir / "training_cost.png", cost.tokens, cost.microseconds)


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
