"""An arithmetic coder of bits: turns bits and their probabilities into bytes, and back.

The coder keeps an interval of 64-bit numbers. Each bit takes its share of the interval, and bytes that all
numbers of the interval begin with are written. The arithmetic is in whole numbers, so it is the same on every
machine; the cost of a bit exceeds ``-log2`` of its probability by less than a millionth of a bit.

Source: G. N. N. Martin, "Range encoding", 1979; M. Mahoney, "Data Compression Explained", 2013;
docs/semantics/chain.md
"""

import numpy as np

# Probabilities are shares of 2^32.
_SCALE = float(1 << 32)
_TOP = (1 << 64) - 1
_BYTES = 8  # of a number of the interval


class Encoder:
    """Makes the code of bits, at most 8 bytes longer than their cost.

    Source: docs/semantics/chain.md
    """

    def __init__(self):
        self._low, self._high, self._out = 0, _TOP, bytearray()

    def add(self, bits: np.ndarray, ones: np.ndarray) -> None:
        """Adds bits to the code.

        Args:
          bits: ``uint8 [N]``, 0 or 1.
          ones: ``float32 [N]``, P(bit = 1), at least 2^-31 and at most 1 - 2^-24.
        """
        low, high, out = self._low, self._high, self._out
        shares = (ones.astype(np.float64) * _SCALE).astype(np.int64)
        for bit, share in zip(bits.tolist(), shares.tolist(), strict=True):
            middle = low + ((high - low) * share >> 32)
            if bit:
                high = middle
            else:
                low = middle + 1
            while not (low ^ high) >> 56:
                out.append(high >> 56)
                low = low << 8 & _TOP
                high = (high << 8 & _TOP) | 255
        self._low, self._high = low, high

    def finish(self) -> bytes:
        """Returns the code.

        Its end is the shortest one that stands for a number of the interval when zeros follow it.
        """
        low, high = self._low, self._high
        for count in range(_BYTES + 1):
            shift = 8 * (_BYTES - count)
            last = -(-low >> shift)
            if last << shift <= high:
                return bytes(self._out) + last.to_bytes(count, "big")
        raise AssertionError("low is in the interval")


class Decoder:
    """Gives back, one by one, the bits that an `Encoder` was given.

    Args:
      code: what `Encoder.finish` returned.

    Source: docs/semantics/chain.md
    """

    def __init__(self, code: bytes):
        self._low, self._high = 0, _TOP
        self._value = int.from_bytes(code[:_BYTES].ljust(_BYTES, b"\0"), "big")
        self._rest = iter(code[_BYTES:])
        self._size, self._shifts = len(code), 0

    def bit(self, one: float) -> int:
        """Returns the next bit.

        Args:
          one: P(bit = 1), the number that the encoder was given for it.
        """
        low, high = self._low, self._high
        middle = low + ((high - low) * int(one * _SCALE) >> 32)
        bit = self._value <= middle
        if bit:
            self._high = high = middle
        else:
            self._low = low = middle + 1
        while not (low ^ high) >> 56:
            self._low = low = low << 8 & _TOP
            self._high = high = (high << 8 & _TOP) | 255
            self._value = (self._value << 8 & _TOP) | next(self._rest, 0)
            self._shifts += 1
        return int(bit)

    @property
    def whole(self) -> bool:
        """Whether the code has as many bytes as the bits that were decoded need."""
        return self._shifts <= self._size <= self._shifts + _BYTES
