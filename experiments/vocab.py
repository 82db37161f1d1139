"""Train and score vocabulary-space models, as published and repaired, beside baselines on the same tokens.

python -m experiments.vocab --models=v8_graph,v9_meta --steps=1200 --corpus=movie_reviews.txt
"""

import dataclasses
import pathlib
import sys
import types

import jax
import numpy as np

from experiments.shared import bars, machine, plots, scoring, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import checks, files, training, vocab
from wnn_jax.data import text
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
_DRAWN = 16  # the last positions of a text, which the picture shows


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Scoring, inspection and saving.

    Attributes:
      eval_tokens: the number of test tokens that are scored.
      inspect: a text; print and draw the next words that each model predicts for it after each hop.
      resume: folder to save the progress of training to, and to continue from.
    """

    eval_tokens: int = 65_536
    inspect: str | None = None
    resume: str | None = None

    def __post_init__(self):
        checks.fields(self, eval_tokens=checks.Limits(least=1))


def main(options: types.SimpleNamespace) -> None:
    if options.run.resume:
        progress.parts(options.run.resume, "vocab")
    workdir, seed = tables.make_workdir(options.common.workdir), options.common.seed
    corpus = text.load(options.text)
    texts = vocab.cut_texts(corpus, options.training, options.run.eval_tokens)
    variants = vocab.compare(options.models, corpus.vocabulary)
    need = max(vocab.memory_bytes(variant, options.training) for variant in variants)
    machine.check_memory(need, "lower --tokens_per_step, or choose a smaller vocabulary")
    budget, distinct, scored = options.training.tokens, texts.windows[:, 1:].size, texts.targets[:, 1:].size
    results = tables.Results(
        workdir,
        {
            "experiment": "vocab",
            "config": plain(options, "text", "models", "training", "run"),
            "seed": seed,
            "train_tokens": budget,
            "distinct_tokens": distinct,
            "eval_tokens": scored,
        },
    )
    passes = "" if budget <= distinct else f" ({budget / distinct:.1f} passes over {distinct:,})"
    print(
        f"{corpus.description}: {budget:,} training tokens{passes} in {options.training.steps:,} steps"
        f", {scored:,} scored, {corpus.vocabulary:,} ids; {machine.device()}; seed {seed}"
    )
    scoring.add_baselines(results, corpus, texts.windows, texts.targets, (2, 3, 5))
    baselines = [row["row"] for row in results.rows]
    for variant in variants:
        add(results, options, corpus, texts, variant)
    show_table(results)
    known = {row["row"]: [row["ce"]] for row in results.rows if row["ce"] is not None}
    label = "test cross-entropy, nats a token; less is better, gray: counts"
    plots.bars(workdir / "vocab.png", known, label, gray=baselines)
    print(f"results, packed models and pictures in {workdir}")


def train(
    options: types.SimpleNamespace, variant: vocab.Variant, corpus: text.Corpus
) -> tuple[vocab.VocabModel, training.Trained]:
    """Train a model, or continue from saved progress. Return the model and the last report of training."""
    reports: list[training.Trained] = []
    with bars.bar(variant.name, "step") as on_step:

        def show(report: training.Trained) -> None:
            reports.append(report)
            on_step("", report.done, options.training.steps, loss=report.losses[-1])

        key, resume = jax.random.key(options.common.seed), options.run.resume
        model = vocab.train(key, variant, corpus, options.training, resume=resume, on_step=show)
    return model, reports[-1]


def add(results: tables.Results, options, corpus: text.Corpus, texts: vocab.VocabTexts, variant) -> None:
    """Train a model, add its row, and write its packed file and, if asked for, its picture."""
    workdir = pathlib.Path(options.common.workdir)
    model, report = train(options, variant, corpus)
    size = vocab.count_parameters(variant.config)
    if report.finite:
        found = vocab.measure(jax.random.key(options.common.seed), model, texts)
        files.write(workdir / f"{variant.file_name}.vocab", found.packed)
        scoring.add(
            results,
            corpus,
            variant.name,
            found.nats,
            found.best,
            texts.targets,
            report.seconds,
            parameters=size,
            repairs=list(variant.repairs),
            gap=found.gap,
            int8=found.int8,
            packed_bytes=len(found.packed),
            copy=found.copy,
            tokens_per_second=report.rate * options.training.tokens_per_step,
        )
    else:
        unknown = dict.fromkeys((*tables.COLUMNS, "gap", "int8", "copy"), float("nan"))
        results.add(variant.name, **unknown | {"seconds": report.seconds}, parameters=size)
    if options.run.inspect:
        show_hops(workdir / f"hops_{variant.file_name}.png", variant.name, model, options.run.inspect)


def show_hops(path: pathlib.Path, row: str, model: vocab.VocabModel, words: str) -> None:
    """Print the most probable next words at the end of a text after each hop; draw those of its last places.

    Args:
      path: the picture to write.
      row: the name of the model.
      model: the model.
      words: the text.
    """
    reading = vocab.inspect(model, words)
    print(f"\n{row}: the next word after {''.join(reading.words[i] for i in reading.ids)!r}, hop by hop")
    for hop, top in enumerate(reading.top()):
        print(f"{hop:4d}  " + "  ".join(f"{word!r} {share:.3f}" for word, share in top))
    drawn = slice(-_DRAWN, None)
    best = np.array(reading.words, object)[reading.probabilities.argmax(-1)]
    shares = reading.probabilities.max(-1)
    plots.hops(path, [reading.words[i] for i in reading.ids[drawn]], best[:, drawn], shares[:, drawn])


def show_table(results: tables.Results) -> None:
    """Print the rows with all their columns, and an explanation of the columns."""
    cells = {
        row["row"]: [
            "-" if row.get(name) is None else form.format(row[name]) for name, form in _COLUMNS.items()
        ]
        for row in results.rows
    }
    tables.print_grid("", cells, _HEADS)
    print(
        "gap: CE of the test text less CE of training text. int8: the increase in CE by packing. copy: the "
        "decrease in CE of a random text when it is repeated."
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
