"""Train and score tiered RAM language models: as published, and with what the metric hides repaired.

python -m experiments.tiered --corpus=wikitext2 --tokenizer=gpt2
"""

import dataclasses
import hashlib
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from experiments.shared import baselines, gates, machine, plots, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import metrics
from wnn_jax.data import text
from wnn_jax.gates import TieredScores, fit_tiered
from wnn_jax.lm import bitwise, ngram, tiered, tiered_layer, tiered_readout
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class TieredRun:
    """Which models the table has.

    Attributes:
      variants: the models of the table, named in `wnn_jax.lm.tiered.VARIANTS`.
      tiers: COUNT,NEURONS,BITS;...;rest,NEURONS,BITS, or five, three or two; by default five, or two where
        the vocabulary is too small for that.
      resume: folder to save finished models to, and to continue from.
    """

    variants: tuple[tiered.VariantName, ...] = ("published", "empty_half", "repaired")
    tiers: str | None = None
    resume: str | None = None

    def __post_init__(self):
        if not self.variants:
            raise ValueError(f"variants must name one or more of {', '.join(tiered.VARIANTS)}")
        if self.tiers:
            tiered.parse(self.tiers)


def main(options: Any) -> None:
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    vocabulary = corpus.vocabulary
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
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
    settings = plain(options, "text", "gates")
    models = {name: dataclasses.asdict(config) for name, config in configs.items()}
    results = tables.Results(
        workdir,
        {
            "experiment": "tiered",
            "train_tokens": len(corpus.train),
            "eval_tokens": len(corpus.test),
            "config": {**settings, "model": models},
            "seed": options.common.seed,
        },
    )
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {options.common.seed}"
    )
    guesses = baselines.add(results, corpus)
    rows: dict[str, ngram.Prediction] = {
        name: guesses[name] for name in ("unigram (add 0.1)", "Kneser-Ney 5")
    }
    for name, config in configs.items():
        about = {**settings, "model": models[name], "seed": options.common.seed}
        fitted = fit(options, corpus, name, config, about)
        rows[f"tiered {name}"] = add(results, corpus, name, fitted)
    results.print()
    print_band(results, vocabulary)
    report_tiers(results, workdir, corpus, first, rows)
    print(f"results and pictures in {workdir}")


def fit(options: Any, corpus: text.Corpus, name: str, config: tiered.TieredConfig, about) -> TieredScores:
    """Scores of one model and its gates, from where they were saved or from the start."""
    saved = None
    if options.run.resume:
        digest = hashlib.sha256(corpus.train.tobytes() + corpus.test.tobytes()).hexdigest()
        about = {**about, "variant": name, "tokens": digest}
        saved = progress.Progress(pathlib.Path(options.run.resume) / name, about)
    with gates.bar(name) as on_step:
        return fit_tiered(
            key=jax.random.key(options.common.seed),
            config=config,
            gating=options.gates,
            train=corpus.train,
            tokens=corpus.test,
            pieces=corpus.pieces,
            saved=saved,
            on_step=on_step,
        )


def add(results: tables.Results, corpus: text.Corpus, name: str, fitted: TieredScores) -> ngram.Prediction:
    """Rows of one model and its gates; what it scored without gates."""
    without = fitted.scores["none"]
    nats, best = np.asarray(without.nats, np.float64), np.asarray(without.best)
    summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)._asdict()
    # The predecessor never lets a token cost more than a uniform guess: that is no distribution's loss.
    clamped = float(np.minimum(nats, tiered_readout.published_band(corpus.vocabulary)[1]).mean())
    readout = tiered_readout.as_lists(fitted.readout)
    results.add(f"tiered {name}", **summary, clamped_ce=clamped, readout=readout, seconds=fitted.seconds)
    gates.add(results, f"tiered {name}", fitted.scores, corpus)
    return ngram.Prediction(nats, best)


def print_band(results: tables.Results, vocabulary: int) -> None:
    """Say between which numbers a published score must lie."""
    low, high = tiered_readout.published_band(vocabulary)
    print(
        f"A published score is a share in [0, 1], so no token has more than e / (e + {vocabulary - 1:,}) and "
        f"the CE lies in [{low:.3f}, {high:.3f}] (its upper end by a clamp), whatever was learnt."
    )
    for row in results.rows:
        if "clamped_ce" in row:
            inside = "inside" if low <= row["ce"] <= high else "outside"
            print(f"{row['row']}: {inside} that band; {row['clamped_ce']:.4f} with the clamp")


def report_tiers(
    results: tables.Results, workdir, corpus: text.Corpus, config, rows: dict[str, ngram.Prediction]
) -> None:
    """The tier-by-tier table: whose tokens, how many, and each row's CE and accuracy on them."""
    order = tiered_layer.rank_tokens(corpus.train, corpus.vocabulary)
    train, tier = (tiered_layer.tier_of(config, order, x) for x in (corpus.train, corpus.test))
    shares = [np.bincount(x, minlength=len(config.tiers)) / len(x) for x in (train, tier)]
    table = {row: tiered.by_tier(config, tier, scores, corpus.test) for row, scores in rows.items()}
    borders = list(zip(config.borders[:-1], config.borders[1:], strict=True))
    head = f"{'tier: ranks':>16} {'neurons':>8} {'bits':>5} {'of train':>9} {'of eval':>8}"
    print("\n" + head + "".join(f"{row:>22}" for row in table))
    for t, (sizes, (first, last)) in enumerate(zip(config.tiers, borders, strict=True)):
        line = f"{f'{t}: {first + 1:,}-{last:,}':>16} {sizes.neurons:>8} {sizes.address_bits:>5}"
        line += f" {shares[0][t]:>9.1%} {shares[1][t]:>8.1%}"
        for values in table.values():
            ce, accuracy = values[t]
            line += f"{'-' if ce is None else f'{ce:.3f}  {accuracy:.1%}':>22}"
        print(line)
    plain = {row: [x._asdict() for x in values] for row, values in table.items()}
    results.add("by tier", seconds=0.0, train_share=shares[0].tolist(), tiers=plain)
    plots.tiers(workdir / "tiers.png", [f"{first + 1}-{last}" for first, last in borders], plain)


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
