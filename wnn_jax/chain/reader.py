"""How a chain model reads: what its neurons address, how their cells are mixed, what is learnt from a bit.

This is the contract of the native kernels (metal_ext/src/chain.h): the same functions in plain JAX, one
token after another, used where the kernels are not. Counts, hashes and choices agree to the bit; mixed
probabilities to a few units in the sixth digit, for XLA adds floats in an order of its own.
"""

from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import backend, tokentree
from wnn_jax.chain.contexts import Model, Register, classes, contexts, fields, mix, remember
from wnn_jax.chain.mixer import MATCH_LENGTHS, MATCH_LOG, MATCH_ORDER, Memory, Place, learn, predict


class Reading(NamedTuple):
    """What was read.

    Attributes:
      tokens: ``int32 [N]``.
      ones: ``float32 [N, D]`` P(bit = 1) at every turn of each token's path, 0 after its end.
      best: ``int32 [N]`` the most probable token at each place, the lowest on ties; -1 if not asked for.
    """

    tokens: jax.Array
    ones: jax.Array
    best: jax.Array


def _begin(model: Model, memory: Memory) -> tuple[Memory, Place]:
    """Before a token: its contexts, and what the longest match says comes next."""
    r = memory.registers
    seen = fields(model, r)
    guess, length = jnp.int32(-1), jnp.int32(0)
    if memory.online:
        room, text = memory.text.shape[0], memory.text
        count = r[Register.COUNT].astype(jnp.int32)
        h = jnp.uint32(7)
        for k in range(MATCH_ORDER):
            h = mix(h, r[k])
        entry = h >> 32 - MATCH_LOG
        enough = count > MATCH_ORDER
        last = memory.match_table[entry]
        usable = enough & (r[Register.MATCH_LENGTH] == 0) & (last > 0) & (count - last < room)
        back = jnp.arange(MATCH_LENGTHS - 1)
        same = text[(last - 1 - back) % room] == text[(count - 1 - back) % room]
        same &= (back < last) & (count - last + back + 1 < room)
        run = jnp.cumprod(same.astype(jnp.uint32)).sum(dtype=jnp.uint32)
        at = jnp.where(usable, last.astype(jnp.uint32), r[Register.MATCH_AT])
        found = jnp.where(usable, jnp.where(run >= 2, run, 0), r[Register.MATCH_LENGTH])
        r = r.at[Register.MATCH_AT].set(at).at[Register.MATCH_LENGTH].set(found)
        table = memory.match_table.at[entry].set(jnp.where(enough, count, last))
        memory = memory._replace(registers=r, match_table=table)
        length = found.astype(jnp.int32)
        guess = jnp.where(length > 0, text[at.astype(jnp.int32) % room], -1)
    return memory, Place(contexts(model, seen), classes(seen), r[0], guess, length)


def _end(model: Model, memory: Memory, token: jax.Array) -> Memory:
    """After a token: what is remembered of it."""
    r = memory.registers
    if memory.online:
        room, count = memory.text.shape[0], r[Register.COUNT].astype(jnp.int32)
        text = memory.text.at[count % room].set(token)
        at, length = r[Register.MATCH_AT], r[Register.MATCH_LENGTH]
        right = (length > 0) & (text[at.astype(jnp.int32) % room] == token)
        r = r.at[Register.COUNT].add(1)
        r = r.at[Register.MATCH_AT].set(jnp.where(length > 0, at + 1, at))
        r = r.at[Register.MATCH_LENGTH].set(jnp.where(right, length + 1, 0))
        memory = memory._replace(text=text)
    return memory._replace(registers=remember(model, r, token))


def distribution(model: Model, memory: Memory) -> jax.Array:
    """P ``float32 [V]`` of every token at the place where the memory stands; their sum is 1."""
    return _shares(model, *_begin(model, memory), 1.0)


def node_chances(model: Model, memory: Memory) -> jax.Array:
    """P(bit = 1) ``float32 [M]`` of every inner node, were it passed at the place where the memory stands."""
    return _node_chances(model, *_begin(model, memory))


def token_chances(tree: tokentree.TokenTree, one: jax.Array) -> jax.Array:
    """P ``float32 [V]`` of every token, the product of its turns, from P(bit = 1) ``[M]`` of every node."""
    turns = jnp.where(tree.bit > 0, jnp.log(one[tree.node]), jnp.log1p(-one[tree.node]))
    return jnp.exp(jnp.zeros(tree.start.shape[0] - 1).at[_owners(tree)].add(turns))


def depths(tree: tokentree.TokenTree) -> jax.Array:
    """``int32 [M]``: how many turns below the root each node lies."""
    place = jnp.arange(tree.node.shape[0]) - tree.start[:-1][_owners(tree)]
    return jnp.zeros(tree.children.shape[0], jnp.int32).at[tree.node].set(place)


def _owners(tree: tokentree.TokenTree) -> jax.Array:
    count = tree.start.shape[0] - 1
    return jnp.repeat(jnp.arange(count), jnp.diff(tree.start), total_repeat_length=tree.node.shape[0])


def _node_chances(model: Model, memory: Memory, place: Place) -> jax.Array:
    nodes = jnp.arange(model.tree.children.shape[0])
    return predict(model, memory, place, nodes, depths(model.tree)).one


def _shares(model: Model, memory: Memory, place: Place, temperature: float) -> jax.Array:
    return token_chances(model.tree, heated(_node_chances(model, memory, place), temperature))


class Settings(NamedTuple):
    """How `read_on` goes on; static under `jit`.

    Attributes:
      mode: ``given`` tokens are read; ``sampled`` ones are drawn, by one chance in [0, 1) a turn; ``decoded``
        ones come from a callback that is told P(bit = 1) and answers the bit.
      learn: whether what was read is written and the mixer adapted.
      argmax: whether to look for the most probable token at every place.
      rate: of the mixer's Adagrad (Duchi et al. 2011).
      temperature: divides the log-odds of every sampled turn.
      top_p: tokens are drawn from the fewest most probable ones that have this much of the probability.
      callback: of ``decoded``: the address of a C function ``int32 (float)`` for the native kernel, or
        a Python function without it.
    """

    mode: str = "given"
    learn: bool = True
    argmax: bool = False
    rate: float = 0.03
    temperature: float = 1.0
    top_p: float = 1.0
    callback: Any = 0


_MODES = ("given", "sampled", "decoded")


def kernel_settings(memory: Memory, settings: Settings) -> dict[str, Any]:
    """The attributes of the native kernel."""
    numbers = {"log_slots": memory.log_slots, "online": memory.online, "learn": settings.learn}
    numbers |= {"mode": _MODES.index(settings.mode), "argmax": settings.argmax, "callback": settings.callback}
    rates = {"rate": settings.rate, "temperature": settings.temperature, "top_p": settings.top_p}
    return {k: np.int64(v) for k, v in numbers.items()} | {k: np.float32(v) for k, v in rates.items()}


def read_on(
    model: Model, memory: Memory, depth: int, count: int, tokens, chance, settings: Settings
) -> tuple[Memory, Reading]:
    """Read, draw or decode ``count`` tokens, each bit predicted before it is seen.

    Args:
      depth: D, turns of the longest path.
      tokens: ``int32 [N]`` if given, else ``[0]``.
      chance: ``float32 [N, D]`` if sampled, else ``[0, 0]``.
    """
    if backend.native():
        numbers = kernel_settings(memory, settings)
        arrays, *found = backend.read_on(*model, memory, tokens, chance, count, depth, numbers)
        return Memory(*arrays), Reading(*found)
    tree = model.tree

    def one_token(memory: Memory, index):
        memory, place = _begin(model, memory)
        best, token = jnp.int32(-1), jnp.int32(-1)
        nucleus = settings.mode == "sampled" and settings.top_p < 1
        if settings.argmax or nucleus:
            if settings.argmax:
                best = jnp.argmax(_shares(model, memory, place, 1.0)).astype(jnp.int32)
            if nucleus:
                shares = _shares(model, memory, place, settings.temperature)
                token = _drawn(shares, settings.top_p, chance[index, 0])
        if settings.mode == "given":
            token = tokens[index]

        def choose(at, one):
            if settings.mode == "given" or nucleus:
                return tree.bit[tree.start[token] + at]
            if settings.mode == "sampled":
                return (chance[index, at] < heated(one, settings.temperature)).astype(jnp.int32)
            shape = jax.ShapeDtypeStruct((), jnp.int32)
            return jax.experimental.io_callback(settings.callback, shape, one, ordered=True)

        def turn(carry):
            node, at, memory, ones = carry
            found = predict(model, memory, place, node, at)
            bit = choose(at, found.one)
            if settings.learn:
                # All reads first: else XLA may write before them, and copies the memory to be able to.
                memory, found, bit = jax.lax.optimization_barrier((memory, found, bit))
                memory = learn(model, memory, node, bit, found, settings.rate)
            return tree.children[node, bit], at + 1, memory, ones.at[at].set(found.one)

        first = jnp.int32(0), jnp.int32(0), memory, jnp.zeros(depth)
        leaf, _, memory, ones = jax.lax.while_loop(lambda carry: carry[0] >= 0, turn, first)
        token = -1 - leaf
        return _end(model, memory, token), Reading(token, ones, best)

    return jax.lax.scan(one_token, memory, jnp.arange(count))


def heated(one: jax.Array, temperature: float) -> jax.Array:
    """A bit's probability with its log-odds divided by the temperature."""
    if temperature == 1.0:
        return one
    return jax.nn.sigmoid(jnp.clip(jnp.log(one / (1.0 - one)) / temperature, -30.0, 30.0))


def _drawn(shares: jax.Array, top_p: float, chance: jax.Array) -> jax.Array:
    """One of the fewest most probable ids that have ``top_p`` of the probability."""
    order = jnp.argsort(-shares, stable=True)
    mass = jnp.cumsum(shares[order])
    last = jnp.minimum(jnp.sum(mass < top_p), len(shares) - 1)
    return order[jnp.minimum(jnp.sum(mass <= chance * mass[last]), last)].astype(jnp.int32)
