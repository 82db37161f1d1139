"""Teacher, memory and student side by side on one text, and how much of the teacher is left."""

import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from wnn_jax.eam import artifact, distill, memory, scoring
from wnn_jax.eam.scoring import Predict
from wnn_jax.eam.stages import Eam
from wnn_jax.eam.texts import EamTexts

_NONE = float("nan")


def predictor(model: Eam, part: str = "repaired") -> Predict:
    """A part of the model as a function from windows to `distill.Predictions`.

    Args:
      model: of `fit`.
      part: ``repaired`` or ``published``, a student; or ``teacher``.
    """
    if part == "teacher":
        trunk = model.config.teacher_trunk
        return functools.partial(distill.predict_by_teacher, trunk, model.teacher, model.project)
    repaired = part == "repaired"
    return student_predictor(model.config.student(repaired), model.student(repaired))


def student_predictor(config: distill.StudentConfig, student: distill.Student) -> Predict:
    """A student as a function from windows to `distill.Predictions`."""
    return functools.partial(distill.predict_by_student, config, student, memory.contents(student.store))


class ScoredPart(NamedTuple):
    """A part of a model, and its scores of N tokens.

    Attributes:
      name: of the part.
      nats: ``float32 [N]``, the tokens' costs.
      best: ``int [N]``, the likeliest token at each place; None for what is no model.
      seconds: of training, or of scoring with neighbours; NaN where there was none of its own.
      about: more of it as JSON data: a gate's numbers, the size of a packed student.
    """

    name: str
    nats: np.ndarray
    best: np.ndarray | None
    seconds: float
    about: dict[str, Any]


def compare(model: Eam, texts: EamTexts) -> Iterator[ScoredPart]:
    """Scores of the parts of a model, each made when it is asked for.

    The teacher, the student as published and the repaired one, each also with its neighbours in the scored
    text and as an oracle that no model can be; the repaired student with an empty memory, and packed.
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
    """A model, the same with neighbours, and a score that no model can have."""
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
      transfer: as published, 1 less the share by which its cross-entropy is above the teacher's; a bigram
        table has nearly all of it.
      headroom: how far it is from the unigram to the teacher: 0 at the unigram, 1 at the teacher.
    """

    transfer: float
    headroom: float


def transfer(ce: float, teacher: float, unigram: float) -> Transfer:
    """How much of the teacher is kept, from the cross-entropies of a model, of the teacher and of counts."""
    return Transfer(1 - (ce - teacher) / teacher, (unigram - ce) / (unigram - teacher))


class Difference(NamedTuple):
    """The mean difference of two models' nats a token, and its standard error (NaN for under two blocks)."""

    nats: float
    error: float


def difference(nats: np.ndarray, other: np.ndarray, block: int = 100) -> Difference:
    """A model's nats ``[N]`` less another's on the same tokens.

    Args:
      nats: of a model.
      other: of the model it is compared with.
      block: tokens whose mean counts as one draw: neighbours in a text are alike.
    """
    gap = nats - other
    means = gap[: len(gap) // block * block].reshape(-1, block).mean(1)
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else _NONE
    return Difference(float(gap.mean()), error)
