"""A weightless reader of the memory: tables of hashed contexts find a key, without a transformer.

A table has a row for each hash of the tokens at some distances before a place, such as the last two. In
training, the teacher's key of the place is added to the row that the place addresses. A row's mean key is
then what the teacher looked for after such tokens. To read, the means of all tables are joined: each table
takes over from those before it by as much as its row has seen. Nothing here is learnt by gradient; the
decoder of what is read from the memory still is.

Shapes: N windows, T tokens of a window, V vocabulary, K size of a key, D size of a value, F tables, R rows.

Source: docs/semantics/eam.md
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.eam import distill, memory, stages
from wnn_jax.eam.fitted import Eam
from wnn_jax.eam.scoring import Predict
from wnn_jax.hashing import mix
from wnn_jax.saving import progress
from wnn_jax.transformer import Params

_BATCH = 64  # windows that are read at once
CONTEXTS = ((0,), (0, 1), (0, 1, 2))


@dataclasses.dataclass(frozen=True)
class ReaderConfig:
    """The tables of a reader.

    Attributes:
      contexts: the distances whose tokens a table hashes, 0 for the newest token; a table for each entry. A
        later table takes over from the earlier ones, so each should know all that those before it know.
      log_rows: log2 of the number of rows of a table, R.
      doubt: the number of keys after which a row's mean weighs half of what the tables before it say.

    Raises:
      ValueError: a number is out of range, or there is no table.

    Source: docs/semantics/eam.md
    """

    contexts: tuple[tuple[int, ...], ...] = CONTEXTS
    log_rows: int = 18
    doubt: float = 16.0

    def __post_init__(self):
        checks.fields(self, log_rows=checks.Limits(least=1, most=24), doubt=checks.Limits(above=0, most=1e9))
        if not self.contexts or not all(self.contexts):
            raise ValueError(f"contexts={self.contexts} must name at least one distance for each table")
        for distance in {x for context in self.contexts for x in context}:
            checks.integer("a distance of contexts", distance, checks.Limits(least=0, most=1 << 16))


class Reader(NamedTuple):
    """The tables of a reader.

    Attributes:
      sums: ``float32 [F, R, K]``, the sum of the keys that were added to each row.
      counts: ``float32 [F, R]``, their number.

    Source: docs/semantics/eam.md
    """

    sums: jax.Array
    counts: jax.Array


class Weightless(NamedTuple):
    """A student whose reader is weightless.

    Attributes:
      config: the tables of the reader.
      sizes: the sizes of the student; its encoder's are not used.
      reader: the reader.
      decoder: the parameters of the decoder, which sees the key beside the values read.
      store: the memory.
      seconds: the time that training the decoder took, over all runs.

    Source: docs/semantics/eam.md
    """

    config: ReaderConfig
    sizes: distill.StudentConfig
    reader: Reader
    decoder: Params
    store: memory.Store
    seconds: float


@functools.partial(jax.jit, static_argnums=0)
def addresses(config: ReaderConfig, ids: jax.Array) -> jax.Array:
    """Returns the row ``int32 [F, N, T]`` that each place addresses in each table.

    A token before the window counts as a token of its own.

    Args:
      config: the tables.
      ids: ``int32 [N, T]``; place t sees the tokens up to t.

    Source: docs/semantics/eam.md
    """
    width = ids.shape[1]
    found = []
    for number, context in enumerate(config.contexts, 1):
        h = jnp.full(ids.shape, number, jnp.uint32)
        for distance in context:
            before = jnp.pad(ids + 1, ((0, 0), (distance, 0)))[:, :width]
            h = mix(h, before.astype(jnp.uint32))
        found.append(h >> (32 - config.log_rows))
    return jnp.stack(found).astype(jnp.int32)


def fill(config: ReaderConfig, ids: np.ndarray, keys: np.ndarray) -> Reader:
    """Adds the key of each place to the row that the place addresses in each table.

    Args:
      config: the tables.
      ids: ``int32 [N, T]``.
      keys: ``[N, T, K]``, the teacher's unit keys.

    Raises:
      ValueError: ids are no integers, or keys no finite numbers of the shape of the ids.

    Source: docs/semantics/eam.md
    """
    checks.array("ids", ids, "integers", {"N": None, "T": None})
    checks.array("keys", keys, "numbers", {"N": len(ids), "T": ids.shape[1], "K": None})
    flat = jnp.asarray(keys, jnp.float32).reshape(-1, keys.shape[-1])
    return _fill(config, addresses(config, jnp.asarray(ids)).reshape(len(config.contexts), -1), flat)


@functools.partial(jax.jit, static_argnums=0)
def _fill(config: ReaderConfig, rows: jax.Array, keys: jax.Array) -> Reader:
    size = 1 << config.log_rows

    def table(row):  # table by table: the sums of one stay in the cache
        sums = jax.ops.segment_sum(keys, row, size)
        return sums, jax.ops.segment_sum(jnp.ones(len(keys), jnp.float32), row, size)

    return Reader(*jax.lax.map(table, rows))


@functools.partial(jax.jit, static_argnums=0)
def find(config: ReaderConfig, reader: Reader, ids: jax.Array, own: jax.Array | None = None) -> jax.Array:
    """Returns the unit keys ``float32 [N, T, K]`` of places; 0 where no table has seen their contexts.

    Args:
      config: the tables.
      reader: the tables' sums and counts.
      ids: ``int32 [N, T]``.
      own: ``[N, T, K]``, the keys that were added for these very places, which are left out again: so a place
        of the training text is read as a place that was never seen.

    Source: docs/semantics/eam.md
    """
    key = jnp.zeros((*ids.shape, reader.sums.shape[2]), jnp.float32)
    for table, row in enumerate(addresses(config, ids)):
        total, count = reader.sums[table, row], reader.counts[table, row]
        if own is not None:
            total, count = total - own, count - 1
        share = (count / (count + config.doubt))[..., None]
        mean = total / jnp.maximum(count, 1)[..., None]
        key = jnp.where(count[..., None] > 0, (1 - share) * key + share * mean, key)
    return memory.unit(key)


def fit(
    key: jax.Array,
    config: ReaderConfig,
    model: Eam,
    windows: np.ndarray,
    *,
    saved: progress.Progress | None = None,
    on_step: stages.OnStep | None = None,
) -> Weightless:
    """Fills a reader with the teacher's keys, and trains a decoder of what it reads from the model's memory.

    The decoder begins as the teacher's head, and copies the teacher's distribution as well as the text, as
    that of the repaired student does; it has as many passes as the student's encoder and decoder together.

    Args:
      key: the random key of the decoder and of the order of the windows.
      config: the tables.
      model: gives the sizes, the teacher and the memory.
      windows: ``int32 [N, T + 1]``, the training text.
      saved: the folder to save the decoder to and to continue from.
      on_step: called with a `StageStep` at the beginning and after every epoch.

    Raises:
      ValueError: the windows are not of the model's length.

    Source: docs/semantics/eam.md
    """
    stages.check_windows(model.config, windows)
    ids, trunk = windows[:, :-1], model.config.teacher_trunk
    patterns = stages.gather(model.config, model.teacher, model.project, windows)
    keys = patterns.keys.reshape(*ids.shape, -1)
    reader, means = fill(config, ids, keys), memory.contents(model.store)
    student = model.config.student(repaired=True)
    encoder = dataclasses.replace(student.encoder, width=model.config.keys, heads=1)
    sizes = dataclasses.replace(student, encoder=encoder)  # the decoder sees keys in place of states
    decoder = distill.init(jax.random.fold_in(key, 7), sizes, model.teacher["embedding"])["decoder"]
    parts = [slice(start, start + _BATCH) for start in range(0, len(ids), _BATCH)]
    found = np.concatenate([find(config, reader, ids[part], keys[part]) for part in parts])

    def loss(decoder, fixed, batch):
        teacher, store, means = fixed
        windows, keys = batch
        logits = _decode(sizes, decoder, store, means, keys)
        return distill.taught_loss(trunk, teacher, stages.SHARE, logits, windows)

    epochs = model.config.encoding.epochs + model.config.joining.epochs
    learning = dataclasses.replace(model.config.joining, epochs=epochs)
    stage = stages.Stage("decoder", key, learning, len(windows), saved, on_step)
    fixed = model.teacher, model.store, means
    trained = stage.train(decoder, loss, (windows, found.astype(np.float32)), fixed)
    return Weightless(config, sizes, reader, trained.params, model.store, trained.seconds)


def _decode(sizes: distill.StudentConfig, decoder: Params, store: memory.Store, means, keys) -> jax.Array:
    read = memory.read(sizes.memory, store, means, keys.reshape(-1, sizes.keys))
    return distill.decode(sizes, decoder, read.reshape(*keys.shape[:2], sizes.values), keys)


def predictor(student: Weightless) -> Predict:
    """Returns a student as a function from windows to `distill.Predictions`.

    Source: docs/semantics/eam.md
    """
    means = memory.contents(student.store)
    parts = student.reader, student.decoder, student.store, means
    return functools.partial(_predict, student.config, student.sizes, *parts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _predict(config, sizes, reader, decoder, store, means, ids) -> distill.Predictions:
    keys = find(config, reader, ids)
    return distill.Predictions(jax.nn.log_softmax(_decode(sizes, decoder, store, means, keys)), keys)
