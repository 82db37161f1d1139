"""Writes votes.json: the votes of a small layer of every kind of cell, for fixed keys.

python tests/golden/make_votes.py     (only when a change of the numbers is meant)

The oracle proves the kernels right on any machine; this file notices when the drawing of connectivity
or of samples changes, which would silently make old results irreproducible.
"""

import json
import pathlib

import jax
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise

PATH = pathlib.Path(__file__).with_name("votes.json")


def votes() -> dict[str, list]:
    tokens = np.arange(400) ** 2 % 97 % 50
    found = {}
    for cells in ram.CELLS:
        memory = ram.RamConfig(cells, empty_value=0.5, sample_rate=0.5)
        config = bitwise.BitwiseConfig(50, context=3, neurons=3, address_bits=5, memory=memory)
        keys = jax.random.split(jax.random.key(7))
        connections = bitwise.init(keys[0], config)
        data = bitwise.examples(config, tokens)
        fitted = ram.fit_and_read(keys[1], memory, connections, data, data.words[:, :8])
        found[cells] = np.asarray(fitted).tolist()
    return found


if __name__ == "__main__":
    PATH.write_text(json.dumps(votes()) + "\n")
