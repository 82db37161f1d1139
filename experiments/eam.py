"""Train a teacher, an associative memory and a student that reads it; score them; pack the student in a file.

python -m experiments.eam --corpus=movie_reviews.txt --tokenizer=sp:fineweb_1024_bpe.model
"""

import dataclasses
import sys
from typing import Any, Literal

import jax
import numpy as np

from experiments.associating import study_rows
from experiments.shared import bars, machine, scoring, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, eam, files
from wnn_jax.data import text
from wnn_jax.eam import artifact, studies
from wnn_jax.saving import progress

StudyName = Literal["reconstruction", "continual", "merge", "time"]


@dataclasses.dataclass(frozen=True)
class Options:
    """The amount of text, the sizes and the studies.

    Attributes:
      preset: the sizes of models, texts and training.
      tokens: the number of training tokens; by default that of the preset, or all that the corpus has.
      patterns: the number of patterns written for one location; by default that of the preset.
      positions: whether teacher and encoder learn the places of tokens; the published ones do not.
      studies: the studies of the memory to run after training.
      resume: folder to save finished stages to, and to continue from.

    Raises:
      ValueError: a number is out of range.
    """

    preset: Literal["small", "full"] = "small"
    tokens: int | None = None
    patterns: float | None = None
    positions: bool = False
    studies: tuple[StudyName, ...] = ("reconstruction", "continual", "merge", "time")
    resume: str | None = None

    def __post_init__(self):
        checks.fields(self, tokens=checks.Limits(least=1), patterns=checks.Limits(above=0, most=1e9))


def main(options) -> None:
    chosen, seed = options.eam, options.common.seed
    if chosen.resume:
        progress.parts(chosen.resume, "eam")
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    config, texts = prepare(chosen, corpus)
    machine.check_memory(eam.memory_bytes(config, texts), "lower --tokens")
    sizes = {"train_tokens": texts.train[:, 1:].size, "eval_tokens": texts.scored[:, 1:].size}
    about = {"config": dataclasses.asdict(config), "tokens": texts.digest()}
    results = tables.Results(workdir, {"experiment": "eam", "config": about, "seed": seed, **sizes})
    print(
        f"{corpus.description}: {sizes['train_tokens']:,} training tokens, {sizes['eval_tokens']:,} scored, "
        f"{corpus.vocabulary:,} ids, {config.locations(sizes['train_tokens']):,} locations; "
        f"{machine.device()}; seed {seed}"
    )
    scoring.add_baselines(results, corpus, texts.train, texts.scored)
    key = jax.random.key(seed)
    with bars.bar(unit="epoch or batch") as on_step:

        def show(step: eam.StageStep) -> None:
            on_step(step.stage, step.done, step.total, loss=step.loss)

        model = eam.fit(key, config, texts.train, resume=chosen.resume, on_step=show)
    nats = add_parts(results, corpus, model, texts)
    path = workdir / "model.eam"
    packed = eam.pack(config.student(repaired=True), model.student())
    files.write(path, packed)
    size, code = len(packed), artifact.code_bytes()
    print(f"packed: {size:,} bytes and {code:,} of code, {size + code:,} in all")
    results.print()
    explain(results, nats)
    if chosen.studies:
        subject = studies.prepare(key, model, texts)
        study_rows.run(chosen.studies, results, workdir, subject, texts.train)
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in model.seconds.items()))
    print(f"results and pictures in {workdir}")


def prepare(options: Options, corpus: text.Corpus) -> tuple[eam.EamConfig, eam.EamTexts]:
    """Make the config for a corpus, and cut the corpus into windows."""
    amounts, preset = eam.AMOUNTS[options.preset], eam.PRESETS[options.preset]
    config = dataclasses.replace(
        preset,
        vocabulary=corpus.vocabulary,
        patterns=options.patterns or preset.patterns,
        positions=options.positions,
    )
    amounts = amounts._replace(train=options.tokens or amounts.train)
    return config, eam.cut_texts(corpus, config.window, amounts)


def add_parts(
    results: tables.Results, corpus: text.Corpus, model: eam.Eam, texts: eam.EamTexts
) -> dict[str, np.ndarray]:
    """Add a row for each part of a model, and return the nats of each token, by the name of the part."""
    nats = {}
    for part in eam.compare(model, texts):
        scores = part.nats, part.best, texts.scored
        scoring.add(results, corpus, part.name, *scores, part.seconds, **part.about)
        nats[part.name] = part.nats
    return nats


def explain(results: tables.Results, nats: dict[str, np.ndarray]) -> None:
    """Print and record the transfer, as published and over the headroom, and differences of rows."""
    ce: dict[str, Any] = {row["row"]: row["ce"] for row in results.rows}
    names = ("unigram (add 0.1)", "bigram (Kneser-Ney 2)", "EAM, as published", "EAM", "EAM, int8 and back")
    about = {}
    for row in names:
        kept = eam.transfer(ce[row], ce["teacher"], ce["unigram (add 0.1)"])
        about[row] = kept._asdict()
        print(
            f"transfer of {row}: {kept.transfer:.1%} as published, "
            f"{kept.headroom:.1%} of the way from unigram to teacher"
        )
    for row, other in (("EAM", "teacher"), ("EAM + kNN", "teacher"), ("EAM + kNN", "teacher + kNN")):
        gap = eam.difference(nats[row], nats[other])
        about[f"{row} - {other}"] = gap._asdict()
        print(f"{row} less {other}: {gap.nats:+.4f} nats a token, standard error {gap.error:.4f}")
    results.add("transfer", **dict.fromkeys(tables.COLUMNS, float("nan")), transfer=about)


COMMAND = Command("eam", __doc__, main, eam=Group(Options), text=Group(text.TextConfig))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
