"""Students that learn without parts of what a student has, and students that go on to another text.

    chosen = (Lesson(teacher=False), Lesson(memory=False), Lesson(teacher=False, memory=False))
    students = [lessons.learn(key, model, windows, one) for one in chosen]

They answer where the gain of a student comes from: its teacher, its memory, or neither. `tune` trains a
student on another text, and `write` writes that text into its memory; what each forgets is measured on the
first text.

Source: docs/semantics/eam.md
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, training
from wnn_jax.eam import distill, memory, stages
from wnn_jax.eam.fitted import Eam
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class Lesson:
    """The parts that a student learns with.

    Attributes:
      teacher: whether it copies the teacher's distribution, and begins as the teacher's head.
      memory: whether it reads the memory.

    Source: docs/semantics/eam.md
    """

    teacher: bool = True
    memory: bool = True

    def __post_init__(self):
        checks.fields(self)

    @property
    def name(self) -> str:
        """The name of the student in tables."""
        lacking = [word for word, there in (("teacher", self.teacher), ("memory", self.memory)) if not there]
        return f"student without {' and without '.join(lacking)}" if lacking else "student"


class Learnt(NamedTuple):
    """A student that has learnt.

    Attributes:
      config: its sizes.
      student: its parameters and its memory.
      seconds: the time that learning took, over all runs.

    Source: docs/semantics/eam.md
    """

    config: distill.StudentConfig
    student: distill.Student
    seconds: float


def learn(
    key: jax.Array,
    model: Eam,
    windows: np.ndarray,
    lesson: Lesson,
    *,
    saved: progress.Progress | None = None,
    on_step: stages.OnStep | None = None,
) -> Learnt:
    """Trains a student on the training text, in as many passes as the encoder and the student have together.

    Args:
      key: the random key of everything that is random.
      model: gives the sizes, the teacher and the memory. Without a memory its values are not read.
      windows: ``int32 [N, T + 1]``, the training text.
      lesson: the parts that the student learns with.
      saved: the folder to save to and to continue from.
      on_step: called with a `StageStep` at the beginning and after every epoch.

    Raises:
      ValueError: the windows are not of the model's length, or a student without memory has an encoder of
        another width than the teacher.

    Source: docs/semantics/eam.md
    """
    config = model.config
    stages.check_windows(config, windows)
    sizes = dataclasses.replace(config.student(repaired=True), reads=lesson.memory)
    head = model.teacher["embedding"]
    if not lesson.teacher:
        head = 0.02 * jax.random.normal(jax.random.fold_in(key, 6), head.shape, jnp.float32)
    params = distill.init(jax.random.fold_in(key, 5), sizes, head)
    epochs = config.encoding.epochs + config.joining.epochs
    learning = dataclasses.replace(config.joining, epochs=epochs)
    share = stages.SHARE if lesson.teacher else 0.0
    found = _train(key, model, sizes, model.store, learning, share, params, windows, saved, on_step)
    return Learnt(sizes, distill.Student(found.params, model.store), found.seconds)


def tune(
    key: jax.Array,
    model: Eam,
    windows: np.ndarray,
    *,
    saved: progress.Progress | None = None,
    on_step: stages.OnStep | None = None,
) -> Learnt:
    """Trains the repaired student of a model further, on another text and on nothing else.

    Args:
      key: the random key of the order of the windows.
      model: the model; its memory stays as it is.
      windows: ``int32 [N, T + 1]``, the other text.
      saved: see `learn`.
      on_step: see `learn`.

    Raises:
      ValueError: the windows are not of the model's length.

    Source: docs/semantics/eam.md
    """
    stages.check_windows(model.config, windows)
    sizes, learning = model.config.student(repaired=True), model.config.joining
    found = _train(key, model, sizes, model.store, learning, 0.0, model.repaired, windows, saved, on_step)
    return Learnt(sizes, distill.Student(found.params, model.store), found.seconds)


def write(key: jax.Array, model: Eam, windows: np.ndarray) -> distill.Student:
    """Writes another text into the memory of the repaired student, whose parameters stay as they are.

    Patterns after the last whole batch are not written.

    Args:
      key: the random key of a memory that regulates itself.
      model: the model; its teacher makes the patterns, and its own memory stays as it is.
      windows: ``int32 [N, T + 1]``, the other text.

    Raises:
      ValueError: the windows are not of the model's length.

    Source: docs/semantics/eam.md
    """
    config = model.config
    patterns = stages.gather(config, model.teacher, model.project, windows)
    own = jax.tree.map(jnp.copy, model.store)  # a write uses the memory that it is given up
    count = len(patterns.keys) // config.batch
    return distill.Student(model.repaired, stages.write_batches(key, config, own, patterns, 0, count))


def _train(
    key, model: Eam, sizes, store, learning, share: float, params, windows, saved, on_step
) -> training.Trained:
    loss = functools.partial(distill.joint_loss, sizes, model.config.teacher_trunk, share)
    stage = stages.Stage("student", key, learning, len(windows), saved, on_step)
    return stage.train(params, loss, windows, (model.teacher, store, memory.contents(store)))
