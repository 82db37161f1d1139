"""Which backend reads and writes a chain model's cells: the native kernels of `metal_ext`, or plain JAX.

`wnn_jax.ram.backend` chooses; `reader` and `contexts` are the contract that the native kernels are tested
against.
"""

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import backend


def native() -> bool:
    """Whether the native kernels do the work."""
    return backend.chosen() != "xla"


def zeros(shape: tuple[int, ...]) -> jax.Array:
    """``uint32`` zeros where random access is cheapest."""
    if not native():
        return jnp.zeros(shape, jnp.uint32)
    return jax.jit(jax.ffi.ffi_call("wnn_chain_zeros", jax.ShapeDtypeStruct(shape, jnp.uint32)))()


def count(tree, view, slots, context, tokens, log_slots: int, sign: int):
    """`reader.count` by the native kernels; in place where XLA may reuse ``slots``."""
    call = jax.ffi.ffi_call(
        "wnn_chain_count",
        jax.ShapeDtypeStruct(slots.shape, slots.dtype),
        input_output_aliases={len(_paths(tree)) + 1: 0},
    )
    attributes = {"log_slots": np.int64(log_slots), "sign": np.int64(sign)}
    return call(*_paths(tree), view, slots, context, tokens, **attributes)


def read(tree, view, slots, context, tokens, bits: int, log_slots: int):
    """`reader.read` by the native kernels."""
    counts = jax.ShapeDtypeStruct((view.shape[0], bits), jnp.int32)
    call = jax.ffi.ffi_call("wnn_chain_read", (counts, counts))
    return call(*_paths(tree), view, slots, context, tokens, log_slots=np.int64(log_slots))


def read_on(tree, lexicon, connections, view, memory, tokens, chance, count: int, depth: int, settings):
    """`reader.read_on` by the native kernel; in place where XLA may reuse ``memory``.

    Args:
      settings: the kernel's attributes, from `reader.kernel_settings`.
    """
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in memory]
    results = [*shapes, jax.ShapeDtypeStruct((count,), jnp.int32)]
    results += [jax.ShapeDtypeStruct((count, depth), jnp.float32), jax.ShapeDtypeStruct((count,), jnp.int32)]
    first = len(_paths(tree)) + 3
    aliases = {first + i: i for i in range(len(memory))}
    call = jax.ffi.ffi_call("wnn_chain_read_on", results, input_output_aliases=aliases, has_side_effect=True)
    *memory, read, ones, best = call(
        *_paths(tree), lexicon, connections, view, *memory, tokens, chance, **settings
    )
    return memory, read, ones, best


def _paths(tree):
    """What the kernels know of a `tokentree.TokenTree`: all but its codes, which come last."""
    return tree[:-1]
