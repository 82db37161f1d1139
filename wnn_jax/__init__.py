"""Weightless neural networks in JAX: memories that are addressed, written by adding, and read out.

Models are pure functions over immutable table pytrees. Shape letters, the same in every docstring:

    N  examples                       I  input bits
    K  clusters (output units)        R  neurons of all clusters; n of one cluster
    T  address bits of a neuron       A  cells of a neuron, 2**T
    P  population                     C  context tokens
    V  vocabulary                     B  bits of a token, ceil(log2 V)
    W  packed words, ceil(I / 32)

Arrays of bits are stored bit-major, ``[bits, N]``: a neuron walks all examples of one bit, so the
examples are the contiguous axis.
"""

__version__ = "0.1.0"
