"""Teachers of growing strength for one associative memory: what students keep, and what they gain from.

python -m experiments.teachers --corpus=movie_reviews.txt --tokenizer=sp:fineweb_1024_bpe.model

Each teacher is written into a memory of the same size and distilled into the same student. Beside it stand
students without the teacher, without the memory and without both, and one whose reader is weightless. With
--other, the student of the last teacher is trained on another text, and its memory is written to.
"""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from experiments.shared import bars, machine, scoring, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, eam
from wnn_jax.data import streams, text
from wnn_jax.eam import lessons, reading
from wnn_jax.eam.config import TEACHERS
from wnn_jax.saving import progress

_LESSONS = (
    lessons.Lesson(teacher=False),
    lessons.Lesson(memory=False),
    lessons.Lesson(teacher=False, memory=False),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The teachers and the amount of text.

    Attributes:
      teachers: the teachers, each stronger than the one before.
      tokens: the number of training tokens, at most those of the corpus.
      scored: the number of test tokens.
      other: path of another text: its first half, of at most as many tokens as are scored, is learnt by the
        last student and written into its memory; its second half is scored. None leaves this out.
      resume: folder to save finished stages to, and to continue from.

    Raises:
      ValueError: a number is out of range, or no teacher is named.
    """

    teachers: tuple[Literal["plain", "positions", "deep"], ...] = ("plain", "positions", "deep")
    tokens: int = 1_000_000
    scored: int = 100_000
    other: str | None = None
    resume: str | None = None

    def __post_init__(self):
        some = checks.Limits(least=1)
        checks.fields(self, tokens=some, scored=some)
        if not self.teachers:
            raise ValueError(f"--teachers names no teacher: give one or more of {', '.join(TEACHERS)}")


@dataclasses.dataclass(frozen=True)
class Study:
    """The parts that every step of the study needs.

    Attributes:
      options: the flags.
      results: the rows.
      corpus: the text.
      texts: its windows.
      key: the random key of everything.
      on_step: shows a step.
    """

    options: Options
    results: tables.Results
    corpus: text.Corpus
    texts: eam.EamTexts
    key: jax.Array
    on_step: Callable[[eam.StageStep], None]

    def saved(self, teacher: str, stage: str) -> progress.Progress | None:
        """The progress of a stage; None where no folder is given."""
        if self.options.resume is None:
            return None
        about = {"config": dataclasses.asdict(TEACHERS[teacher]), "tokens": self.texts.digest()}
        about |= {"stage": stage, "seed": np.asarray(jax.random.key_data(self.key)).tolist()}
        name = f"{teacher}, {stage}".replace(", ", "-").replace(" ", "_")
        return progress.Progress(pathlib.Path(self.options.resume) / name, about)

    def add(self, row: str, predict: Any, seconds: float, **more: Any) -> float:
        """Score a model, add its row, and return its cross-entropy."""
        nats, best = eam.score(predict, self.texts.scored)  # compiles, before the clock starts
        begun = time.perf_counter()
        eam.score(predict, self.texts.scored)
        speed = self.texts.scored[:, 1:].size / (time.perf_counter() - begun)
        about = {"scored_tokens_per_second": speed, **more}
        scoring.add(self.results, self.corpus, row, nats, best, self.texts.scored, seconds, **about)
        return float(nats.mean())


def main(options: Any) -> None:
    chosen: Options = options.teachers
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    first = dataclasses.replace(TEACHERS[chosen.teachers[0]], vocabulary=corpus.vocabulary)
    texts = eam.cut_texts(corpus, first.window, eam.Amounts(chosen.tokens, 1000, chosen.scored))
    other = windows_of(chosen, corpus, first.window) if chosen.other else None
    machine.check_memory(eam.memory_bytes(first, texts), "lower --tokens")
    sizes = {"train_tokens": texts.train[:, 1:].size, "eval_tokens": texts.scored[:, 1:].size}
    seed, about = options.common.seed, {"study": dataclasses.asdict(chosen), "tokens": texts.digest()}
    about |= {"text": dataclasses.asdict(options.text), "reader": dataclasses.asdict(reading.ReaderConfig())}
    about |= {name: dataclasses.asdict(TEACHERS[name]) for name in chosen.teachers}
    results = tables.Results(workdir, {"experiment": "teachers", "config": about, "seed": seed, **sizes})
    print(
        f"{corpus.description}: {sizes['train_tokens']:,} training tokens, {sizes['eval_tokens']:,} scored, "
        f"{corpus.vocabulary:,} ids; {machine.device()}; seed {seed}"
    )
    scoring.add_baselines(results, corpus, texts.train, texts.scored, (2, 3, 5))
    unigram = next(row["ce"] for row in results.rows if row["row"].startswith("unigram"))
    with bars.bar(unit="epoch or batch") as show:

        def on_step(step: eam.StageStep) -> None:
            show(step.stage, step.done, step.total, loss=step.loss)

        study = Study(chosen, results, corpus, texts, jax.random.key(seed), on_step)
        models = [teach(study, name, unigram) for name in chosen.teachers]
        if other is not None:
            go_on(study, chosen.teachers[-1], models[-1], other)
    results.print()
    print(f"results in {workdir}")


def windows_of(chosen: Options, corpus: text.Corpus, window: int) -> np.ndarray:
    """The windows of the other text, in the ids of the corpus.

    Raises:
      ValueError: the text cannot be read, or is shorter than two windows.
    """
    try:
        content = pathlib.Path(chosen.other or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--other={chosen.other} cannot be read as UTF-8 text: {error}") from error
    windows = streams.cut(corpus.tokenizer.encode(content)[: 2 * chosen.scored], window)
    if len(windows) < 2:
        raise ValueError(f"--other={chosen.other} has no two windows of {window} tokens: give more text")
    return windows


def teach(study: Study, name: str, unigram: float) -> eam.Eam:
    """Train one teacher and all its students, and add their rows."""
    config = dataclasses.replace(TEACHERS[name], vocabulary=study.corpus.vocabulary)
    train, on_step = study.texts.train, study.on_step
    resume = pathlib.Path(study.options.resume) / name if study.options.resume else None
    model = eam.fit(study.key, config, train, resume=resume, on_step=on_step)
    took = model.seconds
    size = sum(x.size for x in jax.tree.leaves(model.teacher))
    predict = eam.predictor(model, "teacher")
    best = study.add(f"{name}: teacher", predict, took["teacher"], parameters=size)
    kept = {}
    for part, row, last in (
        ("published", "student, as published", "decoder"),
        ("repaired", "student", "student"),
    ):
        predict = eam.predictor(model, part)
        spent = sum(took[stage] for stage in ("memory", "encoder", last))
        ce = study.add(f"{name}: {row}", predict, spent)
        kept[row] = eam.transfer(ce, best, unigram)._asdict()
    study.results.add(f"{name}: transfer", transfer=kept)
    for lesson in _LESSONS:
        saved = study.saved(name, lesson.name)
        found = lessons.learn(study.key, model, train, lesson, saved=saved, on_step=on_step)
        predict = eam.student_predictor(found.config, found.student)
        study.add(f"{name}: {lesson.name}", predict, found.seconds)
    saved = study.saved(name, "weightless")
    reader = reading.fit(study.key, reading.ReaderConfig(), model, train, saved=saved, on_step=on_step)
    study.add(f"{name}: student with a weightless reader", reading.predictor(reader), reader.seconds)
    return model


def go_on(study: Study, name: str, model: eam.Eam, windows: np.ndarray) -> None:
    """Let a student go on to another text, by training and by writing, and add its scores on both texts."""
    learnt, scored = np.array_split(windows, 2)
    saved = study.saved(name, "tuned")
    tuned = lessons.tune(study.key, model, learnt, saved=saved, on_step=study.on_step).student
    students = {
        "before the other text": model.student(),
        "trained on the other text": tuned,
        "written with the other text": lessons.write(study.key, model, learnt),
    }
    for way, student in students.items():
        predict = eam.student_predictor(model.config.student(repaired=True), student)
        other = float(eam.score(predict, scored).nats.mean())
        first = study.add(f"{name}: student, {way}", predict, float("nan"), other_ce=other)
        print(f"{way}: {first:.4f} nats a token of the first text, {other:.4f} of the other")


COMMAND = Command("teachers", __doc__, main, teachers=Group(Options), text=Group(text.TextConfig))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
