"""One memory a person: rows of what a film is and how it was rated, added and deleted at any time.

An agent is a table whose addresses are the rows themselves: a query reads every row by how far its bits lie
from the row's. All agents are one pytree with a leading axis of users; the functions that take `Agents` map
over it, and everything below them is written for one agent. Deleting rows is exact: what is left is what an
agent would hold that was never shown them.

Shapes: U agents, M rows each (a power of two, or the cap), W words a key, Q queries, L label bits.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import bits

Read = Literal["vote", "hamming", "discrimination", "exact"]
Ties = Literal["random", "majority", "half"]
Eviction = Literal["oldest", "redundant"]

# Votes are integers, so that their sums are the same in any order and on any device, and rows can be taken
# out as if they had never been there: the nearest row's is _ONE, and one n / _STEPS e-folds farther has
# _weights()[n].
_ONE = 1 << 14
_STEPS = 256
_FAINT = 11 * _STEPS  # farther rows have less than half a unit
_REMOTE = 1 << 24  # float32 counts no farther
MOST_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """How agents read and forget.

    Attributes:
      read: how rows answer a query. ``vote``: every row votes with weight ``exp(-distance / scale)``.
        ``hamming``: each label bit is that of the nearer side, the rows that have it set or the rows that
        have it clear. ``exact``: the rows with the query's bits decide by majority, and the newest of them
        decides a draw. ``discrimination``: exact rows first, then sides by a distance in which an input bit
        counts as far as it tells the sides apart, then ``hamming`` (after Aleksander, Clarke and Braga 1994).
      ties: what an undecided bit reads. ``random``: 0 or 1. ``majority``: what most rows have, 1/2 in a draw.
        ``half``: 1/2. An agent without rows answers with ties alone.
      label_bits: L, the number of label bits.
      scale: distance in bits at which a vote falls to 1/e.
      half_life: time in which a vote falls to a half; at infinity age does not count.
      prior_weight: the number of rows at distance 0 that the prior of `predict` is worth; at 0 the prior
        only speaks where an agent has no rows.
      cap: the most rows that an agent may have.
      eviction: which row makes room at the cap. ``oldest``: the oldest. ``redundant``: the row whose nearest
        other row is nearest, and the oldest of several.
      contradiction: learning a row deletes the rows within this number of bits of it whose labels differ by
        more than ``tolerance`` bits; at a negative number it deletes none.
      tolerance: the number of label bits in which near rows may differ without contradiction.
    """

    read: Read = "vote"
    ties: Ties = "half"
    label_bits: int = 10
    scale: float = 4.0
    half_life: float = float("inf")
    prior_weight: float = 0.0
    cap: int = MOST_ROWS
    eviction: Eviction = "oldest"
    contradiction: int = -1
    tolerance: int = 2

    def __post_init__(self):
        for name, choices in (("read", Read), ("ties", Ties), ("eviction", Eviction)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}: use {', '.join(get_args(choices))}"
                )
        if not 1 <= self.label_bits <= bits.WORD:
            raise ValueError(f"label_bits must lie in 1 .. {bits.WORD}, got {self.label_bits}")
        if not (self.scale > 0 and self.half_life > 0 and self.prior_weight >= 0):
            raise ValueError(
                f"scale and half_life must be positive and prior_weight not negative, got {self.scale}, "
                f"{self.half_life} and {self.prior_weight}"
            )
        if not 1 <= self.cap <= MOST_ROWS:
            raise ValueError(f"cap must lie in 1 .. {MOST_ROWS:,}, got {self.cap:,}")


class _Numbers(NamedTuple):
    """The numbers of a config: arguments of the compiled functions, so a new value compiles nothing."""

    scale: np.float32
    half_life: np.float32
    prior_weight: np.float32
    cap: np.int32
    contradiction: np.int32
    tolerance: np.int32


def _numbers(config: AgentConfig) -> _Numbers:
    kinds = _Numbers.__annotations__
    return _Numbers(**{name: kinds[name](getattr(config, name)) for name in _Numbers._fields})


def _form(config: AgentConfig) -> AgentConfig:
    """The choices of a config, which functions are compiled for."""
    return dataclasses.replace(config, **{name: getattr(AgentConfig, name) for name in _Numbers._fields})


class Rows(NamedTuple):
    """What agents are shown. ``item`` is -1 where there is none (padding), which teaches nothing.

    Attributes:
      keys: ``uint32 [U, n, W]``.
      labels: ``uint32 [U, n]``, bit i of the label at position i.
      item: ``int32 [U, n]``, what the row came of.
      time: ``int32 [U, n]``, in any unit that grows.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array


def rows(film_keys: jax.Array, film: np.ndarray, labels: np.ndarray, time: np.ndarray) -> Rows:
    """Rows of rated films: keys ``uint32 [F, W]``, and three arrays ``[U, n]``; -1 in ``film`` is padding."""
    item = jnp.asarray(film, jnp.int32)
    return Rows(film_keys[item], jnp.asarray(labels, jnp.uint32), item, jnp.asarray(time, jnp.int32))


class Agents(NamedTuple):
    """The rows agents hold; ``4 W + 16`` bytes each.

    Attributes:
      keys: ``uint32 [U, M, W]``.
      labels: ``uint32 [U, M]``.
      item: ``int32 [U, M]``.
      time: ``int32 [U, M]``.
      order: ``int32 [U, M]``, 0 where there is no row; else larger in rows learnt later.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array
    order: jax.Array

    @property
    def alive(self) -> jax.Array:
        """``bool [U, M]``: which rows there are."""
        return self.order > 0


def empty(users: int, words: int, rows: int = 8) -> Agents:
    """U agents that know nothing, with room for ``rows`` each."""
    shape = (users, rows)
    return Agents(
        jnp.zeros((*shape, words), jnp.uint32),
        jnp.zeros(shape, jnp.uint32),
        jnp.full(shape, -1, jnp.int32),
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, jnp.int32),
    )


def memory_bytes(users: int, rows: int, words: int) -> int:
    """Bytes of agents with ``rows`` rows each."""
    return users * rows * (4 * words + 16)


def grow(agents: Agents, rows: int, cap: int) -> Agents:
    """Agents with room for ``rows`` more rows each, by doubling, or for ``cap`` in all if that is less."""
    have = agents.order.shape[1]
    need = min(int((np.asarray(agents.order) > 0).sum(1).max(initial=0)) + rows, cap)
    room = have
    while room < need:
        room = min(2 * room, cap)
    return agents if room == have else _grow(agents, room - have)


@functools.partial(jax.jit, static_argnames="rows")
def _grow(agents: Agents, rows: int) -> Agents:
    free = empty(agents.keys.shape[0], agents.keys.shape[2], rows)
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), agents, free)


def widen(agents: Agents, words: int) -> Agents:
    """Agents whose keys have ``words`` words: old rows have 0 in every new bit.

    Raises:
      ValueError: that is fewer than they have.
    """
    more = words - agents.keys.shape[2]
    if more < 0:
        raise ValueError(
            f"keys of {agents.keys.shape[2]} words cannot be cut to {words}: forget rows instead"
        )
    return agents._replace(keys=jnp.pad(agents.keys, ((0, 0), (0, 0), (0, more))))


def learn(config: AgentConfig, agents: Agents, rows: Rows) -> Agents:
    """Show every agent its rows, one after the other; agents grow by doubling up to the cap.

    Raises:
      ValueError: keys of other words than the agents', or rows for another number of agents.
    """
    if rows.keys.shape[0] != agents.keys.shape[0] or rows.keys.shape[2] != agents.keys.shape[2]:
        raise ValueError(
            f"rows are for {rows.keys.shape[0]} agents with {rows.keys.shape[2]} words a key, and there are "
            f"{agents.keys.shape[0]} agents with {agents.keys.shape[2]}"
        )
    shown = int((np.asarray(rows.item) >= 0).sum(1).max(initial=0))
    return _learn(_form(config), _numbers(config), grow(agents, shown, config.cap), rows)


@functools.partial(jax.jit, static_argnames="form")
def _learn(form: AgentConfig, numbers: _Numbers, agents: Agents, rows: Rows) -> Agents:
    def one(agent: Agents, rows: Rows) -> Agents:
        step = functools.partial(_learn_row, form, numbers)
        return jax.lax.scan(lambda agent, row: (step(agent, row), None), agent, rows)[0]

    return jax.vmap(one)(agents, rows)


def _learn_row(form: AgentConfig, numbers: _Numbers, agent: Agents, row: Rows) -> Agents:
    """One agent ``[M, ...]``, one row."""
    near = _distance(agent.keys, row.keys) <= numbers.contradiction
    against = jax.lax.population_count(agent.labels ^ row.labels) > numbers.tolerance
    order = jnp.where(near & against & (row.item >= 0), 0, agent.order)
    alive = order > 0
    count = order.shape[0]
    if form.eviction == "oldest":
        redundancy = jnp.zeros(count, jnp.int32)
    else:
        apart = jax.vmap(lambda key: _distance(agent.keys, key))(agent.keys)
        other = alive[None] & ~jnp.eye(count, dtype=bool)
        redundancy = jnp.where(other, apart, jnp.iinfo(jnp.int32).max).min(1)
    # The first free row; at the cap, the row that the rule gives up.
    goes = alive
    for rank in (redundancy, agent.time, order):
        goes = goes & (rank == jnp.where(goes, rank, jnp.iinfo(jnp.int32).max).min())
    slot = jnp.where(alive.all() | (alive.sum() >= numbers.cap), jnp.argmax(goes), jnp.argmin(alive))
    new = Agents(row.keys, row.labels, row.item, row.time, order.max() + 1)
    after = jax.tree.map(lambda x, y: x.at[slot].set(y), agent._replace(order=order), new)
    return jax.tree.map(lambda x, y: jnp.where(row.item >= 0, x, y), after, agent)


@jax.jit
def forget(agents: Agents, where: jax.Array | np.ndarray) -> Agents:
    """Delete rows. What an eviction or a contradiction had deleted because of them does not come back.

    Args:
      agents: the memories.
      where: ``bool [U, M]``; any predicate of the rows, such as `of_items`, `with_bit` or `before`.
    """
    return agents._replace(order=jnp.where(where, 0, agents.order))


def of_items(agents: Agents, items: jax.Array | np.ndarray) -> np.ndarray:
    """``bool [U, M]``: rows that came of one of ``items``. Host code, which compiles nothing."""
    return np.isin(np.asarray(agents.item), np.asarray(items)) & (np.asarray(agents.order) > 0)


def with_bit(agents: Agents, bit: int) -> jax.Array:
    """``bool [U, M]``: rows whose film has this bit, such as a genre's (`catalogue.bit_of`)."""
    return ((agents.keys[..., bit // bits.WORD] >> (bit % bits.WORD)) & 1).astype(bool) & agents.alive


def before(agents: Agents, time: int) -> jax.Array:
    """``bool [U, M]``: rows older than ``time``."""
    return (agents.time < time) & agents.alive


def predict(
    key: jax.Array,
    config: AgentConfig,
    agents: Agents,
    queries: jax.Array,
    now: jax.Array | int = 0,
    prior: jax.Array | None = None,
) -> jax.Array:
    """How far each label bit is believed to be set: ``float32 [U, Q, L]``.

    Args:
      key: decides random ties and nothing else.
      config: how to read.
      agents: the memories.
      queries: ``uint32 [U, Q, W]``.
      now: ``int32`` scalar or ``[U]``, the time from which the age of rows counts.
      prior: ``float32 [U, Q, L]``, what to believe before any row has spoken; only ``vote`` listens to it.
    """
    users = agents.order.shape[0]
    times = np.broadcast_to(np.asarray(now, np.int32), (users,))
    asked = _Query(words=queries, prior=prior, key=jax.random.split(key, users), now=times)
    return _predict(_form(config), _numbers(config), agents, asked)


class _Query(NamedTuple):
    """Queries of all agents, or one of them.

    Attributes:
      words: ``uint32 [U, Q, W]``, of one query ``[W]``.
      prior: ``float32 [U, Q, L]`` or None, of one ``[L]``.
      key: of an agent, of one query.
      now: ``int32 [U]``, of one ``[]``.
    """

    words: jax.Array
    prior: jax.Array | None
    key: jax.Array
    now: jax.Array | np.ndarray


@functools.partial(jax.jit, static_argnames="form")
def _predict(form: AgentConfig, numbers: _Numbers, agents: Agents, queries: _Query) -> jax.Array:
    def one(agent: Agents, asked: _Query) -> jax.Array:
        count = asked.words.shape[0]
        each = asked._replace(
            key=jax.random.split(asked.key, count), now=jnp.broadcast_to(asked.now, (count,))
        )
        return jax.vmap(functools.partial(_read, form, numbers, agent))(each)

    return jax.vmap(one)(agents, queries)


def replay(key: jax.Array, config: AgentConfig, agents: Agents, rows: Rows) -> tuple[Agents, jax.Array]:
    """Ask for every row in turn, then learn it, as life goes: what was learnt, and ``float32 [U, n, L]``.

    Ages count from the time of the row. The agents must have room for the rows (`grow`); without it rows are
    evicted as at the cap.
    """
    return _replay(key, _form(config), _numbers(config), agents, rows)


@functools.partial(jax.jit, static_argnames="form")
def _replay(key, form: AgentConfig, numbers: _Numbers, agents: Agents, rows: Rows):
    def one(key, agent: Agents, rows: Rows):
        def step(agent, x):
            key, row = x
            chances = _read(form, numbers, agent, _Query(words=row.keys, prior=None, key=key, now=row.time))
            return _learn_row(form, numbers, agent, row), chances

        return jax.lax.scan(step, agent, (jax.random.split(key, rows.item.shape[0]), rows))

    return jax.vmap(one)(jax.random.split(key, agents.order.shape[0]), agents, rows)


def _read(form: AgentConfig, numbers: _Numbers, agent: Agents, query: _Query) -> jax.Array:
    """One agent, one query: ``[L]``."""
    alive = agent.alive
    positions = jnp.arange(form.label_bits, dtype=jnp.uint32)
    label = ((agent.labels[:, None] >> positions) & 1).astype(bool)  # [M, L]
    apart = _distance(agent.keys, query.words)
    if form.read == "vote":
        age = jnp.log(2.0) / numbers.half_life * (query.now - agent.time)
        steps = jnp.clip(_STEPS * (apart / numbers.scale + age), -_REMOTE, _REMOTE)
        steps = jnp.round(steps).astype(jnp.int32)
        nearest = jnp.where(alive, steps, _REMOTE).min(initial=_REMOTE)
        weight = jnp.where(alive, _weights()[jnp.minimum(steps - nearest, _FAINT - 1)], 0)
        total = weight.sum().astype(jnp.float32)
        ones = (weight[:, None] * label).sum(0).astype(jnp.float32)
        if query.prior is not None:
            # The nearest row stands for 1 in the sums, and the prior counts from distance 0.
            believed = numbers.prior_weight * _ONE * jnp.exp(jnp.minimum(nearest / _STEPS, 60.0))
            return jnp.where(total > 0, (ones + believed * query.prior) / (total + believed), query.prior)
        return jnp.where(total > 0, ones / total, _tie(form, query.key, alive, label))
    side = jnp.stack([~label, label]) & alive[None, :, None]  # [2, M, L]
    exact = _exact(agent, side & (apart == 0)[None, :, None])
    near = _nearer(side, apart[:, None])
    if form.read == "exact":
        order = (exact,)
    elif form.read == "hamming":
        order = (near,)
    else:
        width = agent.keys.shape[1] * bits.WORD
        features = bits.unpack(agent.keys.T, width).T.astype(jnp.int32)  # [M, I]
        asked = bits.unpack(query.words[:, None], width)[:, 0]
        share = [x.T.astype(jnp.int32) @ features / jnp.maximum(x.sum(0), 1)[:, None] for x in side]
        matters = jnp.round(_ONE * jnp.abs(share[1] - share[0])).astype(jnp.int32)  # [L, I]
        weighted = (features != asked).astype(jnp.int32) @ matters.T
        order = (exact, _nearer(side, weighted), near)
    decided = functools.reduce(lambda x, y: jnp.where(x < 0, y, x), order)
    return jnp.where(decided < 0, _tie(form, query.key, alive, label), decided)


def _weights() -> jax.Array:
    return jnp.round(_ONE * jnp.exp(-jnp.arange(_FAINT) / _STEPS)).astype(jnp.int32)


def _distance(keys: jax.Array, key: jax.Array) -> jax.Array:
    """Hamming distance of ``[M, W]`` to ``[W]``: ``int32 [M]``."""
    return jax.lax.population_count(keys ^ key).sum(-1).astype(jnp.int32)


def _nearer(side: jax.Array, apart: jax.Array) -> jax.Array:
    """Per label bit 1 or 0 as the nearest row has it, -1 where both sides are as near or there is no row.

    Where only one side has rows it is the nearer.
    """
    far = jnp.iinfo(jnp.int32).max
    clear, on = (jnp.where(rows, apart, far).min(0, initial=far) for rows in side)
    return jnp.where(on < clear, 1.0, jnp.where(clear < on, 0.0, -1.0))


def _exact(agent: Agents, side: jax.Array) -> jax.Array:
    """Per label bit what most of these rows have, of as many the newest's; -1 where there are none."""
    clear, on = side.sum(1)  # [L]
    newest = side.any(0)
    for rank in (agent.time[:, None], agent.order[:, None]):
        newest = newest & (rank == jnp.where(newest, rank, jnp.iinfo(jnp.int32).min).max(0))
    recent = (side[1] & newest).any(0)
    most = jnp.where(on == clear, recent, on > clear).astype(jnp.float32)
    return jnp.where(on + clear > 0, most, -1.0)


def _tie(form: AgentConfig, key: jax.Array, alive: jax.Array, label: jax.Array) -> jax.Array:
    if form.ties == "random":
        return jax.random.bernoulli(key, 0.5, (form.label_bits,)).astype(jnp.float32)
    if form.ties == "half":
        return jnp.full(form.label_bits, 0.5)
    on, rows = (label & alive[:, None]).sum(0), alive.sum()
    return jnp.where(2 * on > rows, 1.0, jnp.where(2 * on < rows, 0.0, 0.5))
