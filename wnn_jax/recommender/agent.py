"""One memory a person: rows of what a film is and how it was rated, added and deleted at any time.

An agent is a table whose addresses are the rows themselves: a query reads every row by how far its bits lie
from the row's. All agents are one pytree with a leading axis of users; the functions that take `Agents` map
over it, and everything below them is written for one agent. Deleting rows is exact: what is left is what an
agent would hold that was never shown them.

Shapes: U agents, M rows each (a power of two, or the cap), W words a key, Q queries, L label bits.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import bits
from wnn_jax.recommender.memory import (
    MOST_ROWS,
    AgentConfig,
    Agents,
    Eviction,
    Numbers,
    Read,
    Rows,
    Ties,
    form_of,
    numbers_of,
)
from wnn_jax.recommender.reading import Query, distance, read

__all__ = [
    "MOST_ROWS",
    "AgentConfig",
    "Agents",
    "Eviction",
    "Read",
    "Rows",
    "Ties",
    "before",
    "empty",
    "forget",
    "grow",
    "learn",
    "memory_bytes",
    "of_items",
    "predict",
    "replay",
    "rows",
    "widen",
    "with_bit",
]


def rows(film_keys: jax.Array, film: np.ndarray, labels: np.ndarray, time: np.ndarray) -> Rows:
    """Rows of rated films: keys ``uint32 [F, W]``, and three arrays ``[U, n]``; -1 in ``film`` is padding."""
    item = jnp.asarray(film, jnp.int32)
    return Rows(film_keys[item], jnp.asarray(labels, jnp.uint32), item, jnp.asarray(time, jnp.int32))


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
    return _learn(form_of(config), numbers_of(config), grow(agents, shown, config.cap), rows)


@functools.partial(jax.jit, static_argnames="form")
def _learn(form: AgentConfig, numbers: Numbers, agents: Agents, rows: Rows) -> Agents:
    def one(agent: Agents, rows: Rows) -> Agents:
        step = functools.partial(_learn_row, form, numbers)
        return jax.lax.scan(lambda agent, row: (step(agent, row), None), agent, rows)[0]

    return jax.vmap(one)(agents, rows)


def _learn_row(form: AgentConfig, numbers: Numbers, agent: Agents, row: Rows) -> Agents:
    """One agent ``[M, ...]``, one row."""
    near = distance(agent.keys, row.keys) <= numbers.contradiction
    against = jax.lax.population_count(agent.labels ^ row.labels) > numbers.tolerance
    order = jnp.where(near & against & (row.item >= 0), 0, agent.order)
    alive = order > 0
    count = order.shape[0]
    if form.eviction == "oldest":
        redundancy = jnp.zeros(count, jnp.int32)
    else:
        apart = jax.vmap(lambda key: distance(agent.keys, key))(agent.keys)
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
    asked = Query(words=queries, prior=prior, key=jax.random.split(key, users), now=times)
    return _predict(form_of(config), numbers_of(config), agents, asked)


@functools.partial(jax.jit, static_argnames="form")
def _predict(form: AgentConfig, numbers: Numbers, agents: Agents, queries: Query) -> jax.Array:
    def one(agent: Agents, asked: Query) -> jax.Array:
        count = asked.words.shape[0]
        each = asked._replace(
            key=jax.random.split(asked.key, count), now=jnp.broadcast_to(asked.now, (count,))
        )
        return jax.vmap(functools.partial(read, form, numbers, agent))(each)

    return jax.vmap(one)(agents, queries)


def replay(key: jax.Array, config: AgentConfig, agents: Agents, rows: Rows) -> tuple[Agents, jax.Array]:
    """Ask for every row in turn, then learn it, as life goes: what was learnt, and ``float32 [U, n, L]``.

    Ages count from the time of the row. The agents must have room for the rows (`grow`); without it rows are
    evicted as at the cap.
    """
    return _replay(key, form_of(config), numbers_of(config), agents, rows)


@functools.partial(jax.jit, static_argnames="form")
def _replay(key, form: AgentConfig, numbers: Numbers, agents: Agents, rows: Rows):
    def one(key, agent: Agents, rows: Rows):
        def step(agent, x):
            key, row = x
            chances = read(form, numbers, agent, Query(words=row.keys, prior=None, key=key, now=row.time))
            return _learn_row(form, numbers, agent, row), chances

        return jax.lax.scan(step, agent, (jax.random.split(key, rows.item.shape[0]), rows))

    return jax.vmap(one)(jax.random.split(key, agents.order.shape[0]), agents, rows)
