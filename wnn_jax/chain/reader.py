"""Reads tokens with a chain model: addresses the cells, mixes them, and learns from each bit.

This is the contract of the native kernels (metal_ext/src/chain.h): the same functions in plain JAX, one token
after another. It is used where the kernels are not installed. Counts, hashes and choices agree to the bit.
Mixed probabilities agree to a few units in the sixth digit, because XLA adds floats in its own order.

Source: docs/semantics/chain.md
"""

import contextlib
import ctypes
import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import backend, fields, given, tokentree
from wnn_jax.chain import memory as memories
from wnn_jax.chain.constants import MATCH_LENGTHS, MATCH_LOG, MATCH_ORDER, MATCH_RUN, Mode, Register
from wnn_jax.chain.contexts import Network, hash_fields
from wnn_jax.chain.fields import mix
from wnn_jax.chain.memory import Memory, OnlineMemory
from wnn_jax.chain.mixer import Place, learn, predict

M = TypeVar("M", bound=Memory)


class Reading(NamedTuple):
    """The result of reading N tokens.

    Attributes:
      tokens: ``int32 [N]``, the tokens.
      ones: ``float32 [N, D]``, P(bit = 1) at every turn of each token's path; 0 after the end of the path.
      best: ``int32 [N]``, the most probable token at each place, the lowest id on ties; -1 if ``argmax`` was
        not asked for.

    Source: docs/semantics/chain.md
    """

    tokens: jax.Array
    ones: jax.Array
    best: jax.Array


class BitCallback:
    """A function that gets P(bit = 1) and returns the bit, for both backends to call.

    A kernel cannot pass on what the function raises. The first exception is therefore kept, the bits after it
    are 0 without a call, and `guarded` raises it when the kernel has ended. Two callbacks are equal only if
    they are the same object; each is compiled separately.

    Source: docs/semantics/chain.md
    """

    def __init__(self, choose: Callable[[float], int]):
        self._choose = choose
        self._error: BaseException | None = None
        # A kernel may call this function as long as this object lives.
        self._c_function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_float)(self._bit)

    def __call__(self, one: np.ndarray) -> np.int32:
        return np.int32(self._bit(float(one)))

    def _bit(self, one: float) -> int:
        if self._error:
            return 0
        try:
            bit = self._choose(one)
            if bit not in (0, 1):
                raise ValueError(f"the callback of a decoder returned {bit!r}: return 0 or 1")
            return int(bit)
        except BaseException as error:
            self._error = error
            return 0

    @property
    def address(self) -> int:
        """The address of a C function ``int32 (float)``."""
        return ctypes.cast(self._c_function, ctypes.c_void_p).value or 0

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Run a kernel that calls the function, and raise what the function raised.

        An interrupt of the keyboard would be raised inside the function, at a place where no Python code can
        catch it. It is kept too, and raised at the end.

        Raises:
          ValueError: the function returned something else than 0 or 1.
        """
        previous = signal.getsignal(signal.SIGINT)
        keeps = threading.current_thread() is threading.main_thread() and previous is not None
        if keeps:
            signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield
        finally:
            if keeps:
                signal.signal(signal.SIGINT, previous)
        if isinstance(self._error, KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # to the handler that the user chose
        if self._error:
            raise self._error

    def _interrupted(self, *_: Any) -> None:
        self._error = KeyboardInterrupt()


@dataclasses.dataclass(frozen=True)
class ReadSettings:
    """The settings of `read_on`, static under `jit`.

    Attributes:
      mode: ``given``: the tokens are given. ``sampled``: they are drawn, with one random number in [0, 1) for
        each turn. ``decoded``: a callback gets P(bit = 1) and returns each bit.
      learn: whether the tokens are written and the mixer adapts; needs an online memory.
      argmax: whether to find the most probable token at every place.
      rate: the step size of the mixer's Adagrad.
      temperature: divides the log-odds of every drawn turn.
      top_p: draws from the fewest most probable tokens that together have this probability.
      callback: the callback of ``decoded``.

    Raises:
      ValueError: a number is out of range.

    Source: Adagrad (Duchi et al. 2011); docs/semantics/chain.md
    """

    mode: Literal["given", "sampled", "decoded"] = "given"
    learn: bool = False
    argmax: bool = False
    rate: float = 0.03
    temperature: float = 1.0
    top_p: float = 1.0
    callback: BitCallback | None = None

    def __post_init__(self):
        checks.fields(
            self,
            rate=given.RATE._replace(least=0, above=-math.inf),
            temperature=given.TEMPERATURE,
            top_p=given.TOP_P,
        )


def kernel_settings(memory: Memory, settings: ReadSettings) -> dict[str, Any]:
    """Returns the attributes that the native kernel takes, ``int64`` or ``float32`` by name.

    Source: docs/architecture.md
    """
    numbers = {"log_slots": memories.log_slots(memory), "online": isinstance(memory, OnlineMemory)}
    numbers |= {"mode": Mode[settings.mode.upper()], "argmax": settings.argmax}
    numbers["callback"] = settings.callback.address if settings.callback else 0
    rates = {"rate": settings.rate, "temperature": settings.temperature, "top_p": settings.top_p}
    return {k: np.int64(v) for k, v in numbers.items()} | {k: np.float32(v) for k, v in rates.items()}


def _begin_token(network: Network, memory: Any) -> tuple[Any, Place]:
    """Prepares a token: hashes the fields and finds the token that followed the longest match."""
    r = memory.registers
    seen = fields.fields(network.lexicon, r)
    guess, length = jnp.int32(-1), jnp.int32(0)
    if isinstance(memory, OnlineMemory):
        room, text = memory.text.shape[0], memory.text
        count = r[Register.COUNT].astype(jnp.int32)
        h = jnp.uint32(7)
        for k in range(MATCH_ORDER):
            h = mix(h, r[k])
        entry = h >> 32 - MATCH_LOG
        enough = count > MATCH_ORDER
        last = memory.match_table[entry]
        usable = enough & (r[Register.MATCH_LENGTH] == 0) & (last > 0) & (count - last < room)
        back = jnp.arange(MATCH_LENGTHS - 1, dtype=jnp.int32)
        same = text[(last - 1 - back) % room] == text[(count - 1 - back) % room]
        same &= (back < last) & (count - last + back + 1 < room)
        run = jnp.cumprod(same.astype(jnp.uint32)).sum(dtype=jnp.uint32)
        at = jnp.where(usable, last.astype(jnp.uint32), r[Register.MATCH_AT])
        found = jnp.where(usable, jnp.where(run >= MATCH_RUN, run, 0), r[Register.MATCH_LENGTH])
        r = r.at[Register.MATCH_AT].set(at).at[Register.MATCH_LENGTH].set(found)
        table = memory.match_table.at[entry].set(jnp.where(enough, count, last))
        memory = memory._replace(registers=r, match_table=table)
        length = found.astype(jnp.int32)
        guess = jnp.where(length > 0, text[at.astype(jnp.int32) % room], -1)
    return memory, Place(hash_fields(network, seen), fields.classes(seen), r[0], guess, length)


def _end_token(network: Network, memory: Any, token: jax.Array) -> Any:
    """Puts a token into the registers and the text of a memory."""
    r = memory.registers
    if isinstance(memory, OnlineMemory):
        room, count = memory.text.shape[0], r[Register.COUNT].astype(jnp.int32)
        text = memory.text.at[count % room].set(token)
        at, length = r[Register.MATCH_AT], r[Register.MATCH_LENGTH]
        right = (length > 0) & (text[at.astype(jnp.int32) % room] == token)
        r = r.at[Register.COUNT].add(1)
        r = r.at[Register.MATCH_AT].set(jnp.where(length > 0, at + 1, at))
        r = r.at[Register.MATCH_LENGTH].set(jnp.where(right, length + 1, 0))
        memory = memory._replace(text=text, registers=r)
    return fields.put(memory, fields.remember(network.lexicon, fields.of(memory), token))


def distribution(network: Network, memory: Memory) -> jax.Array:
    """Returns the probability ``float32 [V]`` of every token to come next; their sum is 1.

    Source: docs/semantics/chain.md
    """
    return _shares(network, *_begin_token(network, memory), 1.0)


def node_chances(network: Network, memory: Memory) -> jax.Array:
    """Returns P(bit = 1), ``float32 [M]``, of every inner node, as if the path of the next token passed it.

    Source: docs/semantics/chain.md
    """
    return _node_chances(network, *_begin_token(network, memory))


def token_chances(tree: tokentree.TokenTree, one: jax.Array) -> jax.Array:
    """Returns the probability ``float32 [V]`` of every token, which is the product of its turns.

    Args:
      tree: the token tree.
      one: ``float32 [M]``, P(bit = 1) at every inner node.

    Source: docs/semantics/chain.md
    """
    turns = jnp.where(tree.bit > 0, jnp.log(one[tree.node]), jnp.log1p(-one[tree.node]))
    return jnp.exp(jnp.zeros(tree.start.shape[0] - 1, jnp.float32).at[_owners(tree)].add(turns))


def depths(tree: tokentree.TokenTree) -> jax.Array:
    """Returns the number of turns between the root and each node, ``int32 [M]``.

    Source: docs/semantics/chain.md
    """
    place = jnp.arange(tree.node.shape[0], dtype=jnp.int32) - tree.start[:-1][_owners(tree)]
    return jnp.zeros(tree.children.shape[0], jnp.int32).at[tree.node].set(place)


def _owners(tree: tokentree.TokenTree) -> jax.Array:
    count = tree.start.shape[0] - 1
    return jnp.repeat(jnp.arange(count), jnp.diff(tree.start), total_repeat_length=tree.node.shape[0])


def _node_chances(network: Network, memory: Memory, place: Place) -> jax.Array:
    nodes = jnp.arange(network.tree.children.shape[0], dtype=jnp.int32)
    return predict(network, memory, place, nodes, depths(network.tree)).one


def _shares(network: Network, memory: Memory, place: Place, temperature: float) -> jax.Array:
    return token_chances(network.tree, with_temperature(_node_chances(network, memory, place), temperature))


def read_on(
    network: Network,
    memory: M,
    tokens: jax.Array,
    chance: jax.Array,
    count: jax.Array,
    *,
    block: int,
    depth: int,
    settings: ReadSettings,
) -> tuple[M, Reading]:
    """Reads, draws or decodes ``count`` tokens; each bit is predicted before it is seen.

    Args:
      network: the wiring.
      memory: a static or an online memory.
      tokens: ``int32 [block]`` if the tokens are given, else ``[0]``. Entries from ``count`` on are ignored.
      chance: ``float32 [block, D]`` in [0, 1) if the tokens are drawn, else ``[0, 0]``.
      count: ``int32 []``, the number of tokens, at most ``block``.
      block: the number of rows of the result. The compiled program depends on it and not on ``count``.
      depth: D, the number of turns of the longest path.
      settings: the origin of the tokens, and whether to learn them.

    Returns:
      the memory after the tokens, and a `Reading` of ``block`` rows, of which the first ``count`` are filled.

    Source: docs/semantics/chain.md
    """
    if backend.native():
        numbers = kernel_settings(memory, settings)
        sizes = {"block": block, "depth": depth, "learn": settings.learn}
        memory, found = backend.read_on(network, memory, tokens, chance, count, **sizes, settings=numbers)
        return memory, Reading(*found)

    def one_token(index, carry):
        moved, reading = carry
        memory = _put(fixed, moved)
        memory, token, ones, best = _read_token(network, memory, index, tokens, chance, depth, settings)
        read = Reading(token, ones, best)
        return changing(memory, settings.learn), jax.tree.map(lambda x, y: x.at[index].set(y), reading, read)

    fixed = memory
    none = jnp.full(block, -1, jnp.int32)
    nothing = Reading(none, jnp.zeros((block, depth), jnp.float32), none)
    start = changing(memory, settings.learn), nothing
    moved, reading = jax.lax.fori_loop(0, count, one_token, start)
    return _put(fixed, moved), reading


def changing(memory: Memory, learn: bool) -> dict[str, jax.Array]:
    """Returns the parts of a memory that reading changes, by name.

    Args:
      memory: a static or an online memory.
      learn: with learning all parts change; without it only those that follow the text.

    Source: docs/semantics/chain.md
    """
    return {name: x for name, x in memory._asdict().items() if learn or name in backend.MOVES}


def _put(memory: M, parts: dict[str, jax.Array]) -> M:
    return memory._replace(**parts)


def _read_token(network: Network, memory: Any, index, tokens, chance, depth: int, settings: ReadSettings):
    """Reads one more token.

    Returns:
      the memory after it, the token, P(bit = 1) ``[D]`` at its turns, and the most probable token.
    """
    tree = network.tree
    memory, place = _begin_token(network, memory)
    best, token = jnp.int32(-1), jnp.int32(-1)
    nucleus = settings.mode == "sampled" and settings.top_p < 1
    if settings.argmax:
        best = jnp.argmax(_shares(network, memory, place, 1.0)).astype(jnp.int32)
    if nucleus:
        shares = _shares(network, memory, place, settings.temperature)
        token = _draw_nucleus(shares, settings.top_p, chance[index, 0])
    if settings.mode == "given":
        token = tokens[index]

    def choose(at, one):
        if settings.mode == "given" or nucleus:
            return tree.bit[tree.start[token] + at]
        if settings.mode == "sampled":
            return (chance[index, at] < with_temperature(one, settings.temperature)).astype(jnp.int32)
        assert settings.callback is not None  # `decode` gives one
        shape = jax.ShapeDtypeStruct((), jnp.int32)
        return jax.experimental.io_callback(settings.callback, shape, one, ordered=True)

    def turn(carry):
        node, at, moved, ones = carry
        memory = _put(fixed, moved)
        said = predict(network, memory, place, node, at)
        bit = choose(at, said.one)
        if settings.learn:
            # All reads come before the writes: otherwise XLA copies the memory so that it can write first.
            memory, said, bit = jax.lax.optimization_barrier((memory, said, bit))
            memory = learn(network, memory, node, bit, said, settings.rate)
        return tree.children[node, bit], at + 1, changing(memory, settings.learn), ones.at[at].set(said.one)

    fixed = memory
    first = jnp.int32(0), jnp.int32(0), changing(memory, settings.learn), jnp.zeros(depth, jnp.float32)
    leaf, _, moved, ones = jax.lax.while_loop(lambda carry: carry[0] >= 0, turn, first)
    token = -1 - leaf
    return _end_token(network, _put(fixed, moved), token), token, ones, best


def with_temperature(one: jax.Array, temperature: float) -> jax.Array:
    """Divides the log-odds of a bit's probability by a temperature.

    Args:
      one: ``float32 [...]``, P(bit = 1).
      temperature: a positive number; 1 changes nothing.

    Source: docs/semantics/chain.md
    """
    if temperature == 1.0:
        return one
    return jax.nn.sigmoid(jnp.clip(jnp.log(one / (1.0 - one)) / temperature, -30.0, 30.0))


def _draw_nucleus(shares: jax.Array, top_p: float, chance: jax.Array) -> jax.Array:
    """Draws one of the fewest most probable ids that together have the probability ``top_p``."""
    order = jnp.argsort(-shares, stable=True)
    mass = jnp.cumsum(shares[order])
    last = jnp.minimum(jnp.sum(mass < top_p), len(shares) - 1)
    return order[jnp.minimum(jnp.sum(mass <= chance * mass[last]), last)].astype(jnp.int32)
