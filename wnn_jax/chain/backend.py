"""Calls the native kernels of `metal_ext` that read and write the cells of a chain model.

`wnn_jax.ram.backend` chooses between these kernels and plain JAX. The plain JAX of `reader` and `contexts` is
the contract that the kernels are tested against.

Source: docs/architecture.md
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import backend

# The operands of the kernels, in the order of metal_ext/src/chain_handlers.cc.
_TREE = ("children", "start", "node", "bit", "names", "kind", "spelled")
# The parts of an online memory that follow the text, also without learning.
FOLLOWING = ("text", "match_table", "position", "registers", "followed", "line")
MOVES = ("registers", "followed", "line")  # the parts of a static memory that change
_STATIC = ("slots", "weights", "finals", *MOVES)  # the parts of a static memory that are read


def native() -> bool:
    """Returns whether the native kernels do the work.

    Source: docs/architecture.md
    """
    return backend.chosen() != "xla"


def zeros(shape: tuple[int, ...]) -> jax.Array:
    """Returns ``uint32`` zeros of a shape, in the memory where random access is cheapest.

    Source: docs/architecture.md
    """
    if not native():
        return jnp.zeros(shape, jnp.uint32)
    return jax.jit(jax.ffi.ffi_call("wnn_chain_zeros", jax.ShapeDtypeStruct(shape, jnp.uint32)))()


def observe(network, state, tokens):
    """Does the work of `static.observe` with the native kernel.

    Args:
      network: the wiring.
      state: a `fields.TextState`.
      tokens: ``int32 [N]``.

    Returns:
      the state after the tokens, the hashes ``uint32 [n, N]`` and the shapes of the last two tokens ``int32
      [2, N]``.

    Source: docs/architecture.md
    """
    size = len(tokens)
    results = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in state]
    results += [jax.ShapeDtypeStruct((network.view.shape[0], size), jnp.uint32)]
    results += [jax.ShapeDtypeStruct((2, size), jnp.int32)]
    operands = [network.lexicon, network.connections, network.view, *state, tokens]
    call = jax.ffi.ffi_call("wnn_chain_observe", results, input_output_aliases={3: 0, 4: 1, 5: 2})
    *moved, hashes, shapes = call(*operands)
    return type(state)(*moved), hashes, shapes


def write_followers(network, slots, first, found, *, log_slots: int):
    """Does the work of `static_cells.write` with the native kernels.

    The slots are changed in place where XLA may reuse their buffer.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 4]``.
      first: ``int32 []``, the first of the neurons that are written.
      found: the `static_cells.Followers` of their contexts.
      log_slots: log2 of S, the number of cells in a neuron's row.

    Returns:
      the new slots.

    Source: docs/architecture.md
    """
    operands = [*_tree(network.tree), network.view, slots, first[None], *found]
    place = {len(_TREE) + 1: 0}  # the operand `slots` becomes the result
    result = jax.ShapeDtypeStruct(slots.shape, slots.dtype)
    call = jax.ffi.ffi_call("wnn_chain_followers", result, input_output_aliases=place)
    return call(*operands, log_slots=np.int64(log_slots))


def lacking(ledger, part):
    """Does the work of `ledger.lacking` with the native kernel; the arrays are those of a `ledger.Ledger`.

    Source: docs/architecture.md
    """
    result = jax.ShapeDtypeStruct((ledger.counts.shape[0],), jnp.int32)
    return jax.ffi.ffi_call("wnn_chain_lacking", result)(*ledger, *part)


def audit(network, slots, lost, first, found, room: int):
    """Does the work of `audit.check` for some rows with the native kernel.

    Args:
      network: the wiring, from `static_inputs.wired`.
      slots: ``uint32 [R, S / 4, 4, 4]``.
      lost: ``uint32 [R, S / 4, 4, 2]``, of which these rows are written; in place where XLA may reuse it.
      first: ``int32 []``, the first of the b rows.
      found: the `static_cells.Followers` of their contexts.
      room: X, the number of cells of a row's spill that are returned.

    Returns:
      ``lost`` with what the cells of these rows lost; the spills, ``uint32 [b, X, 6]``; and the numbers
      ``int32 [b]`` of their cells, of which those beyond X are left out.

    Source: docs/architecture.md
    """
    rows = found.counts.shape[0]
    shapes = (lost.shape, jnp.uint32), ((rows, room, 6), jnp.uint32), ((rows,), jnp.int32)
    results = [jax.ShapeDtypeStruct(*one) for one in shapes]
    operands = [*_tree(network.tree), network.view, slots, lost, first[None], *found]
    place = {len(_TREE) + 2: 0}  # the operand `lost` becomes the result
    call = jax.ffi.ffi_call("wnn_chain_audit", results, input_output_aliases=place)
    return call(*operands, log_slots=np.int64(slots.shape[1].bit_length() + 1))


def forget(network, slots, discounts, books, part):
    """Takes a part out of the slots and the books of a model.

    All of them are changed in place where XLA may reuse their buffers.

    Args:
      network: the wiring, from `static_inputs.wired`.
      slots: ``uint32 [R, S / 4, 4, 4]``.
      discounts: ``uint32 [R, 3]``.
      books: the `audit.Books` of the slots.
      part: a ledger of some of their places.

    Returns:
      the new slots; the new books, with the U and the X of the old ones; and the numbers ``int32 [2, R]`` of
      the entries and of the spilled cells of each row.

    Source: docs/architecture.md
    """
    operands = [*_tree(network.tree), network.view, discounts]
    first = len(operands)
    kept = [slots, *books.ledger, books.lost, books.spill]
    results = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in kept]
    results += [jax.ShapeDtypeStruct((2, slots.shape[0]), jnp.int32)]
    aliases = {first + i: i for i in range(len(kept))}
    call = jax.ffi.ffi_call("wnn_chain_forget", results, input_output_aliases=aliases)
    log_slots = slots.shape[1].bit_length() + 1
    slots, *held, lost, spill, sizes = call(*operands, *kept, *part, log_slots=np.int64(log_slots))
    return slots, type(books)(type(books.ledger)(*held), lost, spill), sizes


def read_cells(network, slots, hashes, tokens, *, log_slots: int, bits: int):
    """Does the work of `static_cells.read` for all turns of a text with the native kernels.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 4]``.
      hashes: ``uint32 [n, N]``.
      tokens: ``int32 [N]``.
      log_slots: log2 of S, the number of cells in a neuron's row.
      bits: space for the turns of the text, at least their number.

    Returns:
      the zeros, the ones and the shares, ``uint32 [n, bits]`` each.

    Source: docs/architecture.md
    """
    numbers = jax.ShapeDtypeStruct((network.view.shape[0], bits), jnp.uint32)
    operands = [*_tree(network.tree), network.view, slots, hashes, tokens]
    call = jax.ffi.ffi_call("wnn_chain_static_cells", (numbers,) * 3)
    return call(*operands, log_slots=np.int64(log_slots))


def read_on(network, memory, tokens, chance, recent, count, *, block: int, depth: int, settings):
    """Does the work of `reader.read_on` for a static memory with the native kernel.

    Args:
      network: the wiring, from `static_inputs.wired`.
      memory: the memory that reads.
      tokens: ``int32 [block]``, or ``[0]`` if the tokens are not given.
      chance: the random numbers of each token, or ``[0, 0]`` if the tokens are not drawn.
      recent: ``int32 [W]``, the last tokens, -1 for none.
      count: ``int32 []``, the number of tokens to read, at most ``block``.
      block: the number of rows of the result.
      depth: D, the number of turns of the longest path.
      settings: the kernel's attributes, from `reader.kernel_settings`.

    Returns:
      the memory, and the fields of a `reader.Reading`.

    Source: docs/architecture.md
    """
    operands = [*_tree(network.tree), network.lexicon, network.connections, network.view]
    first = len(operands)
    operands += [*(getattr(memory, name) for name in _STATIC), tokens, chance, recent, count[None]]
    results = [jax.ShapeDtypeStruct(getattr(memory, name).shape, jnp.uint32) for name in MOVES]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32), jax.ShapeDtypeStruct((block, depth), jnp.float32)]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32)]
    aliases = {first + _STATIC.index(name): i for i, name in enumerate(MOVES)}
    call = jax.ffi.ffi_call(
        "wnn_chain_read_static", results, input_output_aliases=aliases, has_side_effect=True
    )
    *arrays, read, ones, best = call(*operands, **settings)
    return memory._replace(**dict(zip(MOVES, arrays, strict=True))), (read, ones, best)


def read_online(
    network, memory, tokens, chance, recent, count, *, block: int, depth: int, learn: bool, settings
):
    """Does the work of `reader.read_on` for an online memory with the native kernel.

    The parts of the memory that change are changed in place where XLA may reuse their buffers.

    Args:
      network: the wiring.
      memory: the `online.OnlineMemory` that reads.
      tokens: ``int32 [block]``, or ``[0]`` if the tokens are not given.
      chance: the random numbers of each token, or ``[0, 0]`` if the tokens are not drawn.
      recent: ``int32 [W]``, the last tokens, -1 for none.
      count: ``int32 []``, the number of tokens to read, at most ``block``.
      block: the number of rows of the result.
      depth: D, the number of turns of the longest path.
      learn: whether all parts of the memory change, or only those that follow the text.
      settings: the kernel's attributes, from `reader.kernel_settings`.

    Returns:
      the memory, and the fields of a `reader.Reading`.

    Source: docs/architecture.md
    """
    changed = memory._fields if learn else FOLLOWING
    operands = [*_tree(network.tree), network.lexicon, network.connections, network.view, network.sets]
    first = len(operands)
    operands += [*memory, tokens, chance, recent, count[None]]
    results = [
        jax.ShapeDtypeStruct(getattr(memory, name).shape, getattr(memory, name).dtype) for name in changed
    ]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32), jax.ShapeDtypeStruct((block, depth), jnp.float32)]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32)]
    aliases = {first + memory._fields.index(name): i for i, name in enumerate(changed)}
    target = "wnn_chain_learn_on" if learn else "wnn_chain_online_frozen"
    call = jax.ffi.ffi_call(target, results, input_output_aliases=aliases, has_side_effect=True)
    *arrays, read, ones, best = call(*operands, **settings)
    return memory._replace(**dict(zip(changed, arrays, strict=True))), (read, ones, best)


def _tree(tree) -> list[Any]:
    """Returns the parts of a `tokentree.TokenTree` that the kernels need."""
    return [getattr(tree, name) for name in _TREE]
