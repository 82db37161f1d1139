"""Scores teacher, memory and student on one text, and measures how much of the teacher the student keeps."""

import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.eam import artifact, distill, memory, scoring
from wnn_jax.eam.fitted import Eam
from wnn_jax.eam.scoring import Predict
from wnn_jax.eam.texts import EamTexts

_NONE = float("nan")


def predictor(model: Eam, part: str = "repaired") -> Predict:
    """Returns a part of the model as a function from windows to `distill.Predictions`.

    Args:
      model: the result of `fit`.
      part: ``repaired`` or ``published``, the two students; or ``teacher``.

    Raises:
      ValueError: the part is unknown.

    Source: docs/semantics/eam.md
    """
    if part not in ("repaired", "published", "teacher"):
        raise ValueError(f"unknown part {part!r}: choose one of repaired, published, teacher")
    if part == "teacher":
        trunk = model.config.teacher_trunk
        return functools.partial(distill.predict_by_teacher, trunk, model.teacher, model.project)
    repaired = part == "repaired"
    return student_predictor(model.config.student(repaired), model.student(repaired))


def student_predictor(config: distill.StudentConfig, student: distill.Student) -> Predict:
    """Returns a student as a function from windows to `distill.Predictions`.

    Source: docs/semantics/eam.md
    """
    return functools.partial(distill.predict_by_student, config, student, memory.contents(student.store))


class ScoredPart(NamedTuple):
    """A part of a model, and its scores on N tokens.

    Attributes:
      name: the name of the part.
      nats: ``float32 [N]``, the costs of the tokens.
      best: ``int [N]``, the most probable token at each place, the lowest id on ties; None for the oracle,
        which is not a model.
      seconds: the time of training, or of scoring with neighbours; NaN for a part that has no time of its
        own.
      about: further facts as JSON data: the numbers of a gate, the size of a packed student.

    Source: docs/semantics/eam.md
    """

    name: str
    nats: np.ndarray
    best: np.ndarray | None
    seconds: float
    about: dict[str, Any]


def compare(model: Eam, texts: EamTexts) -> Iterator[ScoredPart]:
    """Scores the parts of a model; yields each part when it is asked for.

    The parts are the teacher, the student as published and the repaired student, each also mixed with its
    neighbours in the scored text, and as an oracle that no model can be; then the repaired student with an
    empty memory, and the repaired student packed and unpacked.

    Args:
      model: the result of `fit`.
      texts: the windows to learn the gates from, and the windows to score.

    Source: docs/semantics/eam.md
    """
    seconds = model.seconds
    spent = seconds["memory"] + seconds["encoder"]
    yield from _with_neighbours("teacher", predictor(model, "teacher"), texts, seconds["teacher"])
    published = predictor(model, "published")
    yield from _with_neighbours("EAM, as published", published, texts, spent + seconds["decoder"])
    yield from _with_neighbours("EAM", predictor(model), texts, spent + seconds["student"])
    config, student = model.config.student(repaired=True), model.student()
    empty = student.store._replace(counters=jnp.zeros_like(student.store.counters))
    scores = scoring.score(student_predictor(config, student._replace(store=empty)), texts.scored)
    yield ScoredPart("EAM, its memory empty", *scores, _NONE, {})
    started = time.perf_counter()
    packed = artifact.pack(config, student)
    predict = student_predictor(*artifact.unpack(packed))
    took = time.perf_counter() - started
    sizes = {"model_bytes": len(packed), "code_bytes": artifact.code_bytes()}
    yield ScoredPart("EAM, int8 and back", *scoring.score(predict, texts.scored), took, sizes)


def _with_neighbours(name: str, predict: Predict, texts: EamTexts, seconds: float) -> Iterator[ScoredPart]:
    """Yields a model, its mixture with neighbours, and the oracle."""
    gate = scoring.fit_mixture(predict, texts.tail)
    started = time.perf_counter()
    scores = scoring.score_with_neighbours(predict, gate, texts.scored)
    took = time.perf_counter() - started
    yield ScoredPart(name, *scores.model, seconds, {})
    about = {"gate": {field: float(x) for field, x in gate._asdict().items()}, "sums": scores.error}
    yield ScoredPart(f"{name} + kNN", *scores.mixture, took, about)
    yield ScoredPart(f"{name} + kNN, oracle: not a model", scores.oracle, None, _NONE, {})


class Transfer(NamedTuple):
    """How much of a teacher a model keeps.

    Attributes:
      transfer: the published measure: 1 minus the share by which its cross-entropy is above the teacher's. A
        bigram table already reaches nearly 1.
      headroom: how far the model has come from the unigram (0) to the teacher (1).

    Source: docs/semantics/eam.md
    """

    transfer: float
    headroom: float


def transfer(ce: float, teacher: float, unigram: float) -> Transfer:
    """Computes how much of the teacher a model keeps.

    Args:
      ce: the cross-entropy of the model.
      teacher: the cross-entropy of the teacher.
      unigram: the cross-entropy of unigram counts.

    Raises:
      ValueError: a cross-entropy is not a finite number, or the teacher's is 0, or that of the unigram.

    Source: docs/semantics/eam.md
    """
    for name, x in (("ce", ce), ("teacher", teacher), ("unigram", unigram)):
        checks.number(name, x)
    if not teacher or unigram == teacher:
        raise ValueError(
            f"the teacher must have a cross-entropy other than 0 and than the unigram's, got {teacher} and "
            f"{unigram}: nothing can be compared with it"
        )
    return Transfer(1 - (ce - teacher) / teacher, (unigram - ce) / (unigram - teacher))


class Difference(NamedTuple):
    """The difference of two models on the same tokens.

    Attributes:
      nats: the mean difference in nats per token.
      error: its standard error; NaN if there are fewer than two blocks.

    Source: docs/semantics/eam.md
    """

    nats: float
    error: float


def difference(nats: np.ndarray, other: np.ndarray, block: int = 100) -> Difference:
    """Subtracts another model's nats from a model's nats on the same tokens.

    Args:
      nats: ``float [N]``, of the model.
      other: ``float [N]``, of the model that it is compared with.
      block: the number of tokens whose mean counts as one draw for the standard error, because neighbouring
        tokens are alike. Tokens after the last whole block count in the mean alone.

    Raises:
      ValueError: there is no token, or the models were scored on different numbers of tokens.

    Source: docs/semantics/eam.md
    """
    checks.integer("block", block, checks.Limits(least=1))
    if np.ndim(nats) != 1 or np.shape(nats) != np.shape(other) or not len(nats):
        raise ValueError(
            f"nats and other have shapes {list(np.shape(nats))} and {list(np.shape(other))}: give the nats "
            "of the same tokens, at least one"
        )
    gap = nats - other
    means = gap[: len(gap) // block * block].reshape(-1, block).mean(1)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else _NONE
    return Difference(float(gap.mean()), error)
