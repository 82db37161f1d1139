"""Measure how chain models and Kneser-Ney improve with the training text, and fit a power law to each.

python -m experiments.growth --corpus=stdlib --tokenizer=gpt2 --overlap=drop

Each amount of text is half of the next, and all models of an amount are fitted on the same tokens. What the
law says of more text than there is, is an extrapolation, and is named so.
"""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.chain import CHAIN, PRESETS, Preset, kind_of, row_name, with_flags
from experiments.shared import bars, baselines, chain_plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import chain, checks, growth
from wnn_jax.checks import Limits
from wnn_jax.data import text
from wnn_jax.lm import ngram
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class Options:
    """The points of the curve and the law.

    Attributes:
      preset: the chain models, see experiments.chain.
      doublings: the number of times that the training text is halved.
      scored_tokens: the most tokens at the start of the test text that are scored.
      target: the number of training tokens of which the law is asked.
      blocks: the number of runs of the scored text that the bootstrap draws from.
      draws: the number of its draws.
      resume: folder to save the progress to, and to continue from.
    """

    preset: tuple[Preset, ...] = ("static", "fast")
    doublings: int = 6
    scored_tokens: int = 100_000
    target: int = 100_000_000
    blocks: int = 50
    draws: int = 1000
    resume: str | None = None

    def __post_init__(self):
        checks.fields(
            self,
            doublings=Limits(least=2, most=30),
            scored_tokens=Limits(least=2),
            target=Limits(least=1),
            blocks=Limits(least=2),
            draws=Limits(least=1, most=1 << 20),
        )


class Point(NamedTuple):
    """The scores of one model that was fitted to one amount of training text."""

    name: str
    kind: str
    prediction: ngram.Prediction
    microseconds: float  # of training, a token; NaN where the text is too short to measure it


def main(options) -> None:
    run, seed = options.run, options.common.seed
    configs = {name: with_flags(PRESETS[name], options.chain) for name in run.preset}
    if run.resume:
        progress.parts(run.resume, "growth")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    corpus = corpus._replace(test=corpus.test[: run.scored_tokens])
    if len(corpus.train) >> run.doublings < 100 or len(corpus.test) < run.blocks:
        raise ValueError(
            f"{corpus.description} has {len(corpus.train)} training tokens and {len(corpus.test)} to score, "
            f"too few for --doublings={run.doublings} and --blocks={run.blocks}: lower them"
        )
    settings = plain(options, "text", "run")
    settings["chain"] = {name: dataclasses.asdict(config) for name, config in configs.items()}
    results = tables.begin("growth", workdir, corpus, settings, seed)
    sizes = [len(corpus.train) >> shift for shift in range(run.doublings, -1, -1)]
    curves: dict[str, list[Point]] = {}
    for size in sizes:
        part = corpus._replace(train=corpus.train[:size])
        for point in (*counted(part), *fitted(options, configs, part)):
            more = {"kind": point.kind, "tokens": size, "microseconds": point.microseconds}
            baselines.add_row(results, corpus, f"{point.name}, {size:,}", point.prediction, **more)
            curves.setdefault(point.name, []).append(point)
    results.print()
    laws = fit_laws(results, options, sizes, curves)
    chain_plots.growth(
        workdir / "growth.png",
        sizes,
        {name: [p.prediction.nats.mean() for p in points] for name, points in curves.items()},
        {name: [p.microseconds for p in points] for name, points in curves.items()},
        laws,
    )
    print(f"results in {workdir}")


def counted(corpus: text.Corpus) -> Iterator[Point]:
    """Yield the points of Kneser-Ney 5, and of the same with a cache, whose time includes the scoring."""
    started = time.perf_counter()
    for name, prediction in ngram.baselines(corpus.train, corpus.test, corpus.vocabulary, (5,), cached=True):
        spent = 1e6 * (time.perf_counter() - started) / len(corpus.train)
        if name.startswith("Kneser-Ney"):
            cached = "cache" in name
            kind = "in_context" if cached else "static"
            yield Point("Kneser-Ney 5 + cache" if cached else name, kind, prediction, spent)
        started = time.perf_counter()


def fitted(options, configs: dict[str, Any], corpus: text.Corpus) -> Iterator[Point]:
    """Yield the points of the chain models."""
    resume, size = options.run.resume, len(corpus.train)
    for preset, config in configs.items():
        with bars.bar(f"{preset}, {size:,}", unit="token") as show:
            done = chain.evaluate(
                jax.random.key(options.common.seed),
                config,
                corpus,
                resume=resume and pathlib.Path(resume, f"{preset}_{size}"),
                on_step=lambda step, show=show: show(*step),
            )
        stage = "training" if config.mode == "static" else "reading"
        speed = done.tokens_per_second.get(stage, float("nan"))
        scores = ngram.Prediction(done.nats, done.best)
        yield Point(row_name(preset), kind_of(config), scores, 1e6 / speed)


def fit_laws(
    results: tables.Results, options, sizes: list[int], curves: dict[str, list[Point]]
) -> dict[str, growth.Extrapolation]:
    """Add, print and return the power law of each model."""
    run, laws = options.run, {}
    cells = {}
    for name, points in curves.items():
        nats = np.stack([point.prediction.nats for point in points])
        key = jax.random.key(options.common.seed)  # the same blocks for every model
        law = laws[name] = growth.extrapolate(key, sizes, nats, run.target, run.blocks, run.draws)
        ends = {part: getattr(law, part)._asdict() for part in ("law", "low", "high")}
        results.add(f"power law, {name}", kind=points[0].kind, extrapolated=law._asdict() | ends)
        cells[name] = (
            *(f"{x:.3g} ({a:.3g} to {b:.3g})" for x, a, b in zip(law.law, law.low, law.high, strict=True)),
            f"{law.loss:.3f} ({law.loss_low:.3f} to {law.loss_high:.3f})",
            f"{law.off:.3f}",
        )
    columns = ("floor", "scale", "exponent", f"at {run.target:,}", "off")
    tables.print_grid("floor + scale * tokens ^ -exponent", cells, columns)
    print(
        f"The losses at {run.target:,} tokens are extrapolated from {sizes[0]:,} to {sizes[-1]:,}. In "
        "brackets: nine of ten bootstrap draws; they do not say whether the law holds so far."
    )
    return laws


COMMAND = Command(
    "growth",
    __doc__,
    main,
    text=Group(text.TextConfig),
    chain=CHAIN,
    run=Group(Options),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
