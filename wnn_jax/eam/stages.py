"""The stages of making a language model from a memory.

The teacher is trained, the memory is filled, the encoder learns the teacher's keys, the decoder is trained,
and the student is trained as a whole. Each stage is a function of one key, the config, and the results of
earlier stages. A stage can be saved, and a resumed stage ends with the same result; it makes its data only if
there is work left. `fitted.fit` runs all of them.

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, training, transformer
from wnn_jax.eam import distill, memory
from wnn_jax.eam.config import EamConfig, LearningConfig
from wnn_jax.eam.memory import Store
from wnn_jax.saving import folders, progress
from wnn_jax.transformer import Params


class StageStep(NamedTuple):
    """The progress of a stage.

    Attributes:
      stage: ``teacher``, ``memory``, ``encoder``, ``decoder`` or ``student``.
      done: the number of epochs, or of batches of writes, that are done.
      total: the number of all epochs or batches.
      loss: the mean loss of the last epoch; None at the beginning, and in the stage ``memory``.

    Source: docs/semantics/eam.md
    """

    stage: str
    done: int
    total: int
    loss: float | None


OnStep = Callable[[StageStep], None]
SHARE = 0.5  # the weight of the teacher's distribution in what a student learns


class Patterns(NamedTuple):
    """Keys and values to write, in the order of their text.

    Attributes:
      keys: ``float16 [n, K]``, unit vectors up to rounding.
      values: ``float16 [n, D]``, states of the teacher.

    Source: docs/semantics/eam.md
    """

    keys: np.ndarray
    values: np.ndarray


class Filled(NamedTuple):
    """A memory in which patterns were written.

    Attributes:
      store: the memory.
      seconds: the time that writing took, over all runs.

    Source: docs/semantics/eam.md
    """

    store: Store
    seconds: float


def check_windows(config: EamConfig, windows: np.ndarray) -> None:
    """Check the windows of a text.

    Args:
      config: the length of a window and the vocabulary.
      windows: ``int32 [N, T + 1]``.

    Raises:
      ValueError: the windows are no integers or of another length, or ids are outside the vocabulary.

    Source: docs/architecture.md
    """
    checks.array("windows", windows, "integers")
    if windows.ndim != 2 or windows.shape[1] != config.window + 1 or not len(windows):
        raise ValueError(
            f"windows must have the shape [N, {config.window + 1}] with at least one row, "
            f"got {list(windows.shape)}"
        )
    if windows.min() < 0 or windows.max() >= config.vocabulary:
        raise ValueError(
            f"ids must be 0 to {config.vocabulary - 1} (vocabulary {config.vocabulary}), "
            f"got {windows.min()} to {windows.max()}"
        )


def projection(key: jax.Array, config: EamConfig) -> jax.Array:
    """Draws the matrix ``float32 [D, K]`` that maps the teacher's states to keys.

    Source: docs/semantics/eam.md
    """
    return distill.projection(jax.random.fold_in(key, 2), config.teacher.width, config.keys)


def teach(
    key: jax.Array,
    config: EamConfig,
    windows: np.ndarray,
    *,
    saved: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> training.Trained:
    """Trains the teacher on the text.

    Args:
      key, config, windows, on_step: see `fit`.
      saved: the progress of this stage.

    Source: docs/semantics/eam.md
    """
    trunk = config.teacher_trunk
    params = transformer.init(jax.random.fold_in(key, 1), trunk)

    def loss(params, _, rows):
        return transformer.loss(trunk, params, rows)

    stage = Stage("teacher", key, config.teaching, len(windows), saved, on_step)
    return stage.train(params, loss, windows)


def gather(
    config: EamConfig, teacher: Params, project: jax.Array, windows: np.ndarray, batch: int = 64
) -> Patterns:
    """Computes the patterns of windows.

    Args:
      config: the sizes.
      teacher: the parameters of the teacher.
      project: ``float32 [D, K]``, the result of `projection`.
      windows: ``int32 [N, T + 1]``; the last token of each is only a target.
      batch: the number of windows that are computed at once.

    Raises:
      ValueError: the windows are not of the config's length, or ids are outside its vocabulary.

    Source: docs/semantics/eam.md
    """
    check_windows(config, windows)
    ids = windows[:, :-1]
    keys = np.empty((*ids.shape, config.keys), np.float16)
    values = np.empty((*ids.shape, config.teacher.width), np.float16)
    for start in range(0, len(ids), batch):
        some = slice(start, start + batch)
        keys[some], values[some] = distill.patterns(config.teacher_trunk, teacher, project, ids[some])
    return Patterns(keys.reshape(-1, config.keys), values.reshape(-1, config.teacher.width))


def fill(
    key: jax.Array,
    config: EamConfig,
    patterns: Patterns | Callable[[], Patterns],
    locations: int | None = None,
    *,
    saved: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> Filled:
    """Writes patterns into a new memory, in their order; patterns after the last whole batch are not written.

    Args:
      key: the random key of the locations and regulations.
      config: how locations begin, and how they are written.
      patterns: the patterns, or a function that makes them, which is called only if writes are left.
      locations: L, the number of locations; by default the config's number for these patterns.
      saved: the progress of this stage.
      on_step: called with a `StageStep` at the beginning and after every twentieth of the writes.

    Raises:
      ValueError: there is no pattern, or keys or values are not finite numbers of the config's sizes.

    Source: docs/semantics/eam.md
    """
    key = jax.random.fold_in(key, 3)
    store, done, spent, count = None, 0, 0.0, None
    if saved and (found := saved.latest(functools.partial(_filled, config))):
        store, done, spent, count = found
    if store is not None and done == count:
        return Filled(store, spent)
    keys, values = _checked(config, patterns() if callable(patterns) else patterns)
    started, count = time.perf_counter(), len(keys) // config.batch
    if store is None:
        store = first_store(key, config, keys, values.shape[1], locations or config.locations(len(keys)))
    step = max(1, count // 20)
    if on_step:
        on_step(StageStep("memory", done, count, None))
    while done < count:
        end = min(count, done + step)
        store = write_batches(jax.random.fold_in(key, done), config, store, Patterns(keys, values), done, end)
        jax.block_until_ready(store)
        done = end
        if saved:
            took = spent + time.perf_counter() - started
            saved.save(store._asdict(), {"done": done, "count": count, "seconds": took})
        if on_step:
            on_step(StageStep("memory", done, count, None))
    return Filled(store, spent + time.perf_counter() - started)


def _filled(config: EamConfig, arrays: dict[str, Any], about: dict[str, Any]):
    """Returns the store, the number of writes, the seconds and the number of all writes of saved progress."""
    # The number of locations was decided by the patterns, which are made only if writes are left.
    (length,) = arrays["weights"].shape
    width, shape = config.teacher.width, jax.ShapeDtypeStruct
    form = {
        "addresses": shape((length, config.keys), jnp.float32),
        "counters": shape((length, width), jnp.float32),
        "weights": shape((length,), jnp.float32),
        "used": shape((), jnp.int32),
        "eta": shape((), jnp.float32),
    }
    folders.check_form(arrays, form)
    checks.array("used", arrays["used"], "integers", limits=checks.Limits(least=0, most=length))
    store = Store(*(jnp.asarray(arrays[name]) for name in Store._fields))
    done = checks.integer("done", about["done"], checks.Limits(least=0))
    return store, done, checks.number("seconds", about["seconds"]), about.get("count")


def _checked(config: EamConfig, patterns: Patterns) -> Patterns:
    checks.array("keys", patterns.keys, "numbers", {"N": None, "K": config.keys})
    checks.array("values", patterns.values, "numbers", {"N": len(patterns.keys), "D": config.teacher.width})
    if not len(patterns.keys):
        raise ValueError("a memory is filled from patterns, got none: give at least one")
    return patterns


def first_store(key: jax.Array, config: EamConfig, keys: np.ndarray, width: int, locations: int) -> Store:
    """Makes the empty store with which `fill` begins; see `EamConfig.start`.

    Args:
      key: the random key of the addresses.
      config: how locations begin.
      keys: ``[n, K]``, the keys that will be written.
      width: D, the size of a value.
      locations: L, the number of locations.

    Source: docs/semantics/eam.md
    """
    if config.start == "kmeans":
        return memory.empty(config.memory, memory.addresses_of(key, keys, locations), width)
    first = max(config.memory.nearest, min(locations // 3, 3000))
    addresses = memory.random_addresses(key, first, keys.shape[1])
    return memory.empty(config.memory, addresses, width, room=locations)


def write_batches(
    key: jax.Array, config: EamConfig, store: Store, patterns: Patterns, begin: int, end: int
) -> Store:
    """Writes the batches from ``begin`` up to, but not including, ``end`` of the patterns.

    Args:
      key: the random key of the regulations.
      config: how to write; a memory that starts at random is regulated.
      store: the store to write to; it must not be used afterwards.
      patterns: all patterns.
      begin: the first batch.
      end: the batch after the last.

    Source: docs/semantics/eam.md
    """
    some = slice(begin * config.batch, end * config.batch)
    keys, values = (x[some].reshape(end - begin, config.batch, x.shape[1]) for x in patterns)
    every = config.every if config.start == "random" else 0
    return memory.write_all(key, config.memory, store, keys, values, every)


def copy_keys(
    key: jax.Array,
    config: EamConfig,
    windows: np.ndarray,
    patterns: Patterns | Callable[[], Patterns],
    *,
    saved: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> training.Trained:
    """Trains the encoder to find the teacher's keys.

    Args:
      key, config, windows, on_step: see `fit`.
      patterns: see `fill`.
      saved: the progress of this stage.

    Source: docs/semantics/eam.md
    """
    student = config.student(repaired=False)
    params = distill.init(jax.random.fold_in(key, 4), student)["encoder"]
    ids = windows[:, :-1]

    def rows():
        keys = (patterns() if callable(patterns) else patterns).keys
        return ids, keys.reshape(*ids.shape, config.keys).astype(np.float32)

    stage = Stage("encoder", key, config.encoding, len(windows), saved, on_step)
    return stage.train(params, functools.partial(distill.key_loss, student), rows)


def train_decoder(
    key: jax.Array,
    config: EamConfig,
    windows: np.ndarray,
    store: Store,
    encoder: Params,
    *,
    saved: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> training.Trained:
    """Trains the published decoder on the values that are read at the encoder's keys.

    Args:
      key, config, windows, on_step: see `fit`.
      store: the memory.
      encoder: the parameters of the encoder.
      saved: the progress of this stage.

    Source: docs/semantics/eam.md
    """
    student = config.student(repaired=False)
    params = distill.init(jax.random.fold_in(key, 4), student)["decoder"]
    ids = windows[:, :-1]

    def rows():
        means, read = memory.contents(store), np.empty((*ids.shape, student.values), np.float16)
        for start in range(0, len(ids), 16):
            some = slice(start, start + 16)
            read[some] = _read(student, encoder, store, means, ids[some])
        return read, windows[:, 1:]

    stage = Stage("decoder", key, config.decoding, len(windows), saved, on_step)
    return stage.train(params, functools.partial(distill.decoder_loss, student), rows)


@functools.partial(jax.jit, static_argnums=0)
def _read(config: distill.StudentConfig, encoder: Params, store: Store, means, ids) -> jax.Array:
    keys = distill.encode(config, encoder, ids)[1].reshape(-1, config.keys)
    return memory.read(config.memory, store, means, keys).reshape(*ids.shape, config.values)


def join(
    key: jax.Array,
    config: EamConfig,
    windows: np.ndarray,
    begun: distill.Student,
    teacher: Params,
    *,
    saved: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> training.Trained:
    """Trains the repaired student: encoder and decoder together, through the read.

    Args:
      key, config, windows, on_step: see `fit`.
      begun: the parameters of the encoder to begin with, and the memory.
      teacher: the parameters of the teacher: the student copies its distribution and begins with its head.
      saved: the progress of this stage.

    Source: docs/semantics/eam.md
    """
    student = config.student(repaired=True)
    params = distill.init(jax.random.fold_in(key, 5), student, teacher["embedding"])
    loss = functools.partial(distill.joint_loss, student, config.teacher_trunk, SHARE)
    fixed = teacher, begun.store, memory.contents(begun.store)
    stage = Stage("student", key, config.joining, len(windows), saved, on_step)
    return stage.train({**params, "encoder": begun.params}, loss, windows, fixed)


class Stage(NamedTuple):
    """The training of one stage."""

    name: str
    key: jax.Array
    learning: LearningConfig
    rows: int  # the number of windows
    saved: progress.Progress | None
    on_step: OnStep | None

    def train(self, params: Params, loss: training.Loss, data: Any, fixed: Any = None) -> training.Trained:
        """Trains the parameters, and puts them on the device."""
        batch = min(self.learning.batch, self.rows)
        each = self.rows // batch
        steps = training.Steps(each * self.learning.epochs, batch, each)

        def begin() -> Any:
            self._report(0, None)
            return data() if callable(data) else data

        def report(reached: training.Trained) -> None:
            self._report(len(reached.losses), reached.losses[-1])

        found = training.train(
            jax.random.fold_in(self.key, sum(self.name.encode())),
            self.learning.optimiser(steps.count),
            steps,
            params,
            loss,
            begin,
            fixed=fixed,
            saved=self.saved,
            on_step=report,
        )
        return found._replace(params=jax.tree.map(jnp.asarray, found.params))

    def _report(self, done: int, loss: float | None) -> None:
        if self.on_step:
            self.on_step(StageStep(self.name, done, self.learning.epochs, loss))
