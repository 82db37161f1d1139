"""Fills the rows of a static chain model from what follows its contexts, on one device or on several.

Rows do not depend on each other, so devices and processes share them: device d of D takes rows d, d + D,
d + 2 D and so on. Every process must be given the same text. The rows are gathered at the end, so every
process holds the whole tables, with the bits that one process would have counted.

Source: docs/semantics/chain_static.md
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from wnn_jax.chain import backend, static_cells, static_inputs
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import StaticMemory
from wnn_jax.chain.static_cells import Followers, Rows

AXIS = "rows"
_BLOCK = 8  # rows of a device whose followers are in memory at the same time
_NOTHING = np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32)


def mesh() -> jax.sharding.Mesh | None:
    """Makes a mesh of all devices of all processes, with the axis ``rows``; None if there is one device.

    Source: docs/architecture.md
    """
    devices = jax.devices()
    return jax.sharding.Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def fill(
    network: Network,
    memory: StaticMemory,
    followers: Callable[[int], Rows],
    size: int,
    discounts: np.ndarray | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> StaticMemory:
    """Writes all rows of cells anew.

    Args:
      network: the wiring, not from `static_inputs.wired`.
      memory: a static memory, whose cells are consumed.
      followers: returns what follows the contexts of a row.
      size: the most pairs of a row; every process must give the same.
      discounts: ``uint32 [R, 3]``; those of each row's counts if they are not given.
      mesh: the devices that share the rows.

    Source: docs/semantics/chain_static.md
    """
    rows = memory.slots.shape[0]
    lost = np.zeros((rows, 3), np.uint32) if discounts is None else np.array(discounts)

    def block(chosen: list[int]) -> Followers:
        found = [followers(c) if c < rows else _NOTHING for c in chosen]
        if discounts is None:
            for c, one in zip(chosen, found, strict=True):
                if c < rows:
                    lost[c] = static_cells.discounts(one[2])
        return static_cells.stacked(found, size, lost[np.minimum(chosen, rows - 1)])

    network = static_inputs.wired(network)
    if mesh is not None:
        slots, lost = _shared(network, memory.slots, block, lost, mesh)
        return memory._replace(slots=slots, discounts=jnp.asarray(lost))
    slots = _cleared(memory.slots)
    for first in range(0, rows, _BLOCK):
        found = block(list(range(first, min(first + _BLOCK, rows))))
        if size:
            slots = _write(network, slots, np.int32(first), found, network.tree.depth)
    return memory._replace(slots=slots, discounts=jnp.asarray(lost))


@functools.partial(jax.jit, donate_argnums=0)
def _cleared(slots):
    return slots * jnp.uint32(0)


def _written(network: Network, slots, first, found: Followers, depth: int):
    if backend.native():
        log_slots = slots.shape[1].bit_length() + 1
        return backend.write_followers(network, slots, first, found, log_slots=log_slots)
    return static_cells.write(network, slots, first, found, depth)


_write = functools.partial(jax.jit, static_argnames="depth", donate_argnames="slots")(_written)


@functools.partial(jax.jit, static_argnames=("mesh", "depth"), donate_argnames="slots")
def _write_shares(network: Network, slots, view, first, found: Followers, depth: int, mesh):
    def share(network, slots, view, first, found):
        return _written(network._replace(view=view), slots, first, found, depth)

    spread, whole = PartitionSpec(AXIS), PartitionSpec()
    specs = whole, spread, spread, whole, spread
    # check_vma=False, because the native call does not declare how its result varies over the mesh.
    return jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)(
        network, slots, view, first, found
    )


def _shared(network: Network, slots, block: Callable[[list[int]], Followers], lost: np.ndarray, mesh):
    """Fills the rows on all devices of a mesh; returns all slots on one device, and all discounts."""
    rows, devices = len(lost), mesh.devices.size
    each = -(-rows // devices)
    mine = [d for d, one in enumerate(mesh.devices.flat) if one.process_index == jax.process_index()]
    shape = devices * each, *slots.shape[1:]
    slots.delete()
    filled = _empty(mesh, shape)()

    def placed(x: np.ndarray):
        whole = len(x) // len(mine) * devices, *x.shape[1:]
        return jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec(AXIS)), x, whole)

    network = jax.tree.map(lambda x: _alike(mesh)(np.asarray(x)), network)
    chosen = [d + devices * k for d in mine for k in range(each)]
    views = placed(np.asarray(network.view)[np.minimum(chosen, rows - 1)])
    for first in range(0, each, _BLOCK):
        steps = range(first, min(first + _BLOCK, each))
        found = block([d + devices * k for d in mine for k in steps])
        if found.counts.size:
            shares = Followers(*(placed(x) for x in found))
            filled = _write_shares(network, filled, views, np.int32(first), shares, network.tree.depth, mesh)
    discounts = placed(lost[np.minimum(chosen, rows - 1)])
    return _gathered(filled, rows, mesh), np.asarray(_gathered(discounts, rows, mesh))


@functools.cache
def _empty(mesh, shape: tuple[int, ...]):
    spread = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.jit(lambda: jnp.zeros(shape, jnp.uint32), out_shardings=spread)


@functools.cache
def _alike(mesh):
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _gathered(x, rows: int, mesh) -> jax.Array:
    """Returns the rows of all devices in their order, on one device of this process."""
    if jax.process_count() == 1:
        return _ordered(jax.device_put(x, mesh.devices.flat[0]), mesh.devices.size, rows)
    return _ordered(_alike(mesh)(x).addressable_data(0), mesh.devices.size, rows)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _ordered(x, devices: int, rows: int):
    return x.reshape(devices, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)[:rows]
