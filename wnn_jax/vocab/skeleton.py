"""The one forward pass of all vocabulary-space models.

A state is a number a word. It begins as the one-hot token and every step adds to it what a few moves make of
it; scaled and capped, the state *is* the logits, so what the model would say can be read after every step.
(After urmzd/exp-agi-models, spec eam_recommender_vocab 4.1.) A model is data: which moves, with which sizes.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.vocab import cross, within
from wnn_jax.vocab.within import Context, Params, normal, rms_norm

CAP = 30.0
OPERATIONS = cross.OPERATIONS | within.OPERATIONS


@dataclasses.dataclass(frozen=True)
class Move:
    """One change of the state.

    Attributes:
      does: sizes of an operation of `cross` or `within`, or an `Inside`.
      scale: a learned factor of what it gives, at first 1: "one" number, a "vector" of one a word, or "".
      normed: whether it sees the state scaled to a mean square of 1.
      replaces: whether what it gives takes the place of the state instead of being added.
      beside: whether it sees what the move before it saw.
      shared: names of its parameters that all steps share; all of them where there is "*".
      group: moves of one group share with each other.
      again: whether each use of a repeated step has a factor of its own too; "shift" and "factor" of an
        operation always belong to the use.
    """

    does: Any
    scale: str = ""
    normed: bool = True
    replaces: bool = False
    beside: bool = False
    shared: tuple[str, ...] = ()
    group: str = ""
    again: bool = False


@dataclasses.dataclass(frozen=True)
class Inside:
    """Moves on a small state that is read from the words and written back.

    Attributes:
      size: of the small state.
      moves: on it.
      window: whether it is a window of words, another at every step, written half the words further on;
        otherwise dense maps lead in and out.
      unsure: whether the uncertain states are written to more: by entropy, without a slope.
    """

    size: int
    moves: tuple[Move, ...]
    window: bool = True
    unsure: bool = False


@dataclasses.dataclass(frozen=True)
class VocabConfig:
    """A vocabulary-space model.

    Attributes:
      vocabulary: V.
      steps: of the residual stream.
      moves: of each step.
      leaky: whether fading memories read the future: the published fault, to show what it did.
      repeats: successive steps that share their parameters but for "shift", "factor" and factors of moves.
      columns: streams side by side, each with steps of its own; at the end they vote.
      halting: whether each position decides when it has had enough steps (Banino et al. 2021).
      embedding: width of a learned table in place of one-hot tokens; 0 for none.
      early: weight of the losses of all steps, the last the heaviest, while training.
      forgets: whether states are read without the one-hot token they began with, but for a learned share of
        each word, at first 0. As published a model first says again what it was given, and must learn not to.

    Raises:
      ValueError: steps that cannot be repeated evenly, or columns that repeat or halt.
    """

    vocabulary: int
    steps: int
    moves: tuple[Move, ...]
    leaky: bool = False
    repeats: int = 1
    columns: int = 1
    halting: bool = False
    embedding: int = 0
    early: float = 0.0
    forgets: bool = False

    def __post_init__(self):
        if self.steps % self.repeats or (self.columns > 1 and (self.halting or self.repeats > 1)):
            raise ValueError(
                f"{self.steps} steps of {self.columns} columns cannot be repeated {self.repeats} times"
                + (" and halt" if self.halting else "")
            )


def init(key: jax.Array, config: VocabConfig) -> Params:
    """Parameters at random: ``steps`` by step and move, ``turns`` by use of a step, ``shared`` by group.

    Raises:
      ValueError: an operation does not fit the vocabulary.
    """
    v, turns = config.vocabulary, config.steps * config.columns
    first, *keys = jax.random.split(key, 1 + turns // config.repeats)
    params: Params = {"scale": jnp.array(1.0), "shared": {}, "steps": [], "turns": []}
    for step in keys:
        each = zip(config.moves, jax.random.split(step, len(config.moves)), strict=True)
        made = [_move_init(k, move, v, params["shared"]) for move, k in each]
        # What belongs to one use of the step is the same at first for all of its uses.
        own = [{n: x.pop(n) for n in ("again", "shift", "factor") if n in x} for x in made]
        params["steps"].append(made)
        params["turns"] += [jax.tree.map(jnp.copy, own) for _ in range(config.repeats)]
    table, out, halt = jax.random.split(first, 3)
    if config.embedding:
        params["embedding"] = {
            "in": normal(table, v, config.embedding),
            "out": normal(out, config.embedding, v),
        }
    if config.forgets:
        params["share"] = jnp.zeros(v)
    if config.halting:
        params["halt"] = {"w": normal(halt, v, spread=0.01), "bias": jnp.array(-2.0)}
    if config.columns > 1:
        params["vote"] = {"trust": jnp.zeros(config.columns), "against": jnp.zeros((config.columns,) * 2)}
    return params


def _move_init(key: jax.Array, move: Move, width: int, shared: dict[str, Params]) -> Params:
    """What is the step's own; what is shared goes into ``shared``, the first time."""
    does = move.does
    if isinstance(does, Inside):
        if does.window and does.size > width:
            raise ValueError(f"a window of {does.size} words is none of {width}")
        come, go, *keys = jax.random.split(key, 2 + len(does.moves))
        params: Params = {"branch": jnp.array(0.1)}
        if not does.window:
            params |= {"come": normal(come, width, does.size), "go": normal(go, does.size, width)}
        inner = zip(does.moves, keys, strict=True)
        params["moves"] = [_move_init(k, each, does.size, shared) for each, k in inner]
    else:
        params = OPERATIONS[type(does)].init(key, does, width)
    if move.scale:
        params["step"] = jnp.ones(width if move.scale == "vector" else ())
    if move.again:
        params["again"] = jnp.array(1.0)
    for name in [n for n in params if n in move.shared or (move.shared == ("*",) and n != "step")]:
        shared.setdefault(move.group, {}).setdefault(name, params.pop(name))
    return params


def _moved(
    moves: tuple[Move, ...],
    made: list[Params],
    shared: dict[str, Params],
    x: jax.Array,
    context: Context,
) -> jax.Array:
    """The state ``[N, T, width]`` after all moves."""
    before = x
    for move, own in zip(moves, made, strict=True):
        before = before if move.beside else x
        seen = rms_norm(before) if move.normed else before
        params = {**own, **shared.get(move.group, {})} if move.shared else own
        if isinstance(move.does, Inside):
            gives = _inside(move.does, params, shared, seen, context)
        else:
            gives = OPERATIONS[type(move.does)].apply(move.does, params, seen, context)
        for name in ("step", "again"):
            gives = gives * params[name] if name in params else gives
        x = gives if move.replaces else x + gives
    return x


def _inside(
    does: Inside, params: Params, shared: dict[str, Params], x: jax.Array, context: Context
) -> jax.Array:
    v = x.shape[-1]
    if not does.window:
        small = _moved(does.moves, params["moves"], shared, x @ params["come"], context)
        return small @ params["go"] * params["branch"]
    start = context.turn * (v // context.turns)
    read = jnp.roll(x, -start, axis=-1)[..., : does.size]
    small = _moved(does.moves, params["moves"], shared, read, context)
    small = small * params["branch"] / np.sqrt(does.size)
    if does.unsure:
        log = jax.nn.log_softmax(jax.lax.stop_gradient(x))
        small = small * -(jnp.exp(log) * log).sum(-1, keepdims=True) / np.log(v)
    small = jnp.pad(small, ((0, 0), (0, 0), (0, v - does.size)))
    return jnp.roll(small, start + v // 2, axis=-1)


def _streams(
    config: VocabConfig, params: Params, ids: jax.Array, key: jax.Array | None, soft: bool
) -> tuple[list[jax.Array], list[jax.Array]]:
    """States ``[N, T, V]`` to read after 0, 1 .. all steps; what halting said after each, ``[N, T, 1]``."""
    if config.embedding:
        x = rms_norm(params["embedding"]["in"][ids] @ params["embedding"]["out"])
    else:
        x = rms_norm(jax.nn.one_hot(ids, config.vocabulary))
    turns = config.steps * config.columns
    columns, states, halts = [x] * config.columns, [x], []
    halted = jnp.zeros((*ids.shape, 1), bool)
    for turn in range(turns):
        noise = None if key is None else jax.random.fold_in(key, turn)
        own = zip(params["steps"][turn // config.repeats], params["turns"][turn], strict=True)
        made = [{**step, **use} for step, use in own]
        context = Context(config.leaky, turn, turns, noise)
        at = turn % config.columns
        moved = _moved(config.moves, made, params["shared"], columns[at], context)
        columns[at] = moved if soft else jnp.where(halted, columns[at], moved)
        if config.halting:
            halts.append(
                jax.nn.sigmoid(columns[at] @ params["halt"]["w"] + params["halt"]["bias"])[..., None]
            )
            halted = halted | (halts[-1] > 0.5)
        if at == config.columns - 1:
            states.append(_vote(params, columns))
    if config.forgets:
        states = [state + (params["share"] - 1) * x for state in states]
    return states, halts


def _vote(params: Params, columns: list[jax.Array]) -> jax.Array:
    if len(columns) == 1:
        return columns[0]
    trust = params["vote"]["trust"]
    share = jax.nn.softmax(trust - params["vote"]["against"] @ jax.lax.stop_gradient(trust))
    return jnp.tensordot(share, jnp.stack(columns), 1)


def states(config: VocabConfig, params: Params, ids: jax.Array) -> jax.Array:
    """What is read, ``[steps + 1, N, T, V]``, before the first step and after each, for `readout`.

    Args:
      config: the model.
      params: its parameters.
      ids: tokens ``int32 [N, T]``; place t of a state knows those up to t.
    """
    return jnp.stack(_streams(config, params, ids, None, soft=False)[0])


def readout(params: Params, state: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` of the next token that a state stands for."""
    return CAP * jnp.tanh(params["scale"] * rms_norm(state) / CAP)


def logits(config: VocabConfig, params: Params, ids: jax.Array) -> jax.Array:
    """Logits ``[N, T, V]`` of the token after each of ``ids`` ``int32 [N, T]``."""
    return readout(params, _streams(config, params, ids, None, soft=False)[0][-1])


def loss(config: VocabConfig, params: Params, windows: jax.Array) -> jax.Array:
    """Mean nats of the tokens ``1 ..`` of windows ``int32 [N, T + 1]``, and of nothing else."""
    return _nats(logits(config, params, windows[:, :-1]), windows)


def objective(
    config: VocabConfig, params: Params, windows: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """What is made small by training: the loss, and what a model adds to it while it is trained.

    Early losses weigh ``0.9 ** (steps to come)`` of `VocabConfig.early`. A model that halts predicts with the
    mean of its states by the odds of halting there, and pays 0.01 for every step it was likely to take.

    Args:
      config: the model.
      params: its parameters.
      windows: ``int32 [N, T + 1]``.
      key: draws hard choices; without it they are the likeliest.
    """
    each, halts = _streams(config, params, windows[:, :-1], key, soft=True)
    last, cost = each[-1], 0.0
    if config.halting:
        left, last = jnp.ones_like(halts[0]), jnp.zeros_like(last)
        for i, (state, halt) in enumerate(zip(each[1:], halts, strict=True)):
            share = left * halt if i + 1 < config.steps else left
            left = left * (1 - halt) if i + 1 < config.steps else left
            last, cost = last + share * state, cost + 0.01 * left.mean()
    if config.early:
        for i, state in enumerate(each[1:]):
            cost += config.early * 0.9 ** (config.steps - 1 - i) * _nats(readout(params, state), windows)
    return _nats(readout(params, last), windows) + cost


@functools.partial(jax.jit, static_argnums=0)
def told(config: VocabConfig, params: Params, windows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Nats of what came and the best guess, ``[N, T]`` each, of tokens ``1 ..`` of windows ``[N, T + 1]``."""
    guess = logits(config, params, windows[:, :-1])
    nats = optax.softmax_cross_entropy_with_integer_labels(guess, windows[:, 1:])
    return nats, guess.argmax(-1)


def _nats(logits: jax.Array, windows: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


def parameters(config: VocabConfig) -> int:
    """How many numbers are learned; nothing is computed."""
    made = jax.eval_shape(functools.partial(init, config=config), jax.random.key(0))
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(made))
