"""Train and score tiered RAM language models, as published and with faults repaired that the metric hides.

python -m experiments.tiered --corpus=wikitext2 --tokenizer=gpt2
"""

import dataclasses
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from experiments.shared import bars, baselines, gates, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import checks
from wnn_jax.data import text
from wnn_jax.gates import TieredScores, fit_tiered
from wnn_jax.lm import bitwise, ngram, tiered, tiered_readout
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class TieredRun:
    """The models of the table.

    Attributes:
      variants: the models to train; their names are those of `wnn_jax.lm.tiered.VARIANTS`.
      tiers: COUNT,NEURONS,BITS;...;rest,NEURONS,BITS, or one of five, three and two; by default five, or two
        if the vocabulary is too small for five.
      resume: folder to save finished models to, and to continue from.
    """

    variants: tuple[tiered.VariantName, ...] = ("published", "empty_half", "repaired")
    tiers: str | None = None
    resume: str | None = None

    def __post_init__(self):
        checks.fields(self)
        if not self.variants:
            raise ValueError(f"--variants names no model: give one or more of {', '.join(tiered.VARIANTS)}")
        if self.tiers:
            tiered.parse(self.tiers)


def main(options: Any) -> None:
    seed = options.common.seed
    if options.run.resume:
        progress.parts(options.run.resume, "tiered")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate: give a longer test text")
    vocabulary = corpus.vocabulary
    tiers = tiered.parse(options.run.tiers) if options.run.tiers else ()
    configs = {
        name: options.model(vocabulary=vocabulary, tiers=tiers, **tiered.VARIANTS[name]._asdict())
        for name in options.run.variants
    }
    first = next(iter(configs.values()))
    options.gates.check(first.context, vocabulary)
    bitwise.check_tokens(bitwise.BitwiseConfig(vocabulary, first.context, 1, 1), corpus.train)
    machine.check_memory(
        tiered.needed_bytes(first, corpus.train, corpus.test), "lower --train_tokens, or the bits of --tiers"
    )
    models = {name: dataclasses.asdict(config) for name, config in configs.items()}
    settings = {**plain(options, "text", "gates"), "model": models}
    results = tables.begin("tiered", workdir, corpus, settings, seed)
    guesses = baselines.add(results, corpus)
    rows = {name: guesses[name] for name in ("unigram (add 0.1)", "Kneser-Ney 5")}
    for name, config in configs.items():
        rows[f"tiered {name}"] = add(results, corpus, name, fit(options, corpus, name, config))
    results.print()
    print_band(results, vocabulary)
    report_tiers(results, workdir, first, tiered.tier_table(first, corpus.train, corpus.test, rows))
    print(f"results and pictures in {workdir}")


def fit(options: Any, corpus: text.Corpus, name: str, config: tiered.TieredConfig) -> TieredScores:
    """Fit and score one model and its gates, or read their scores if they are saved."""
    resume = options.run.resume
    with bars.bar(name) as on_step:
        return fit_tiered(
            key=jax.random.key(options.common.seed),
            config=config,
            gating=options.gates,
            train=corpus.train,
            tokens=corpus.test,
            pieces=corpus.pieces,
            resume=resume and pathlib.Path(resume, name),
            on_step=on_step,
        )


def add(results: tables.Results, corpus: text.Corpus, name: str, fitted: TieredScores) -> ngram.Prediction:
    """Add the rows of one model and its gates, and return the scores without gates."""
    without = fitted.scores["none"]
    scores = ngram.Prediction(np.asarray(without.nats, np.float64), np.asarray(without.best))
    more = {
        "clamped_ce": tiered_readout.clamped_nats(scores.nats, corpus.vocabulary),
        "readout": tiered_readout.as_lists(fitted.readout),
    }
    baselines.add_row(results, corpus, f"tiered {name}", scores, fitted.seconds, **more)
    gates.add(results, f"tiered {name}", fitted.scores, corpus)
    return scores


def print_band(results: tables.Results, vocabulary: int) -> None:
    """Print the band in which the CE of the published score must lie."""
    low, high = tiered_readout.published_band(vocabulary)
    print(
        "The published score of a token is a share in [0, 1]. So no token has a probability above "
        f"e / (e + {vocabulary - 1:,}), and the CE lies in [{low:.3f}, {high:.3f}] for any tables (a clamp "
        "sets the upper end)."
    )
    for row in results.rows:
        if "clamped_ce" in row:
            inside = "inside" if low <= row["ce"] <= high else "outside"
            print(f"{row['row']}: {inside} that band; CE with the clamp {row['clamped_ce']:.4f}")


def report_tiers(
    results: tables.Results, workdir: pathlib.Path, config: tiered.TieredConfig, table: tiered.TierTable
) -> None:
    """Print and record the table of tiers: their shares of tokens, and the CE and accuracy of each row."""
    head = f"{'tier: ranks':>16} {'neurons':>8} {'bits':>5} {'of train':>9} {'of eval':>8}"
    print("\n" + head + "".join(f"{row:>22}" for row in table.rows))
    for t, (sizes, (first, last)) in enumerate(zip(config.tiers, table.ranks, strict=True)):
        line = f"{f'{t}: {first:,}-{last:,}':>16} {sizes.neurons:>8} {sizes.address_bits:>5}"
        line += f" {table.train_share[t]:>9.1%} {table.share[t]:>8.1%}"
        for values in table.rows.values():
            ce, accuracy = values[t]
            line += f"{'-' if ce is None else f'{ce:.3f}  {accuracy:.1%}':>22}"
        print(line)
    rows = {row: [x._asdict() for x in values] for row, values in table.rows.items()}
    results.add("by tier", seconds=0.0, train_share=table.train_share, test_share=table.share, tiers=rows)
    plots.tiers(workdir / "tiers.png", [f"{first}-{last}" for first, last in table.ranks], rows)


COMMAND = Command(
    "tiered",
    __doc__,
    main,
    text=Group(text.TextConfig),
    run=Group(TieredRun),
    model=Group(tiered.TieredConfig, given=("vocabulary", "tiers", *tiered.Variant._fields)),
    gates=gates.GROUP,
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
