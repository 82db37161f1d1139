"""Agents, the memories of persons: each rated film is a row of bits, which can be deleted at any time.

A row has a key (the bits of the film) and a label (the bits of the rating). A query is the key of another
film; the agent compares it with the keys of all rows by Hamming distance. All agents are one pytree with a
leading axis of users. The public functions map over that axis; the private ones handle one agent. Deleting
rows is exact: the agent then answers as an agent that was never shown those rows.

Shapes: U agents, M rows each (a power of two, or the cap), W words a key, Q queries, L label bits.

Source: docs/semantics/recommender.md.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import bits
from wnn_jax.recommender.memory import (
    MOST_ROWS,
    TIMES,
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
    "TIMES",
    "AgentConfig",
    "Agents",
    "Eviction",
    "Read",
    "Rows",
    "Ties",
    "before",
    "check_agents",
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
    """Make the rows of rated films.

    Args:
      film_keys: ``uint32 [F, W]``, the key of each film.
      film: integers ``[U, n]``, the place of each rated film; -1 is padding, which teaches nothing.
      labels: integers ``[U, n]``, the label of each rating (`fields.stars_to_bits`).
      time: integers ``[U, n]`` of 32 bits, in any unit that grows.

    Raises:
      ValueError: an array has another type or shape, a film has no key, or a label or time has more than 32
        bits.

    Source: docs/semantics/recommender.md.
    """
    checks.array("film_keys", film_keys, "uint32", {"F": None, "W": None})
    film, labels, time = (x if hasattr(x, "dtype") else np.asarray(x) for x in (film, labels, time))
    checks.array("film", film, "integers", {"U": None, "n": None}, Limits(-1, film_keys.shape[0] - 1))
    shape = {"U": film.shape[0], "n": film.shape[1]}
    checks.array("labels", labels, "integers", shape, Limits(0, (1 << bits.WORD) - 1))
    checks.array("time", time, "integers", shape, TIMES)
    item = jnp.asarray(film, jnp.int32)
    return Rows(film_keys[item], jnp.asarray(labels, jnp.uint32), item, jnp.asarray(time, jnp.int32))


def empty(users: int, words: int, rows: int = 8) -> Agents:
    """Make agents without rows.

    Args:
      users: U, the number of agents.
      words: W, the number of words of a key.
      rows: M, the number of rows that each agent has room for; 0 is room that `learn` makes.

    Raises:
      ValueError: a number is negative, or not a whole number.

    Source: docs/semantics/recommender.md.
    """
    for name, x in (("users", users), ("words", words), ("rows", rows)):
        checks.integer(name, x, Limits(least=0))
    shape = (users, rows)
    return Agents(
        jnp.zeros((*shape, words), jnp.uint32),
        jnp.zeros(shape, jnp.uint32),
        jnp.full(shape, -1, jnp.int32),
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, jnp.int32),
    )


def memory_bytes(users: int, rows: int, words: int) -> int:
    """Count the bytes of ``users`` agents with room for ``rows`` rows each: ``4 words + 16`` a row.

    Source: docs/semantics/recommender.md.
    """
    return users * rows * (4 * words + 16)


def grow(agents: Agents, rows: int, cap: int) -> Agents:
    """Double the room of agents until each can take ``rows`` more rows, but never beyond ``cap`` rows in all.

    Raises:
      ValueError: the agents are not arrays as `Agents` describes, or a number is not a whole number.

    Source: docs/semantics/recommender.md.
    """
    check_agents(agents)
    checks.integer("rows", rows, Limits(least=0))
    checks.integer("cap", cap, Limits(least=1, most=MOST_ROWS))
    have = agents.order.shape[1]
    need = min(int((np.asarray(agents.order) > 0).sum(1).max(initial=0)) + rows, cap)
    room = have
    while room < need:
        room = min(2 * max(room, 1), cap)
    return agents if room == have else _grow(agents, room - have)


@functools.partial(jax.jit, static_argnames="rows")
def _grow(agents: Agents, rows: int) -> Agents:
    free = empty(agents.keys.shape[0], agents.keys.shape[2], rows)
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), agents, free)


def check_agents(agents: Agents) -> None:
    """Check that the arrays of agents have the types and shapes that `Agents` describes.

    Raises:
      ValueError: an array has another type or shape.

    Source: docs/semantics/recommender.md.
    """
    checks.array("agents.keys", agents.keys, "uint32", {"U": None, "M": None, "W": None})
    shape = dict(zip("UM", agents.keys.shape, strict=False))
    for name in ("labels", "item", "time", "order"):
        dtype = "uint32" if name == "labels" else "int32"
        found = getattr(agents, name)
        # Asked first for speed: every rating comes through here.
        same = getattr(found, "dtype", None) == dtype and found.shape == agents.keys.shape[:2]
        if not same:
            checks.array(f"agents.{name}", found, dtype, shape)


def _check(config: AgentConfig, agents: Agents, rows: Rows) -> None:
    """Check agents and the rows that they are shown; the rows' contents too, if they are known.

    Raises:
      ValueError: an array has another type or shape, or a label has more bits than labels have.
    """
    check_agents(agents)
    checks.array("rows.keys", rows.keys, "uint32", {"U": None, "n": None, "W": None})
    shape = dict(zip("Un", rows.keys.shape, strict=False))
    checks.array("rows.labels", rows.labels, "uint32", shape, Limits(0, (1 << config.label_bits) - 1))
    checks.array("rows.item", rows.item, "int32", shape, Limits(least=-1))
    checks.array("rows.time", rows.time, "int32", shape)


def widen(agents: Agents, words: int) -> Agents:
    """Lengthen the keys of agents to ``words`` words; old rows get 0 in every new bit.

    Raises:
      ValueError: the keys have more than ``words`` words, or the agents are not arrays as `Agents` describes.

    Source: docs/semantics/recommender.md.
    """
    check_agents(agents)
    checks.integer("words", words, Limits(least=0))
    more = words - agents.keys.shape[2]
    if more < 0:
        raise ValueError(
            f"keys of {agents.keys.shape[2]} words cannot be cut to {words}: give words of at least "
            f"{agents.keys.shape[2]}, or make new agents"
        )
    return agents._replace(keys=jnp.pad(agents.keys, ((0, 0), (0, 0), (0, more))))


def learn(config: AgentConfig, agents: Agents, rows: Rows) -> Agents:
    """Teach every agent its rows, one after the other; agents grow by doubling up to the cap.

    A new row first deletes the rows that contradict it (`AgentConfig.contradiction`). At the cap it takes the
    place of the row that `AgentConfig.eviction` names. A row that is learnt twice is held twice.

    Args:
      config: how the agents learn and forget.
      agents: the memories.
      rows: the rows of each agent, in the order of learning.

    Raises:
      ValueError: the rows are for another number of agents, their keys have another number of words, or
        arrays are not as `Agents` and `Rows` describe them.

    Source: docs/semantics/recommender.md.
    """
    _check(config, agents, rows)
    if rows.keys.shape[0] != agents.keys.shape[0] or rows.keys.shape[2] != agents.keys.shape[2]:
        raise ValueError(
            f"got rows for {rows.keys.shape[0]} agents with {rows.keys.shape[2]} words a key, but there are "
            f"{agents.keys.shape[0]} agents with {agents.keys.shape[2]}: give rows for each agent, with keys "
            "of the agents' width (widen lengthens the agents' keys)"
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
    """Teach one agent ``[M, ...]`` one row."""
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
    # The new row goes to the first free place or, at the cap, to the place of the row that is evicted.
    goes = alive
    for rank in (redundancy, agent.time, order):
        goes = goes & (rank == jnp.where(goes, rank, jnp.iinfo(jnp.int32).max).min())
    slot = jnp.where(alive.all() | (alive.sum() >= numbers.cap), jnp.argmax(goes), jnp.argmin(alive))
    new = Agents(row.keys, row.labels, row.item, row.time, order.max() + 1)
    after = jax.tree.map(lambda x, y: x.at[slot].set(y), agent._replace(order=order), new)
    return jax.tree.map(lambda x, y: jnp.where(row.item >= 0, x, y), after, agent)


def forget(agents: Agents, where: jax.Array | np.ndarray) -> Agents:
    """Delete rows. Rows that an eviction or a contradiction deleted earlier do not come back.

    Args:
      agents: the memories.
      where: ``bool [U, M]``, the rows to delete; `of_items`, `with_bit` and `before` make such arrays.

    Raises:
      ValueError: the mask or an array of the agents has another type or shape.

    Source: docs/semantics/recommender.md.
    """
    check_agents(agents)
    users, room = agents.order.shape
    checks.array("where", where, "booleans", {"U": users, "M": room})
    return _forget(agents, where)


@jax.jit
def _forget(agents: Agents, where: jax.Array | np.ndarray) -> Agents:
    return agents._replace(order=jnp.where(where, 0, agents.order))


def of_items(agents: Agents, items: jax.Array | np.ndarray) -> np.ndarray:
    """Mark the rows of certain films, ``bool [U, M]``. It runs on the host and compiles nothing.

    Args:
      agents: the memories.
      items: integers of any shape, the places of the films.

    Raises:
      ValueError: the places are not whole numbers, one is negative, or an array of the agents is not of one.

    Source: docs/semantics/recommender.md.
    """
    check_agents(agents)
    items = np.asarray(items)
    if items.size:
        checks.array("items", items, "integers", limits=Limits(least=0))
    return np.isin(np.asarray(agents.item), np.asarray(items)) & (np.asarray(agents.order) > 0)


def with_bit(agents: Agents, bit: int) -> jax.Array:
    """Mark the rows whose film has a certain bit, ``bool [U, M]``; `fields.bit_of` finds the bit of a genre.

    Raises:
      ValueError: the keys have no such bit.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("bit", bit, Limits(least=0, most=agents.keys.shape[2] * bits.WORD - 1))
    return ((agents.keys[..., bit // bits.WORD] >> (bit % bits.WORD)) & 1).astype(bool) & agents.alive


def before(agents: Agents, time: int) -> jax.Array:
    """Mark the rows whose time is less than ``time``: ``bool [U, M]``.

    Raises:
      ValueError: the time is not a whole number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("time", time, TIMES)
    return (agents.time < time) & agents.alive


def predict(
    key: jax.Array,
    config: AgentConfig,
    agents: Agents,
    queries: jax.Array,
    now: jax.Array | np.ndarray | int = 0,
    prior: jax.Array | None = None,
) -> jax.Array:
    """Estimate the chance that each label bit of each query is set.

    Args:
      key: decides random ties and nothing else.
      config: how the agents read.
      agents: the memories.
      queries: ``uint32 [U, Q, W]``, the keys to ask about.
      now: ``int32`` scalar or ``[U]``; a row's age is the time from the row to ``now``.
      prior: ``float32 [U, Q, L]``, the chances before any row is read; only the read ``vote`` uses it.

    Returns:
      ``float32 [U, Q, L]`` in 0 .. 1. An agent without rows answers with the prior if there is one and the
      read is ``vote``, and otherwise as `AgentConfig.ties` says.

    Raises:
      ValueError: an array has another type or shape, a chance is not within 0 .. 1, or ``now`` is not a whole
        number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    check_agents(agents)
    users, _, words = agents.keys.shape
    checks.array("queries", queries, "uint32", {"U": users, "Q": None, "W": words})
    if prior is not None:
        shape = {"U": users, "Q": queries.shape[1], "L": config.label_bits}
        checks.array("prior", prior, "float32", shape, Limits(0, 1))
    given = now if isinstance(now, jax.Array) else np.asarray(now)
    checks.array("now", given, "integers", {"U": users} if given.ndim else {}, TIMES)
    agents = grow(agents, 1, 1) if not agents.order.shape[1] else agents
    times = np.broadcast_to(np.asarray(given, np.int32), (users,))
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
    """Predict the label of every row from the rows before it, then learn the row.

    A row's age is counted from the time of the row that is predicted. Agents do not grow here: call `grow`
    first, or rows are evicted as at the cap.

    Args:
      key: decides random ties and nothing else.
      config: how the agents read, learn and forget.
      agents: the memories.
      rows: the rows of each agent ``[U, n]``, in the order of learning.

    Returns:
      The agents after all rows, and the predicted chances of the label bits, ``float32 [U, n, L]``.

    Raises:
      ValueError: arrays are not as `Agents` and `Rows` describe them, do not fit together, or the agents have
        room for no row.

    Source: docs/semantics/recommender.md.
    """
    _check(config, agents, rows)
    users, _, words = agents.keys.shape
    checks.array("rows.keys", rows.keys, "uint32", {"U": users, "n": rows.item.shape[1], "W": words})
    checks.integer("the room of the agents", agents.order.shape[1], Limits(least=1))
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
