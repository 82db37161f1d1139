"""Drawn sequences with known best predictions, which ask for something that stands 8 to 256 tokens back.

    examples = tasks.draw(jax.random.key(0), tasks.TaskConfig("induction"), 1000)
    tasks.optimum(examples)  # the best accuracy and the least nats that any predictor can reach

Every sequence begins with the token `START`. A place is scored where the past decides, or nearly decides,
the token; the past also says that the place is scored. The distance of a scored place is its number of tokens
after the token that decides.

Source: Olsson et al. 2022, "In-context Learning and Induction Heads" (induction); Arora et al. 2023,
"Zoology" (recall); Hewitt et al. 2020, "RNNs can generate bounded hierarchical languages" (brackets);
Linzen et al. 2016, "Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies" (agreement)
"""

import dataclasses
import functools
import string
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data.text import Corpus
from wnn_jax.data.tokenizers import Tokenizer
from wnn_jax.narrow import in_32_bits

Name = Literal["induction", "recall", "brackets", "agreement", "counting"]
NAMES: tuple[Name, ...] = get_args(Name)
VOCABULARY = 32
START, ASK, SUBJECT = 0, 1, 2  # SUBJECT: the next token is a subject; in counting, the count begins at 0
SYMBOLS = np.arange(3, VOCABULARY)
CLASSES = 4  # of subjects; the modulus of counts
_SLOT = {"induction": 4, "recall": 2}  # tokens of a slot
_HEAD = {"agreement": 1, "counting": 0}  # tokens of a clause before the one that decides


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """A task and the distances that it asks about.

    Attributes:
      task: ``induction``: after `ASK` and a symbol comes what followed that symbol last time; each of the 16
        symbols may be asked for, follow, or fill. ``recall``: a key is followed by a value, and the same
        value follows when the key comes back; keys, values and filler are different ids. ``brackets``: two
        kinds of brackets, properly nested; `ASK` announces a closing one. ``agreement``: the verb after `ASK`
        agrees with the last noun after `SUBJECT` in one of four classes, whatever nouns stand between; with
        a probability of `wrong` it does not. ``counting``: the digit after `ASK` is the number of ticks since
        `SUBJECT`, modulo four.
      distances: the distances, in tokens. Multiples of 4 for induction and of 2 for recall. In brackets the
        distances are random, and these are the upper ends of the ranges that are told apart.
      room: tokens of a sequence beyond the largest distance.
      asked: number of questions at each distance in a sequence of induction or recall.
      wrong: probability that a verb does not agree; it has then a random one of the other classes.

    Raises:
      ValueError: a value is out of range, the distances do not rise, are not multiples of a slot, or the
        questions do not fit.

    Source: docs/results/range.md
    """

    task: Name = "induction"
    distances: tuple[int, ...] = (8, 16, 32, 64)
    room: int = 32
    asked: int = 1
    wrong: float = 0.1

    def __post_init__(self):
        checks.fields(
            self,
            distances=Limits(least=4, most=4096),
            room=Limits(least=8, most=4096),
            asked=Limits(least=1, most=64),
            wrong=Limits(least=0, below=0.75),
        )
        slot = _SLOT.get(self.task, 1)
        rising = all(x < y for x, y in zip(self.distances, self.distances[1:], strict=False))
        if not self.distances or not rising or any(x % slot for x in (*self.distances, self.room)):
            raise ValueError(
                f"the distances of {self.task} must rise, and they and the room must be multiples of {slot}, "
                f"got {self.distances} and room={self.room}"
            )
        if self.task in _SLOT:
            self._check_fit(slot)

    def _check_fit(self, slot: int) -> None:
        """Refuses questions that could find no free slots, since each blocks two starts of a later one."""
        count = self.asked * len(self.distances)
        if count > 14:
            raise ValueError(
                f"{self.asked} questions at each of {len(self.distances)} distances need {count} keys, "
                "and there are 14: lower asked, or give fewer distances"
            )
        for turn, distance in enumerate(np.repeat(self.distances[::-1], self.asked)):
            starts = (self.distances[-1] + self.room - distance) // slot
            if starts <= 4 * turn:
                raise ValueError(
                    f"{turn + 1} questions may not fit, the last at a distance of {distance}: raise room, "
                    "lower asked, or give fewer distances"
                )

    @property
    def length(self) -> int:
        """T, the number of tokens of a sequence."""
        return 1 + self.distances[-1] + self.room


class Examples(NamedTuple):
    """N sequences and what is known of them.

    Attributes:
      tokens: ``int32 [N, T]``, ids below `VOCABULARY`.
      distance: ``int32 [N, T]``, the number of tokens since the one that decides; 0 where a place is not
        scored.
      answer: ``int32 [N, T]``, the most probable id at a scored place, given the tokens before; else 0.
      chance: ``float32 [N, T]``, the probability of the token at a scored place, given the tokens before;
        else 1.

    Source: docs/results/range.md
    """

    tokens: jax.Array
    distance: jax.Array
    answer: jax.Array
    chance: jax.Array


class Optimum(NamedTuple):
    """The best that a predictor can reach on some sequences.

    Attributes:
      accuracy: share of scored places whose most probable id came.
      nats: mean nats of a scored token under its true probability.

    Source: docs/glossary.md
    """

    accuracy: float
    nats: float


def draw(key: jax.Array, config: TaskConfig, count: int) -> Examples:
    """Draws sequences.

    Args:
      key: the random key; sequences of the same key are equal.
      config: the task.
      count: N.

    Raises:
      ValueError: the count is below 1.

    Source: docs/results/range.md
    """
    return _draw(key, config, checks.integer("count", count, Limits(least=1)))


@in_32_bits
@functools.partial(jax.jit, static_argnums=(1, 2))
def _draw(key: jax.Array, config: TaskConfig, count: int) -> Examples:
    keys = jax.random.split(key, count)
    if config.task in _HEAD:
        make = functools.partial(_TASKS[config.task], config)
        # Row after row takes the next distance, so that each has as many rows.
        return jax.vmap(make)(keys, jnp.resize(jnp.array(config.distances), (count,)))
    return jax.vmap(functools.partial(_TASKS[config.task], config))(keys)


def optimum(examples: Examples, where: np.ndarray | None = None) -> Optimum:
    """Returns the best accuracy and the least nats at scored places; NaN if there are none.

    Args:
      examples: the sequences.
      where: ``bool [N, T]``, the scored places that count; all of them by default.

    Source: docs/glossary.md
    """
    scored = np.asarray(examples.distance) > 0
    scored = scored if where is None else scored & where
    if not scored.any():
        return Optimum(float("nan"), float("nan"))
    right = np.asarray(examples.answer == examples.tokens)[scored]
    nats = -np.log(np.asarray(examples.chance, np.float64)[scored])
    return Optimum(float(right.mean()), float(nats.mean()))


def in_range(examples: Examples, config: TaskConfig, distance: int) -> np.ndarray:
    """Returns ``bool [N, T]``, the scored places above the next smaller distance and up to this one.

    Args:
      examples: the sequences.
      config: the task.
      distance: one of its distances.

    Raises:
      ValueError: the distance is not one of the task's.

    Source: docs/results/range.md
    """
    if distance not in config.distances:
        raise ValueError(f"distance={distance} is not one of {config.distances}: give one of these")
    at = config.distances.index(distance)
    found = np.asarray(examples.distance)
    return (found > (config.distances[at - 1] if at else 0)) & (found <= distance)


def as_corpus(train: Examples) -> Corpus:
    """Returns sequences, one behind the other, as the training text of a corpus without other texts.

    The piece of `START` is the end of a line, and those of all other ids are different letters.

    Args:
      train: the sequences.

    Source: docs/results/range.md
    """
    pieces = [b"\n", *(bytes([x]) for x in (string.ascii_uppercase + string.ascii_lowercase).encode())]
    pieces = pieces[:VOCABULARY]
    tokenizer = Tokenizer(
        "symbols", lambda text: np.array([pieces.index(x.encode()) for x in text], np.int32), pieces
    )
    nothing = np.zeros(0, np.int32)
    return Corpus(np.asarray(train.tokens).ravel(), nothing, nothing, tokenizer, "drawn sequences")


def _slots(key: jax.Array, config: TaskConfig) -> tuple[jax.Array, jax.Array]:
    """Draws the slots ``[K]`` where K keys are written and asked for, all different, farthest first."""
    width = _SLOT[config.task]
    count = (config.length - 1) // width
    apart = np.repeat(config.distances[::-1], config.asked) // width

    def place(free, step):
        key, apart = step
        starts = jnp.arange(count)
        fits = free & jnp.roll(free, -apart) & (starts + apart < count)
        start = jax.random.categorical(key, jnp.where(fits, 0.0, -jnp.inf))
        return free.at[start].set(False).at[start + apart].set(False), (start, start + apart)

    steps = jax.random.split(key, len(apart)), jnp.array(apart)
    return jax.lax.scan(place, jnp.ones(count, bool), steps)[1]


def _scored(tokens: jax.Array, places: jax.Array, apart: jax.Array) -> Examples:
    """Returns one sequence whose tokens at some places are certain."""
    distance = jnp.zeros_like(tokens).at[places].set(apart, mode="drop")
    return Examples(tokens, distance, jnp.where(distance > 0, tokens, 0), jnp.ones(tokens.shape))


def _induction(config: TaskConfig, key: jax.Array) -> Examples:
    """Slots of filler, symbol, what follows it, and filler; in a question `ASK` is the first token."""
    order, fill, slots, follow, decoy = jax.random.split(key, 5)
    symbols = jax.random.permutation(order, SYMBOLS[:16])
    count = config.asked * len(config.distances)
    cues, others = symbols[:count], symbols[count:]
    body = jax.random.choice(fill, others, (config.length - 1,)).reshape(-1, _SLOT["induction"])
    written, asked = _slots(slots, config)
    values = jax.random.choice(follow, others, (count,))
    body = body.at[written, 1].set(cues).at[written, 2].set(values)
    body = body.at[asked, 0].set(ASK).at[asked, 1].set(cues).at[asked, 2].set(values)
    # Where there is room, half of the symbols stood once before, and something else followed.
    free = jnp.ones(len(body), bool).at[written].set(False).at[asked].set(False)
    at = jax.random.randint(decoy, (count,), 0, len(body))
    first = (jnp.argmax(at[:, None] == at, 1) == jnp.arange(count)) & free[at] & (at < written)
    body = body.at[jnp.where(first, at, len(body)), 1].set(cues, mode="drop")
    tokens = jnp.concatenate([jnp.array([START]), body.ravel()]).astype(jnp.int32)
    return _scored(tokens, 1 + 4 * asked + 2, 4 * (asked - written))


def _recall(config: TaskConfig, key: jax.Array) -> Examples:
    """Slots of a key and its value, or of two fillers; a key's second slot is a question."""
    order, fill, slots, follow = jax.random.split(key, 4)
    keys, values, filler = SYMBOLS[:14], SYMBOLS[14:22], SYMBOLS[22:]
    count = config.asked * len(config.distances)
    cues = jax.random.permutation(order, keys)[:count]
    body = jax.random.choice(fill, filler, (config.length - 1,)).reshape(-1, _SLOT["recall"])
    written, asked = _slots(slots, config)
    pairs = jnp.stack([cues, jax.random.choice(follow, values, (count,))], 1)
    body = body.at[written].set(pairs).at[asked].set(pairs)
    tokens = jnp.concatenate([jnp.array([START]), body.ravel()]).astype(jnp.int32)
    return _scored(tokens, 2 + 2 * asked, 2 * (asked - written))


def _brackets(config: TaskConfig, key: jax.Array) -> Examples:
    """A random walk: an opening bracket, or `ASK` and the bracket that closes the innermost open one."""
    opening, closing = SYMBOLS[0:2], SYMBOLS[2:4]

    def step(state, key):
        stack, depth, due, place = state  # stack [T, 2]: kind and place of each open bracket
        coin, kind = jax.random.bernoulli(key, 0.5, (2,)).astype(jnp.int32)
        top = stack[jnp.maximum(depth - 1, 0)]
        asks = ~due & (depth > 0) & (coin == 1)
        opens = ~due & ~asks
        token = jnp.where(due, jnp.array(closing)[top[0]], jnp.where(asks, ASK, jnp.array(opening)[kind]))
        pushed = stack.at[depth].set(jnp.stack([kind, place]))
        stack = jnp.where(opens, pushed, stack)
        depth = depth + opens - due
        return (stack, depth, asks, place + 1), (token, jnp.where(due, place - top[1], 0))

    start = jnp.zeros((config.length, 2), jnp.int32), jnp.int32(0), jnp.array(False), jnp.int32(1)
    tokens, distance = jax.lax.scan(step, start, jax.random.split(key, config.length - 1))[1]
    tokens = jnp.concatenate([jnp.array([START]), tokens]).astype(jnp.int32)
    distance = jnp.concatenate([jnp.array([0]), distance]).astype(jnp.int32)
    # The last distance is the end of the last range.
    distance = jnp.where(distance > config.distances[-1], 0, distance)
    return Examples(tokens, distance, jnp.where(distance > 0, tokens, 0), jnp.ones(tokens.shape))


def _clauses(config: TaskConfig, key: jax.Array, apart: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the number of each token's clause, -1 outside of all, and its place in the clause, ``[T]``."""
    size = _HEAD[config.task] + 1 + apart
    body = config.length - 1
    shift = jax.random.randint(key, (), 0, body % size + 1)
    at = jnp.arange(config.length) - 1 - shift
    inside = (at >= 0) & (at < body // size * size)
    return jnp.where(inside, at // size, -1), at % size


def _agreement(config: TaskConfig, key: jax.Array, apart: jax.Array) -> Examples:
    """Clauses of `SUBJECT`, a noun, fillers with other nouns among them, `ASK`, and a verb."""
    shift, fill, noun, rare, lie, other = jax.random.split(key, 6)
    nouns, verbs, filler = SYMBOLS[:12], SYMBOLS[12:16], SYMBOLS[16:]  # noun i has the class i mod 4
    clause, place = _clauses(config, shift, apart)
    size = (config.length,)
    drawn = jax.random.choice(noun, nouns, size)  # by place, and by clause for its subject
    subject = drawn[clause]
    kind = (subject - nouns[0]) % CLASSES
    wrong = jax.random.bernoulli(lie, config.wrong, size)
    said = (kind + wrong * jax.random.randint(other, size, 1, CLASSES)) % CLASSES
    body = jnp.where(jax.random.bernoulli(rare, 0.25, size), drawn, jax.random.choice(fill, filler, size))
    parts = [place == 0, place == 1, place == apart, place == apart + 1]
    ends = [jnp.full(size, SUBJECT), subject, jnp.full(size, ASK), verbs[0] + said]
    tokens = jnp.where(clause >= 0, jnp.select(parts, ends, body), body)
    tokens = tokens.at[0].set(START).astype(jnp.int32)
    scored = (clause >= 0) & (place == apart + 1)
    chance = jnp.where(wrong, config.wrong / (CLASSES - 1), 1 - config.wrong)
    answer = jnp.where(scored, verbs[0] + kind, 0).astype(jnp.int32)
    return Examples(tokens, jnp.where(scored, apart, 0), answer, jnp.where(scored, chance, 1.0))


def _counting(config: TaskConfig, key: jax.Array, apart: jax.Array) -> Examples:
    """Clauses of `SUBJECT`, ticks and fillers, `ASK`, and the number of ticks modulo four."""
    shift, fill, beat = jax.random.split(key, 3)
    digits, tick, filler = SYMBOLS[:4], SYMBOLS[4], SYMBOLS[5:]
    clause, place = _clauses(config, shift, apart)
    size = (config.length,)
    ticks = jax.random.bernoulli(beat, 0.5, size)
    body = jnp.where(ticks, tick, jax.random.choice(fill, filler, size))
    inside = (clause >= 0) & (place > 0) & (place < apart - 1)
    total = jax.ops.segment_sum(
        (inside & ticks).astype(jnp.int32), jnp.where(inside, clause, size[0]), size[0] + 1
    )
    digit = digits[0] + total[clause] % CLASSES
    ends = [jnp.full(size, SUBJECT), jnp.full(size, ASK), digit]
    tokens = jnp.select([place == 0, place == apart - 1, place == apart], ends, body)
    tokens = jnp.where(clause >= 0, tokens, body).at[0].set(START).astype(jnp.int32)
    scored = (clause >= 0) & (place == apart)
    answer = jnp.where(scored, tokens, 0)
    return Examples(tokens, jnp.where(scored, apart, 0), answer, jnp.ones(size))


_TASKS: dict[str, Callable[..., Examples]] = {
    "induction": _induction,
    "recall": _recall,
    "brackets": _brackets,
    "agreement": _agreement,
    "counting": _counting,
}
