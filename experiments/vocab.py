"""The seventeen vocabulary-space models, as published and repaired, beside counts of the same tokens.

python -m experiments.vocab --models=v8_graph,v9_meta --steps=1200 --corpus=movie_reviews.txt
"""

import dataclasses
import pathlib
import sys
import types
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments import inspecting
from experiments.shared import machine, plots, scoring, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import training, vocab
from wnn_jax.data import streams, text
from wnn_jax.saving import progress

_COLUMNS = {
    "parameters": "{:,}",
    "ce": "{:.4f}",
    "bits_per_byte": "{:.4f}",
    "accuracy": "{:.2%}",
    "gap": "{:+.3f}",
    "int8": "{:+.4f}",
    "copy": "{:+.3f}",
    "tokens_per_second": "{:,.0f}",
    "seconds": "{:.1f}",
}
_HEADS = ("parameters", "CE", "bits/byte", "accuracy", "gap", "int8", "copy", "tokens/s", "seconds")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What a run of the command does beside training.

    Attributes:
      eval_tokens: number of tokens of the test split that are scored.
      inspect: a text; the prediction of each model after each hop is printed and drawn.
      resume: folder that training is saved to and continued from.
    """

    eval_tokens: int = 65_536
    inspect: str | None = None
    resume: str | None = None

    def __post_init__(self):
        if self.eval_tokens < 1:
            raise ValueError(f"eval_tokens must be positive, got {self.eval_tokens}")


class Texts(NamedTuple):
    """The texts of all rows.

    Attributes:
      corpus: where they come from.
      windows: windows to train on, ``int32 [N, window + 1]``.
      test: the ids to score.
      targets: those of them that are scored, in windows of half a window.
      learned: as many ids that are trained on, to score too.
    """

    corpus: text.Corpus
    windows: np.ndarray
    test: np.ndarray
    targets: np.ndarray
    learned: np.ndarray


def main(options: types.SimpleNamespace) -> None:
    workdir = tables.make_workdir(options.common.workdir)
    texts = load_texts(options)
    variants = vocab.compare(options.models, texts.corpus.vocabulary)
    need = max(vocab.memory_bytes(variant, options.training) for variant in variants)
    machine.check_memory(need, "lower --tokens_per_step, or take a smaller vocabulary")
    budget, distinct = options.training.tokens, texts.windows[:, 1:].size
    results = tables.Results(
        workdir,
        {
            "experiment": "vocab",
            "config": plain(options, "text", "models", "training", "run"),
            "seed": options.common.seed,
            "train_tokens": budget,
            "distinct_tokens": distinct,
            "eval_tokens": texts.targets[:, 1:].size,
        },
    )
    passes = "" if budget <= distinct else f" ({budget / distinct:.1f} passes over {distinct:,})"
    print(
        f"{texts.corpus.description}: {budget:,} training tokens{passes} in {options.training.steps:,} steps"
        f", {texts.targets[:, 1:].size:,} scored, {texts.corpus.vocabulary:,} ids; {machine.device()}; "
        f"seed {options.common.seed}"
    )
    scoring.add_baselines(results, texts.corpus, texts.windows, texts.targets, (2, 3, 5))
    baselines = [row["row"] for row in results.rows]
    for variant in variants:
        model, report = train(options, variant, texts)
        add(results, options, variant, texts, model, report)
        if options.run.inspect:
            inspecting.show(workdir / f"hops_{slug(variant)}.png", variant.name, model, options.run.inspect)
    show_table(results)
    known = {row["row"]: [row["ce"]] for row in results.rows if row["ce"] is not None}
    label = "test cross-entropy, nats a token; less is better, gray: counts"
    plots.bars(workdir / "vocab.png", known, label, gray=baselines)
    print(f"results, packed models and pictures in {workdir}")


def load_texts(options: types.SimpleNamespace) -> Texts:
    corpus = text.load(options.text)
    windows = vocab.training_windows(corpus.train, options.training)
    part = {"window": options.training.window, "count": options.run.eval_tokens}
    test, targets = vocab.scored_part(corpus.test, **part)
    learned, _ = vocab.scored_part(streams.stream(windows), **part)
    return Texts(corpus, windows, test, targets, learned)


def slug(variant: vocab.Variant) -> str:
    """A variant's name as a file's."""
    return variant.name.replace(", ", "-").replace(" ", "_")


def train(options, variant: vocab.Variant, texts: Texts) -> tuple[vocab.VocabModel, training.Trained]:
    """Train a model, from where it was saved if it was."""
    saved, seed, reports = None, options.common.seed, []
    if options.run.resume:
        about = vocab.describe(seed, variant, texts.windows, options.training)
        saved = progress.Progress(pathlib.Path(options.run.resume) / slug(variant), about)
    with tqdm(total=options.training.steps, desc=variant.name, unit="step") as bar:

        def show(report: training.Trained) -> None:
            reports.append(report)
            bar.set_postfix_str(f"loss {report.losses[-1]:.3f}")
            bar.update(report.done - bar.n)

        key = jax.random.key(seed)
        model = vocab.train(key, variant, texts.corpus, options.training, saved=saved, on_step=show)
    return model, reports[-1]


def add(results: tables.Results, options, variant: vocab.Variant, texts: Texts, model, report) -> None:
    """The row of a trained model, and its file."""
    size = vocab.count_parameters(variant.config)
    if not report.finite:
        unknown = dict.fromkeys((*tables.COLUMNS, "gap", "int8", "copy"), float("nan"))
        results.add(variant.name, **unknown | {"seconds": report.seconds}, parameters=size)
        return
    nats, best = vocab.score(model, texts.test)
    seen, _ = vocab.score(model, texts.learned)
    path = pathlib.Path(options.common.workdir) / f"{slug(variant)}.vocab"
    path.write_bytes(vocab.pack(model))
    packed, _ = vocab.score(vocab.unpack(path.read_bytes()), texts.test)
    scoring.add(
        results,
        texts.corpus,
        variant.name,
        nats,
        best,
        texts.targets,
        report.seconds,
        parameters=size,
        repairs=list(variant.repairs),
        gap=float(nats.mean() - seen.mean()),
        int8=float(packed.mean() - nats.mean()),
        packed_bytes=path.stat().st_size,
        copy=vocab.copy_gain(jax.random.key(options.common.seed), model, texts.windows.ravel()),
        tokens_per_second=report.rate * options.training.tokens_per_step,
    )


def show_table(results: tables.Results) -> None:
    cells = {
        row["row"]: [
            "-" if row.get(name) is None else form.format(row[name]) for name, form in _COLUMNS.items()
        ]
        for row in results.rows
    }
    tables.print_grid("", cells, _HEADS)
    print(
        "gap: CE of the test text less that of text trained on. int8: what packing costs. copy: what a "
        "random text gets cheaper when it is repeated."
    )


COMMAND = Command(
    "vocab",
    __doc__,
    main,
    text=Group(text.TextConfig),
    models=Group(vocab.ComparisonConfig),
    training=Group(vocab.TrainConfig),
    run=Group(RunConfig),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
