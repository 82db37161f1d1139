"""Which backend reads and writes a chain model's cells: the native kernels of `metal_ext`, or plain JAX.

`wnn_jax.ram.backend` chooses; `reader` and `contexts` are the contract that the native kernels are tested
against.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import backend

# The operands of the kernels, in the order of metal_ext/src/chain_handlers.cc.
_TREE = ("children", "start", "node", "bit", "names", "kind", "spelled")
_MEMORY = {
    **{"slots": 4, "gain": 2, "gain_sum": 2, "offset": 2, "offset_sum": 2, "match_share": 2, "match_gain": 2},
    **{"refined": 3, "text": 1, "match_table": 1, "registers": 1},
}
_INTEGERS = ("text", "match_table")
_MOVES = ("text", "match_table", "registers")  # without learning


def native() -> bool:
    """Whether the native kernels do the work."""
    return backend.chosen() != "xla"


def zeros(shape: tuple[int, ...]) -> jax.Array:
    """``uint32`` zeros where random access is cheapest."""
    if not native():
        return jnp.zeros(shape, jnp.uint32)
    return jax.jit(jax.ffi.ffi_call("wnn_chain_zeros", jax.ShapeDtypeStruct(shape, jnp.uint32)))()


def write_counts(network, slots, hashes, tokens, *, log_slots: int, sign: int):
    """`contexts.write_counts` by the native kernels; in place where XLA may reuse ``slots``."""
    operands = [*_tree(network.tree), network.view, slots, hashes, tokens]
    place = {len(_TREE) + 1: 0}  # of the slots
    result = jax.ShapeDtypeStruct(slots.shape, slots.dtype)
    call = jax.ffi.ffi_call("wnn_chain_count", result, input_output_aliases=place)
    return call(*operands, log_slots=np.int64(log_slots), sign=np.int64(sign))


def read_counts(network, slots, hashes, tokens, *, log_slots: int, bits: int):
    """`contexts.read_counts` of the ``bits`` turns of a text, by the native kernels."""
    counts = jax.ShapeDtypeStruct((network.view.shape[0], bits), jnp.int32)
    operands = [*_tree(network.tree), network.view, slots, hashes, tokens]
    return jax.ffi.ffi_call("wnn_chain_read", (counts, counts))(*operands, log_slots=np.int64(log_slots))


def read_on(network, memory, tokens, chance, count, *, block: int, depth: int, learn: bool, settings):
    """`reader.read_on` by the native kernel; what changes, in place where XLA may reuse it.

    Args:
      block: room for tokens, of which ``count`` are read.
      learn: whether all of the memory changes, or only where it stands in the text.
      settings: the kernel's attributes, from `reader.kernel_settings`.

    Returns:
      the memory, and the `reader.Reading`'s fields.
    """
    parts = {name: _part(memory, name) for name in _MEMORY}
    changed = tuple(_MEMORY) if learn else _MOVES
    operands = [*_tree(network.tree), network.lexicon, network.connections, network.view]
    first = len(operands)
    operands += [*parts.values(), tokens, chance, count[None]]
    results = [jax.ShapeDtypeStruct(parts[name].shape, parts[name].dtype) for name in changed]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32), jax.ShapeDtypeStruct((block, depth), jnp.float32)]
    results += [jax.ShapeDtypeStruct((block,), jnp.int32)]
    aliases = {first + list(parts).index(name): i for i, name in enumerate(changed)}
    target = "wnn_chain_read_on" if learn else "wnn_chain_read_frozen"
    call = jax.ffi.ffi_call(target, results, input_output_aliases=aliases, has_side_effect=True)
    *arrays, read, ones, best = call(*operands, **settings)
    moved = {name: x for name, x in zip(changed, arrays, strict=True) if name in memory._fields}
    return memory._replace(**moved), (read, ones, best)


def _tree(tree) -> list[Any]:
    """All that the kernels know of a `tokentree.TokenTree`."""
    return [getattr(tree, name) for name in _TREE]


def _part(memory, name: str) -> jax.Array:
    """A part of a memory; of one that has none, an empty array."""
    if name in memory._fields:
        return getattr(memory, name)
    return jnp.zeros((0,) * _MEMORY[name], jnp.int32 if name in _INTEGERS else jnp.float32)
