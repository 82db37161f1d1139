"""Teacher, memory, student: each stage saved as it goes, and continued from where it was saved."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from wnn_jax import training
from wnn_jax.eam import distill, memory, teacher
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class Preset:
    """Sizes of everything.

    Attributes:
      tokens, tail, scored: of the training text; of the text that chooses; of the text that is scored.
      window: tokens a model sees at once.
      width, layers, heads, expand: of the teacher, and how it is trained.
      encoder_width, encoder_layers, encoder_heads, encoder_expand: the same of the encoder.
      keys: K.
      patterns: writes a location.
      hidden: of the decoder.
      batch: writes at once.
      every: batches between two regulations of the published memory.
    """

    tokens: int
    tail: int
    scored: int
    window: int
    width: int
    layers: int
    heads: int
    expand: int
    teaching: teacher.TrainConfig
    keys: int
    patterns: float
    encoder_width: int
    encoder_layers: int
    encoder_heads: int
    encoder_expand: int
    encoding: teacher.TrainConfig
    hidden: int
    decoding: teacher.TrainConfig
    joining: teacher.TrainConfig
    batch: int
    every: int


PRESETS = {
    "small": Preset(
        tokens=1_000_000,
        tail=50_000,
        scored=100_000,
        window=128,
        width=128,
        layers=4,
        heads=4,
        expand=3,
        teaching=teacher.TrainConfig(3e-3, 16, 3, 0.1),
        keys=64,
        patterns=82.0,
        encoder_width=128,
        encoder_layers=2,
        encoder_heads=2,
        encoder_expand=2,
        encoding=teacher.TrainConfig(3e-3, 16, 2),
        hidden=256,
        decoding=teacher.TrainConfig(1e-3, 16, 2),
        joining=teacher.TrainConfig(2e-3, 16, 1),
        batch=1024,
        every=2,
    ),
    # The published sizes (spec eam_recommender_vocab 2.2 to 2.5), with locations that fit its 16 MB.
    "full": Preset(
        tokens=4_096_000,
        tail=100_000,
        scored=1_000_000,
        window=512,
        width=512,
        layers=8,
        heads=8,
        expand=3,
        teaching=teacher.TrainConfig(3e-4, 64, 5),
        keys=256,
        patterns=373.0,
        encoder_width=128,
        encoder_layers=2,
        encoder_heads=2,
        encoder_expand=2,
        encoding=teacher.TrainConfig(1e-3, 32, 10),
        hidden=1024,
        decoding=teacher.TrainConfig(3e-4, 32, 10),
        joining=teacher.TrainConfig(1e-3, 32, 3),
        batch=512,
        every=2,
    ),
}


class Plan(NamedTuple):
    """What stages share.

    Attributes:
      preset: the sizes.
      vocabulary: V.
      train: ``int32 [N, window + 1]`` windows of the training text.
      key: all randomness.
      positions: whether trunks learn places.
      resume: folder to save to, or None.
      about: what the saved work is, for `progress.Progress`.
      seconds: of each stage, filled as they end.
    """

    preset: Preset
    vocabulary: int
    train: np.ndarray
    key: jax.Array
    positions: bool
    resume: pathlib.Path | None
    about: dict[str, Any]
    seconds: dict[str, float]

    @property
    def locations(self) -> int:
        """L, by patterns a location."""
        return max(self.least, round(self.train[:, 1:].size / self.preset.patterns))

    @property
    def least(self) -> int:
        """Fewer locations than a read reaches mean nothing."""
        return memory.MemoryConfig().nearest

    @property
    def trunk(self) -> teacher.TrunkConfig:
        """The teacher's."""
        p = self.preset
        return teacher.TrunkConfig(
            self.vocabulary, p.width, p.layers, p.heads, p.expand, p.window, self.positions
        )

    def student(self, repaired: bool) -> distill.StudentConfig:
        """The student's, as published or repaired."""
        p = self.preset
        encoder = teacher.TrunkConfig(
            *(self.vocabulary, p.encoder_width, p.encoder_layers, p.encoder_heads, p.encoder_expand),
            *(p.window, self.positions, 1.0),
        )
        return distill.StudentConfig(encoder, p.keys, p.width, p.hidden, repaired=repaired)


def trained(
    plan: Plan,
    stage: str,
    config: teacher.TrainConfig,
    params,
    loss_of: Callable,
    fixed: Any,
    data: Callable[[], Any],
) -> teacher.Params:
    """Train a stage's parameters; ``data`` is made only if there is an epoch left to train."""
    saved = progress.Progress(plan.resume / stage, plan.about) if plan.resume else None
    key = jax.random.fold_in(plan.key, sum(stage.encode()))
    rows = data()
    count = len(jax.tree.leaves(rows)[0])
    batch = min(config.batch, count)
    each = count // batch
    steps = training.Steps(each * config.epochs, batch, each)
    with tqdm(total=config.epochs, desc=stage, unit="epoch") as bar:

        def show(reached: training.Trained) -> None:
            bar.set_postfix_str(f"loss {reached.losses[-1]:.3f}")
            bar.update(len(reached.losses) - bar.n)

        found = training.train(
            *(key, config.optimiser(steps.count), steps, params, loss_of, rows),
            fixed=fixed,
            saved=saved,
            on_step=show,
        )
    plan.seconds[stage] = found.seconds
    return jax.tree.map(jnp.asarray, found.params)


def teach(plan: Plan) -> teacher.Params:
    """The teacher."""
    params = teacher.init(jax.random.fold_in(plan.key, 1), plan.trunk)
    loss = functools.partial(teacher.loss, plan.trunk)
    return trained(plan, "teacher", plan.preset.teaching, params, loss, None, lambda: plan.train)


def patterns(plan: Plan, taught: teacher.Params, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys ``[n, K]`` and values ``[n, D]`` of a text, in its order."""
    keys, values = distill.all_patterns(plan.trunk, taught, project(plan), windows[:, :-1])
    return keys.reshape(-1, keys.shape[2]), values.reshape(-1, values.shape[2])


def project(plan: Plan) -> jax.Array:
    """From the teacher's states to keys."""
    return distill.projection(jax.random.fold_in(plan.key, 2), plan.preset.width, plan.preset.keys)


def store(
    plan: Plan, keys: np.ndarray, values: np.ndarray, locations: int, start: str, stage: str | None = None
) -> memory.Memory:
    """A memory in which patterns were written in their order.

    Args:
      plan: sizes and randomness.
      keys, values: ``[n, K]`` and ``[n, D]``; what does not fill a batch at the end is not written.
      locations: L.
      start: ``kmeans``, all locations from the beginning at means of keys; ``random``, a third of them at
        random and the rest by regulation, as published.
      stage: saved under this name, if the plan saves.
    """
    config, batch = memory.MemoryConfig(), plan.preset.batch
    started = time.perf_counter()
    saved = progress.Progress(plan.resume / stage, plan.about) if plan.resume and stage else None
    key, done, spent = jax.random.fold_in(plan.key, 3), 0, 0.0
    count = len(keys) // batch
    if saved and (found := saved.latest()):
        arrays, about = found
        held = memory.Memory(*(jnp.asarray(arrays[name]) for name in memory.Memory._fields))
        done, spent = about["done"], about["seconds"]
    elif start == "kmeans":
        some = np.asarray(jax.random.permutation(key, len(keys)))[: max(8 * locations, 50_000)]
        sample = memory.unit(jnp.asarray(keys[some], jnp.float32))
        held = memory.empty(config, memory.kmeans_addresses(key, sample, locations), values.shape[1])
    else:
        first = max(plan.least, min(locations // 3, 3000))
        addresses = memory.random_addresses(key, first, keys.shape[1])
        held = memory.empty(config, addresses, values.shape[1], room=locations)
    every = plan.preset.every if start == "random" else 0
    step = max(1, count // 20)
    with tqdm(
        total=count, initial=done, desc=stage or f"memory of {locations}", unit="batch", leave=False
    ) as bar:
        while done < count:
            some = slice(done * batch, min(count, done + step) * batch)
            shape = (-1, batch)
            parts = (x[some].reshape(*shape, x.shape[1]) for x in (keys, values))
            held = memory.write_all(jax.random.fold_in(key, done), config, held, *parts, every)
            jax.block_until_ready(held)
            bar.update(min(count, done + step) - done)
            done = min(count, done + step)
            if saved:
                took = spent + time.perf_counter() - started
                saved.save(held._asdict(), {"done": done, "seconds": took})
    if stage:
        plan.seconds[stage] = spent + time.perf_counter() - started
    return held


def publish(plan: Plan, held: memory.Memory, keys: np.ndarray) -> teacher.Params:
    """The student as published: an encoder of keys, then a decoder of what is read there."""
    config = plan.student(repaired=False)
    params = distill.init(jax.random.fold_in(plan.key, 4), config)
    ids = plan.train[:, :-1]

    def copied():
        return ids, keys.reshape(*ids.shape, keys.shape[1]).astype(np.float32)

    loss = functools.partial(distill.key_loss, config)
    encoder = trained(plan, "encoder", plan.preset.encoding, params["encoder"], loss, None, copied)

    def read():
        means, out = memory.contents(held), np.empty((*ids.shape, plan.preset.width), np.float16)
        for start in range(0, len(ids), 16):
            some = slice(start, start + 16)
            out[some] = _read(config, encoder, held, means, ids[some])
        return out, plan.train[:, 1:]

    loss = functools.partial(distill.decoder_loss, config)
    decoder = trained(plan, "decoder", plan.preset.decoding, params["decoder"], loss, None, read)
    return {"encoder": encoder, "decoder": decoder}


@functools.partial(jax.jit, static_argnums=0)
def _read(config: distill.StudentConfig, encoder, held, means, ids) -> jax.Array:
    keys = distill.encode(config, encoder, ids)[1].reshape(-1, config.keys)
    return memory.read(config.memory, held, means, keys).reshape(*ids.shape, config.values)


def join(plan: Plan, taught: teacher.Params, held: memory.Memory, encoder: teacher.Params) -> teacher.Params:
    """The repaired student, from the published encoder on: encoder and decoder together, through the read."""
    config = plan.student(repaired=True)
    params = distill.init(jax.random.fold_in(plan.key, 5), config, taught["embedding"])
    loss = functools.partial(distill.joint_loss, config, plan.trunk)
    fixed = taught, held, memory.contents(held)
    begun = {**params, "encoder": encoder}
    return trained(plan, "student", plan.preset.joining, begun, loss, fixed, lambda: plan.train)
