"""The associative memory as a language model: the face that runs all stages, and the model that they make.

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.eam import distill, stages
from wnn_jax.eam.config import EamConfig
from wnn_jax.eam.memory import Store
from wnn_jax.eam.stages import OnStep
from wnn_jax.saving import progress
from wnn_jax.transformer import Params

_EDITION = 3  # of the saved progress of the stages


class Eam(NamedTuple):
    """An associative memory as a language model, and the teacher it was made from.

    Attributes:
      config: the settings of all parts.
      teacher: the parameters of the teacher.
      project: ``float32 [D, K]``, maps the teacher's states to keys.
      store: the memory.
      published: the parameters of the student as published.
      repaired: the parameters of the repaired student.
      seconds: the time of each stage, by its name.

    Source: docs/semantics/eam.md
    """

    config: EamConfig
    teacher: Params
    project: jax.Array
    store: Store
    published: Params
    repaired: Params
    seconds: dict[str, float]

    def student(self, repaired: bool = True) -> distill.Student:
        """Returns the student whose sizes are ``config.student(repaired)``."""
        return distill.Student(self.repaired if repaired else self.published, self.store)


@checks.classes
def fit(
    key: jax.Array,
    config: EamConfig,
    windows: np.ndarray,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> Eam:
    """Trains the teacher, fills the memory and trains the students: runs all stages in turn.

    Args:
      key: the random key of everything that is random.
      config: the settings of all parts.
      windows: ``int32 [N, T + 1]``, the training text as `wnn_jax.data.streams.cut` makes it.
      resume: a folder to save the stages to, and to continue from. A run may be killed at any moment: at most
        an epoch, or a twentieth of the writes, is done again.
      on_step: called with a `StageStep` when a stage begins, after every epoch, and after every twentieth of
        the writes.

    Raises:
      ValueError: the windows are not of the config's length, ids are outside its vocabulary, or the folder
        holds the progress of other work.

    Source: docs/semantics/eam.md
    """
    stages.check_windows(config, windows)
    place = _open(key, config, windows, resume)
    project = stages.projection(key, config)
    teacher = stages.teach(key, config, windows, saved=place("teacher"), on_step=on_step)
    patterns = functools.cache(lambda: stages.gather(config, teacher.params, project, windows))
    filled = stages.fill(key, config, patterns, saved=place("memory"), on_step=on_step)
    store = filled.store
    encoder = stages.copy_keys(key, config, windows, patterns, saved=place("encoder"), on_step=on_step)
    begun = encoder.params
    how = {"saved": place("decoder"), "on_step": on_step}
    decoder = stages.train_decoder(key, config, windows, store, begun, **how)
    how = {"saved": place("student"), "on_step": on_step}
    student = distill.Student(begun, store)
    student = stages.join(key, config, windows, student, teacher.params, **how)
    done = ("teacher", teacher), ("memory", filled), ("encoder", encoder), ("decoder", decoder)
    return Eam(
        config,
        teacher.params,
        project,
        store,
        {"encoder": encoder.params, "decoder": decoder.params},
        student.params,
        {stage: found.seconds for stage, found in (*done, ("student", student))},
    )


def _open(key: jax.Array, config: EamConfig, windows: np.ndarray, resume: str | pathlib.Path | None):
    """Returns a function from the name of a stage to its progress, which has a folder of its own."""
    if resume is None:
        return lambda stage: None
    about = {
        "edition": _EDITION,
        "config": dataclasses.asdict(config),
        "tokens": progress.digest(np.asarray(windows, np.int32)),
        "seed": np.asarray(jax.random.key_data(key)).tolist(),
    }
    root = progress.parts(resume, "eam")
    return lambda stage: progress.Progress(root / stage, about)
