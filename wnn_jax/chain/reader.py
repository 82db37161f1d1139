"""Reads tokens with a chain model: addresses the cells, mixes them, and learns from each bit.

This is the contract of the native kernels (metal_ext/src/chain.h): the same functions in plain JAX, one token
after another. It is used where the kernels are not installed. Counts, hashes and choices agree to the bit.
Mixed probabilities agree to a few units in the sixth digit, because XLA adds floats in its own order.

Source: docs/semantics/chain.md
"""

import contextlib
import ctypes
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import backend, drawing, fields, given, learner, static_inputs, static_mixer, tokentree
from wnn_jax.chain import memory as memories
from wnn_jax.chain.config import WritingConfig
from wnn_jax.chain.constants import Mode
from wnn_jax.chain.contexts import Network, hash_fields
from wnn_jax.chain.memory import Memory
from wnn_jax.chain.online import OnlineMemory

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
      writing: the rules by which tokens are drawn.
      callback: the callback of ``decoded``.
      threads: the number of threads of the native kernel of an online memory. It changes no number.

    Raises:
      ValueError: drawn tokens are to be learnt.

    Source: docs/semantics/chain.md
    """

    mode: Literal["given", "sampled", "decoded"] = "given"
    learn: bool = False
    argmax: bool = False
    writing: WritingConfig = WritingConfig()
    callback: BitCallback | None = None
    threads: int = 1

    def __post_init__(self):
        checks.fields(self, threads=given.THREADS)
        if self.learn and self.mode == "sampled":
            raise ValueError("a model does not learn what it draws: read the drawn tokens with learn=True")


def kernel_settings(memory: Memory, settings: ReadSettings) -> dict[str, Any]:
    """Returns the attributes that the native kernel takes, ``int64`` or ``float32`` by name.

    Source: docs/architecture.md
    """
    numbers: dict[str, int] = {"mode": Mode[settings.mode.upper()], "argmax": settings.argmax}
    if isinstance(memory, OnlineMemory):
        numbers["threads"] = settings.threads
    else:
        numbers["log_slots"] = memories.log_slots(memory)
    numbers["callback"] = settings.callback.address if settings.callback else 0
    writing = settings.writing
    numbers["top_k"] = writing.top_k
    rates = {"temperature": writing.temperature, "top_p": writing.top_p, "min_p": writing.min_p}
    rates["weight"] = drawing.factor(writing)
    return {k: np.int64(v) for k, v in numbers.items()} | {k: np.float32(v) for k, v in rates.items()}


def _begin_token(network: Network, memory: Any) -> tuple[Any, Any]:
    """Prepares a token; returns the memory and the place in the text."""
    if isinstance(memory, OnlineMemory):
        return learner.begin(network, memory)
    seen = fields.fields(network.lexicon, memory.registers)
    hashes = hash_fields(static_inputs.wired(network), seen)
    return memory, static_mixer.StaticPlace(hashes, static_mixer.shapes(seen))


def _end_token(network: Network, memory: Any, place: Any, token: jax.Array, learn: bool) -> Any:
    """Puts a token into the text of a memory."""
    if isinstance(memory, OnlineMemory):
        return learner.end(network, memory, place, token, learn)
    return fields.put(memory, fields.remember(network.lexicon, fields.of(memory), token))


def distribution(network: Network, memory: Memory) -> jax.Array:
    """Returns the probability ``float32 [V]`` of every token to come next; their sum is 1.

    Source: docs/semantics/chain.md
    """
    return token_chances(network.tree, node_chances(network, memory))


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


def _node_chances(network: Network, memory: Any, place: Any) -> jax.Array:
    nodes = jnp.arange(network.tree.children.shape[0], dtype=jnp.int32)
    if isinstance(memory, OnlineMemory):
        return learner.chances(network, memory, place, nodes, depths(network.tree))
    wiring = static_inputs.wired(network)
    return static_mixer.predict(wiring, memory, place, nodes, depths(network.tree))


def read_on(
    network: Network,
    memory: M,
    tokens: jax.Array,
    chance: jax.Array,
    recent: jax.Array,
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
      chance: ``float32 [block, drawing.columns]`` in [0, 1) if the tokens are drawn, else ``[0, 0]``.
      recent: ``int32 [W]``, the last tokens, -1 where there is none yet; ``[0]`` if no rule is for them.
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
        operands = network, memory, tokens, chance, recent, count
        sizes: dict[str, Any] = {"block": block, "depth": depth, "settings": numbers}
        if isinstance(memory, OnlineMemory):
            memory, found = backend.read_online(*operands, **sizes, learn=settings.learn)
        else:
            memory, found = backend.read_on(static_inputs.wired(network), *operands[1:], **sizes)
        return memory, Reading(*found)

    def one_token(index, carry):
        moved, reading, recent = carry
        memory = _put(fixed, moved)
        origin = tokens, chance, recent
        memory, token, ones, best = _read_token(network, memory, index, origin, depth, settings)
        reading = jax.tree.map(lambda x, y: x.at[index].set(y), reading, Reading(token, ones, best))
        recent = jnp.append(recent, token)[1:] if len(recent) else recent
        return changing(memory, settings.learn), reading, recent

    fixed = memory
    none = jnp.full(block, -1, jnp.int32)
    nothing = Reading(none, jnp.zeros((block, depth), jnp.float32), none)
    start = changing(memory, settings.learn), nothing, recent
    moved, reading, _ = jax.lax.fori_loop(0, count, one_token, start)
    return _put(fixed, moved), reading


def changing(memory: Memory, learn: bool) -> dict[str, jax.Array]:
    """Returns the parts of a memory that reading changes, by name.

    Args:
      memory: a static or an online memory.
      learn: with learning all parts change; without it only those that follow the text.

    Source: docs/semantics/chain.md
    """
    moves = backend.FOLLOWING if isinstance(memory, OnlineMemory) else backend.MOVES
    return {name: x for name, x in memory._asdict().items() if learn or name in moves}


def _put(memory: M, parts: dict[str, jax.Array]) -> M:
    return memory._replace(**parts)


def _read_token(network: Network, memory: Any, index, origin, depth: int, settings: ReadSettings):
    """Reads one more token. ``origin`` holds the operands of `read_on` from which it comes.

    Returns:
      the memory after it, the token, P(bit = 1) ``[D]`` at its turns, and the most probable token.
    """
    tree, writing = network.tree, settings.writing
    tokens, chance, recent = origin
    memory, place = _begin_token(network, memory)
    best, token = jnp.int32(-1), jnp.int32(-1)
    ruled = settings.mode == "sampled" and not writing.plain
    if settings.argmax:
        best = jnp.argmax(token_chances(tree, _node_chances(network, memory, place))).astype(jnp.int32)
    if ruled:
        one = drawing.with_temperature(_node_chances(network, memory, place), writing.temperature)
        token = drawing.draw(tree, one, token_chances(tree, one), recent, chance[index], writing, depth)
    if settings.mode == "given":
        token = tokens[index]

    def choose(at, one):
        if settings.mode == "given" or ruled:
            return tree.bit[tree.start[token] + at]
        if settings.mode == "sampled":
            one = drawing.with_temperature(one, writing.temperature)
            return (chance[index, at] < one).astype(jnp.int32)
        assert settings.callback is not None  # `decode` gives one
        shape = jax.ShapeDtypeStruct((), jnp.int32)
        return jax.experimental.io_callback(settings.callback, shape, one, ordered=True)

    def turn(carry):
        node, at, moved, ones = carry
        memory = _put(fixed, moved)
        if isinstance(memory, OnlineMemory):
            said = learner.predict(network, memory, place, node, at)
            one = said.one
            bit = choose(at, one)
            if settings.learn:
                memory = learner.learn(memory, place, node, jnp.asarray(bit), said)
        else:
            one = static_mixer.predict(static_inputs.wired(network), memory, place, node, at)
            bit = choose(at, one)
        return tree.children[node, bit], at + 1, learning(memory), ones.at[at].set(one)

    following = backend.FOLLOWING if isinstance(memory, OnlineMemory) else backend.MOVES

    def learning(memory):
        """Returns what a turn changes. The large table that follows the text would be copied each time."""
        parts = changing(memory, settings.learn)
        return {name: x for name, x in parts.items() if name not in following}

    fixed = memory
    first = jnp.int32(0), jnp.int32(0), learning(memory), jnp.zeros(depth, jnp.float32)
    leaf, _, moved, ones = jax.lax.while_loop(lambda carry: carry[0] >= 0, turn, first)
    token = -1 - leaf
    return _end_token(network, _put(fixed, moved), place, token, settings.learn), token, ones, best
