"""Train and score chain language models, static and online, beside the baselines that they have to beat.

python -m experiments.chain --corpus=wikitext2 --tokenizer=gpt2
"""

import dataclasses
import pathlib
import sys
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared import bars, baselines, chain_plots, chain_writing, gates, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from experiments.shared.pace import Pace
from wnn_jax import chain, checks
from wnn_jax import transformer as transformers
from wnn_jax.checks import Limits
from wnn_jax.data import text
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.data.tokens import Tokens
from wnn_jax.gates import chain_scores, on_chain
from wnn_jax.lm import bitwise, ngram
from wnn_jax.saving import progress

AnyCorpus = text.Corpus | ShardedCorpus
PRESETS: dict[str, chain.ChainConfig | chain.MixtureConfig] = {
    "static": chain.STATIC,
    "fast": chain.FAST,
    "best": chain.BEST,
    "two_trees": chain.TWO_TREES,
    "static_in_context": chain.STATIC_IN_CONTEXT,
    "static_two_trees": chain.STATIC_TWO_TREES,
    "bytes_fast": chain.BYTES_FAST,
    "bytes_best": chain.BYTES_BEST,
}
Preset = Literal[
    "static", "static_in_context", "static_two_trees", "fast", "best", "two_trees", "bytes_fast", "bytes_best"
]
# Rows of two kinds are not ranked together: they know different parts of the scored text.
KINDS = {
    "static": "static: fixed after training",
    "in_context": "in context: fixed counts, and a memory of the text that is read",
    "online": "online: every token is learnt after it is scored",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """The work of this command with the models.

    Attributes:
      preset: the models, a row for each. static: the tables are fixed after training; static_in_context
        also remembers the text that it scores. fast, best: online, the
        tables also learn while they are scored. two_trees, static_two_trees: two models of different trees,
        mixed. bytes_fast, bytes_best: online, for texts of bytes.
      accuracy: whether to find the most probable token at each scored place; without it the accuracy is
        unknown. It is not looked for in a mixture of two trees, where it takes hours.
      kneser_ney: whether to count Kneser-Ney and its cache, which hold the whole training text in memory;
        without them, the ids of a folder of shards stay on the disk.
      transformer_epochs: the most epochs of a small transformer that is trained for comparison; 0 trains
        none.
      gate_places: the number of scored places on which token and dual gates are evaluated.
      curve_points: the number of points of the curve of training time, each on half the text of the next; 0
        for no curve.
      ablate: leave out each context neuron (contexts), or each field, view, weight set, input and property of
        the tree (parts), of the first preset, on a sample of the training text, instead of scoring the
        evaluated text.
      ablate_tokens: size of this sample in tokens; its last quarter is scored.
      writing_tokens: the number of tokens that each model draws by each of some rules of drawing, to measure
        its speed; 0 measures none.
      checkpoint: folder to save the model of the last preset to, with its tables.
      resume: folder to save the progress to, and to continue from.
      save_every: the number of chunks between two saves to --resume.
    """

    preset: tuple[Preset, ...] = ("static", "fast")
    accuracy: bool = True
    kneser_ney: bool = True
    transformer_epochs: int = 0
    gate_places: int = 512
    curve_points: int = 0
    ablate: Literal["contexts", "parts"] | None = None
    ablate_tokens: int = 100_000
    writing_tokens: int = 0
    checkpoint: str | None = None
    resume: str | None = None
    save_every: int = 16

    def __post_init__(self):
        checks.fields(
            self,
            transformer_epochs=Limits(least=0, most=100_000),
            gate_places=Limits(least=1),
            curve_points=Limits(least=0, most=31),
            ablate_tokens=Limits(least=8),
            writing_tokens=Limits(least=0, most=1 << 20),
            save_every=Limits(least=1),
        )
        if not self.preset:
            raise ValueError(f"--preset names no model: give one or several of {', '.join(PRESETS)}")
        if len(set(self.preset)) < len(self.preset):
            raise ValueError(f"--preset={','.join(self.preset)} names a model twice: give each once")


def main(options) -> None:
    run, gating, seed = options.run, options.gating, options.common.seed
    configs = {name: with_flags(PRESETS[name], options.chain) for name in run.preset}
    if run.ablate and isinstance(configs[run.preset[0]], chain.MixtureConfig):
        raise ValueError(
            f"--ablate takes one model apart, not the mixture {run.preset[0]}: give another preset"
        )
    if run.checkpoint:
        chain.check_target(run.checkpoint, configs[run.preset[-1]])
    if run.resume:
        progress.parts(run.resume, "chain")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.opened(options.text)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate: give a longer test text")
    gating.check(chain_scores.CONTEXT, corpus.vocabulary)
    if gating.kinds and "static" not in run.preset:
        raise ValueError("gates are on the static model: --gating needs static among the --preset")
    machine.check_memory(2 * max(map(mebibytes, configs.values())) << 20, "lower --memory_mib")
    settings = plain(options, "text", *["gating"] * bool(gating.kinds))
    settings["chain"] = {name: dataclasses.asdict(config) for name, config in configs.items()}
    settings["chain"]["seed"] = seed
    results = tables.begin("chain", workdir, corpus, settings, seed)
    if run.ablate:
        ablate(results, options, configs[run.preset[0]], text.in_memory(corpus), workdir)
    else:
        compare(results, options, configs, corpus, workdir)
    print(f"results in {workdir}")


def with_flags(config: Any, change) -> Any:
    """Return a preset with the values of the flags that were given, in both models of a mixture."""
    if isinstance(config, chain.MixtureConfig):
        return dataclasses.replace(config, first=change(config.first), second=change(config.second))
    return change(config)


def mebibytes(config: chain.ChainConfig | chain.MixtureConfig) -> int:
    """Return the size of the tables of a model, or of both of a mixture."""
    if isinstance(config, chain.MixtureConfig):
        return config.first.memory_mib + config.second.memory_mib
    return config.memory_mib


def kind_of(config: chain.ChainConfig | chain.MixtureConfig) -> str:
    """Return the kind of a model's row."""
    return "online" if config.mode == "online" else "in_context" if config.in_context else "static"


def compare(results: tables.Results, options, configs, corpus: AnyCorpus, workdir: pathlib.Path) -> None:
    """Add the rows of all models and baselines, and draw them."""
    run, networks = options.run, {}
    cached = add_baselines(results, corpus, run.kneser_ney)
    if run.transformer_epochs:
        add_transformer(results, text.in_memory(corpus), options.common.seed, run.transformer_epochs)
    curves, calibrations, written, done = {}, {}, {}, None
    for preset, config in configs.items():
        done = None  # frees the tables of the last model before the next one is made
        pace = Pace("reading")
        done = evaluate(options, preset, config, corpus, wire(config, corpus, networks), pace)
        add_model(results, corpus, preset, config, done, pace.tenths())
        curves[row_name(preset)] = done.nats
        if done.reliability:
            calibrations[row_name(preset)] = done.reliability
        if options.gating.kinds and preset == "static":
            add_gated(results, options, done, text.in_memory(corpus))
        if run.writing_tokens:
            seed = options.common.seed
            written[row_name(preset)] = chain_writing.speeds(seed, done.model, run.writing_tokens)
    results.print(KINDS)
    for row in results.rows:
        if row.get("tokens_per_second"):
            speeds = (f"{name} {speed:,.0f} tokens/s" for name, speed in row["tokens_per_second"].items())
            print(f"{row['row']}: {', '.join(speeds)}")
    chain_writing.add(results, written)
    chain_plots.along_text(workdir / "along_text.png", {**curves, **cached}, grey=[*cached])
    if calibrations:
        chain_plots.reliability(workdir / "reliability.png", calibrations)
    if run.checkpoint and done:
        scores = {"ce": float(done.nats.mean())}
        print(f"saved {chain.save(run.checkpoint, done.model, options.text, scores)}")
    done = None
    if run.curve_points:
        config = next(iter(configs.values()))
        config = config.first if isinstance(config, chain.MixtureConfig) else config
        network = wire(config, corpus, networks)
        draw_curve(results, workdir, chain.training_cost(config, network, corpus.train[:], run.curve_points))


def add_baselines(results: tables.Results, corpus: AnyCorpus, kneser_ney: bool) -> dict[str, np.ndarray]:
    """Add the rows of the baselines, and return the nats of the best of them, by its name."""
    if kneser_ney:
        whole = text.in_memory(corpus)
        more = lambda name: {"kind": "in_context" if "cache" in name else "static"}  # noqa: E731
        known = baselines.add(results, whole, orders=(5,), cache=True, more=more)
        return {name: guess.nats for name, guess in known.items() if "cache" in name}
    counts, test = counted(corpus), corpus.test[:]
    for name, guess in (
        ("uniform", ngram.uniform(corpus.vocabulary, test)),
        ("unigram (add 0.1)", ngram.frequencies(counts, test)),
    ):
        baselines.add_row(results, corpus, name, guess, kind="static")
    return {}


def counted(corpus: AnyCorpus) -> np.ndarray:
    """Return how often each id occurs in the training text, ``int64 [V]``."""
    windows = Tokens.of(corpus.train).windows()
    counts = (np.bincount(window, minlength=corpus.vocabulary) for window in windows)
    return sum(counts, np.zeros(corpus.vocabulary, np.int64))


def wire(config, corpus: AnyCorpus, made: dict[Any, chain.Network]) -> Any:
    """Return the wiring of a model, or the two of a mixture; what two presets share is built once."""
    if isinstance(config, chain.MixtureConfig):
        return wire(config.first, corpus, made), wire(config.second, corpus, made)
    key = config.tree, config.rare, config.described, config.sets
    if key not in made:
        started = time.perf_counter()
        made[key] = chain.build(config, corpus)
        turns, times = np.diff(np.asarray(made[key].tree.start)), counted(corpus)
        bits = turns @ times / times.sum()
        neurons = len(config.described)
        print(
            f"token tree: {bits:.1f} turns a training token, built in {time.perf_counter() - started:.1f} s; "
            f"{neurons} context neurons"
        )
    return made[key]


def evaluate(options, preset: str, config, corpus: AnyCorpus, network, pace: Pace) -> chain.Evaluation[Any]:
    """Train and score one model, from the start or from saved progress."""
    run = options.run
    with bars.bar(preset, unit="token") as show:

        def on_step(step: chain.ChainStep) -> None:
            show(*step)
            pace.note(step.stage, step.done)

        return chain.evaluate(
            jax.random.key(options.common.seed),
            config,
            corpus,
            network=network,
            argmax=run.accuracy and not isinstance(config, chain.MixtureConfig),
            resume=run.resume and pathlib.Path(run.resume, preset),
            save_every=run.save_every,
            on_step=on_step,
        )


def row_name(preset: str) -> str:
    """Return the name of the row of a preset."""
    return f"chain, {preset.replace('_', ' ')}"


def add_model(
    results: tables.Results, corpus: AnyCorpus, preset: str, config, done, pace: list[float] | None
) -> None:
    """Add the row of one model, and for a single static one the rows of its counts without the readout."""
    kind = kind_of(config)
    if preset == "static":
        for readout, nats in chain.unweighted(done.model, text.in_memory(corpus)).items():
            guess = ngram.Prediction(nats, np.full(len(nats), -1))
            baselines.add_row(results, corpus, f"the same counts, {readout}", guess, kind=kind)
    more = {"kind": kind, "tokens_per_second": done.tokens_per_second}
    if pace:
        more["tokens_per_second_by_tenth"] = pace
    if isinstance(done.model, chain.MixtureModel):
        more["weight"] = done.model.weight
    scores = ngram.Prediction(done.nats, done.best)
    baselines.add_row(results, corpus, row_name(preset), scores, done.seconds, **more)


def ablate(results: tables.Results, options, config, corpus: text.Corpus, workdir: pathlib.Path) -> None:
    """Add a row for each part of a model that was left out, and draw what each part is worth."""
    run, preset = options.run, options.run.preset[0]
    with bars.bar(f"{preset} without", unit="model") as show:
        found = chain.ablate(
            jax.random.key(options.common.seed),
            config,
            corpus,
            run.ablate,
            run.ablate_tokens,
            resume=run.resume and pathlib.Path(run.resume, f"{preset} without {run.ablate}"),
            on_step=show,
        )
    kind = kind_of(config)
    for name, one in found.items():
        results.add(f"{row_name(preset)}, without {name}", kind=kind, ablated=run.ablate, **one._asdict())
    cells = {
        name: (f"{one.nats:.4f}", f"{one.worth:+.4f}", f"{one.error:.4f}") for name, one in found.items()
    }
    tables.print_grid(f"{preset}, without", cells, ("ce", "worth", "error"))
    del found["all"]
    scored = run.ablate_tokens // 4
    one = {"contexts": "context neuron", "parts": "part"}[run.ablate]
    title = f"What each {one} of '{preset}' saves\n(on {scored:,} held-out tokens of training text)"
    chain_plots.worth(workdir / f"worth_of_{run.ablate}.png", found, title)


def add_transformer(results: tables.Results, corpus: text.Corpus, seed: int, epochs: int) -> None:
    """Add the row of a small transformer; the loss on the end of the training text decides when it stops."""
    config, begun = transformers.TransformerConfig(corpus.vocabulary), time.perf_counter()
    with bars.bar("transformer", "%") as on_step:

        def show(reached: transformers.HeldOut) -> None:
            on_step("", int(100 * reached.share), 100, validation=reached.nats)

        fitting = transformers.FitConfig(epochs=epochs)
        fitted = transformers.fit(jax.random.key(seed), config, fitting, corpus.train, show)
    scores = ngram.Prediction(*transformers.score(fitted, corpus.train, corpus.test))
    baselines.add_row(results, corpus, "transformer", scores, time.perf_counter() - begun, kind="static")


def add_gated(results: tables.Results, options, done, corpus: text.Corpus) -> None:
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


READOUT = {
    "folds": "readout_folds",
    "tokens": "readout_tokens",
    "batch": "readout_batch",
    "step_size": "readout_rate",
    "decay": "readout_decay",
}
CHAIN = Group(chain.ChainConfig, names=READOUT, given=("mode",), over="as in the preset")
COMMAND = Command(
    "chain",
    __doc__,
    main,
    text=Group(text.TextConfig),
    chain=CHAIN,
    run=Group(Run),
    gating=gates.GROUP,
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
