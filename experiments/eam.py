"""An elastic associative memory as a language model: teacher, memory, student, artifact, honest scores.

python -m experiments.eam --corpus=movie_reviews.txt --tokenizer=sp:fineweb_1024_bpe.model
"""

import dataclasses
import hashlib
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments import eam_studies
from experiments.shared import machine, scoring, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import eam
from wnn_jax.data import streams, text
from wnn_jax.eam import artifact
from wnn_jax.eam.scoring import Predict, TokenScores
from wnn_jax.saving import progress

EDITION = 2  # of the stages that --resume saves

StudyName = Literal["reconstruction", "continual", "merge", "time"]


@dataclasses.dataclass(frozen=True)
class Options:
    """The amount of text, the sizes, and the studies.

    Attributes:
      preset: sizes of everything.
      tokens: number of training tokens; by default the preset's, or what the corpus has.
      patterns: number of writes for one location; by default the preset's.
      positions: whether teacher and encoder learn places; the published ones do not.
      studies: studies of the memory.
      resume: folder to save stages to, and to continue from.

    Raises:
      ValueError: a number is not positive.
    """

    preset: Literal["small", "full"] = "small"
    tokens: int | None = None
    patterns: float | None = None
    positions: bool = False
    studies: tuple[StudyName, ...] = ("reconstruction", "continual", "merge", "time")
    resume: str | None = None

    def __post_init__(self):
        for name in ("tokens", "patterns"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"--{name} must be positive, got {value}")


class Amounts(NamedTuple):
    """Numbers of tokens: that train, that choose, and that are scored."""

    train: int
    tail: int
    scored: int


AMOUNTS = {"small": Amounts(1_000_000, 50_000, 100_000), "full": Amounts(4_096_000, 100_000, 1_000_000)}


class Texts(NamedTuple):
    """Windows ``int32 [N, T + 1]`` of the texts that train, that choose, and that are scored."""

    train: np.ndarray
    tail: np.ndarray
    scored: np.ndarray


def main(options) -> None:
    chosen, seed = options.eam, options.common.seed
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    config, texts = prepare(chosen, corpus)
    about = describe(config, texts, seed)
    sizes = {"train_tokens": texts.train[:, 1:].size, "eval_tokens": texts.scored[:, 1:].size}
    results = tables.Results(workdir, {"experiment": "eam", "config": about, "seed": seed, **sizes})
    print(
        f"{corpus.description}: {sizes['train_tokens']:,} training tokens, {sizes['eval_tokens']:,} scored, "
        f"{corpus.vocabulary:,} ids, {config.locations(sizes['train_tokens']):,} locations; "
        f"{machine.device()}; seed {seed}"
    )
    scoring.add_baselines(results, corpus, texts.train, texts.scored)
    key = jax.random.key(seed)
    model = eam.fit(key, config, texts.train, saved=saving(chosen.resume, about), on_step=bars())
    rows = Rows(results, corpus, texts)
    add_models(rows, model, workdir)
    results.print()
    explain(results, rows.nats)
    eam_studies.run(chosen.studies, results, workdir, key, model, texts.train, texts.scored)
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in model.seconds.items()))
    print(f"results and pictures in {workdir}")


def prepare(options: Options, corpus: text.Corpus) -> tuple[eam.EamConfig, Texts]:
    """The config for a corpus, and its windows."""
    amounts, preset = AMOUNTS[options.preset], eam.PRESETS[options.preset]
    config = dataclasses.replace(
        preset,
        vocabulary=corpus.vocabulary,
        patterns=options.patterns or preset.patterns,
        positions=options.positions,
    )
    train = corpus.train[: options.tokens or amounts.train]
    tail = corpus.validation[: amounts.tail]
    if not len(tail):  # a corpus without a validation split: the end of its training text chooses
        cut = len(train) - min(amounts.tail, len(train) // 10)
        train, tail = train[:cut], train[cut:]
    parts = train, tail, corpus.test[: amounts.scored]
    texts = Texts(*(streams.cut(x, config.window) for x in parts))
    need = 2 * (config.keys + 2 * config.teacher.width) * len(train)
    need += 8 * corpus.vocabulary * (len(tail) + amounts.scored)
    machine.check_memory(need, "lower --tokens")
    return config, texts


def describe(config: eam.EamConfig, texts: Texts, seed: int) -> dict[str, Any]:
    """Plain data that tells this run from others, for rows and for saved stages."""
    digest = hashlib.sha256(b"".join(x.tobytes() for x in texts)).hexdigest()
    return {"edition": EDITION, "config": dataclasses.asdict(config), "tokens": digest, "seed": seed}


def saving(folder: str | None, about: dict[str, Any]) -> Callable[[str], progress.Progress] | None:
    """The progress of each stage in a folder of its own."""
    return (lambda stage: progress.Progress(pathlib.Path(folder) / stage, about)) if folder else None


def bars() -> Callable[[eam.StageStep], None]:
    """A progress bar a stage."""
    bar = tqdm(disable=True)

    def show(step: eam.StageStep) -> None:
        nonlocal bar
        if bar.disable or bar.desc != step.stage:
            unit = "batch" if step.stage == "memory" else "epoch"
            bar = tqdm(total=step.total, desc=step.stage, unit=unit)
        if step.loss is not None:
            bar.set_postfix_str(f"loss {step.loss:.3f}")
        bar.update(step.done - bar.n)
        if step.done == step.total:
            bar.close()

    return show


class Rows:
    """Rows of models on one text; keeps their costs ``nats``, token by token, to compare them."""

    def __init__(self, results: tables.Results, corpus: text.Corpus, texts: Texts):
        self._results, self._corpus, self._texts = results, corpus, texts
        self.nats: dict[str, np.ndarray] = {}

    def add(self, row: str, scores: TokenScores, seconds: float, **more: Any) -> None:
        """A row of scores."""
        self.nats[row] = scores.nats
        scored = self._texts.scored
        scoring.add(self._results, self._corpus, row, scores.nats, scores.best, scored, seconds, **more)

    def add_alone(self, row: str, predict: Predict, seconds: float, **more: Any) -> None:
        """A model without neighbours."""
        self.add(row, eam.score(predict, self._texts.scored), seconds, **more)

    def add_with_neighbours(self, row: str, predict: Predict, seconds: float) -> None:
        """A model, the same with neighbours, and a score that no model can have."""
        gate = eam.fit_mixture(predict, self._texts.tail)
        started = time.perf_counter()
        scores = eam.score_with_neighbours(predict, gate, self._texts.scored)
        took = time.perf_counter() - started
        self.add(row, scores.model, seconds)
        about = {name: float(x) for name, x in gate._asdict().items()}
        self.add(f"{row} + kNN", scores.mixture, took, gate=about, sums=scores.error)
        oracle = f"{row} + kNN, oracle: not a model"
        scored, none = self._texts.scored, float("nan")
        scoring.add(self._results, self._corpus, oracle, scores.oracle, None, scored, none)


def add_models(rows: Rows, model: eam.Eam, workdir: pathlib.Path) -> None:
    """The teacher and both students, with neighbours; the student without its memory, and packed."""
    seconds = model.seconds
    spent = seconds["memory"] + seconds["encoder"]
    rows.add_with_neighbours("teacher", eam.predictor(model, "teacher"), seconds["teacher"])
    published = eam.predictor(model, "published")
    rows.add_with_neighbours("EAM, as published", published, spent + seconds["decoder"])
    rows.add_with_neighbours("EAM", eam.predictor(model), spent + seconds["student"])
    config, student = model.config.student(repaired=True), model.student()
    empty = student.store._replace(counters=jnp.zeros_like(student.store.counters))
    predict = eam.student_predictor(config, student._replace(store=empty))
    rows.add_alone("EAM, its memory empty", predict, float("nan"))
    started, path = time.perf_counter(), workdir / "model.eam"
    path.write_bytes(eam.pack(config, student))
    predict = eam.student_predictor(*eam.unpack(path.read_bytes()))
    size, code = path.stat().st_size, artifact.code_bytes()
    took = time.perf_counter() - started
    rows.add_alone("EAM, int8 and back", predict, took, model_bytes=size, code_bytes=code)
    print(f"packed: {size:,} bytes and {code:,} of code, {size + code:,} in all")


def explain(results: tables.Results, nats: dict[str, np.ndarray]) -> None:
    """Transfer as published and over the headroom, and how sure the differences of rows are."""
    ce: dict[str, Any] = {row["row"]: row["ce"] for row in results.rows}
    teacher, unigram = ce["teacher"], ce["unigram (add 0.1)"]
    names = ("unigram (add 0.1)", "bigram (Kneser-Ney 2)", "EAM, as published", "EAM", "EAM, int8 and back")
    transfer = {}
    for row in names:
        plain, head = 1 - (ce[row] - teacher) / teacher, (unigram - ce[row]) / (unigram - teacher)
        transfer[row] = {"transfer": plain, "headroom": head}
        print(f"transfer of {row}: {plain:.1%} as published, {head:.1%} of the way from unigram to teacher")
    for row, other in (("EAM", "teacher"), ("EAM + kNN", "teacher"), ("EAM + kNN", "teacher + kNN")):
        # By hundreds of tokens, for neighbours in the text are alike.
        gap = nats[row] - nats[other]
        parts = gap[: len(gap) // 100 * 100].reshape(-1, 100).mean(1)
        error = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else float("nan")
        transfer[f"{row} - {other}"] = {"nats": float(gap.mean()), "error": error}
        print(f"{row} less {other}: {gap.mean():+.4f} nats a token, standard error {error:.4f}")
    results.add("transfer", **dict.fromkeys(tables.COLUMNS, float("nan")), transfer=transfer)


COMMAND = Command("eam", __doc__, main, eam=Group(Options), text=Group(text.TextConfig))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
