"""Writes vocab.bin, a packed model of every class that a file of edition 1 can name, and prints its loss.

It was run with the last version that packed its classes under their own names, whose modules it imports, and
does not run with later ones. Later versions must read the file, and find the same loss.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from wnn_jax.vocab.skeleton import Inside, Move
from wnn_jax.vocab.within import Channels, Form

from wnn_jax.vocab import artifact, cross, skeleton, within

PATH = pathlib.Path(__file__).with_name("vocab.bin")
TOKENS = np.arange(54).reshape(6, 9) ** 2 % 7 % 8

WAVES = Form("soft fourier", (1, 2))
MEMORY = cross.Linear(4, WAVES, write=Form("fft", (1, 2)), fades=(0.5, 1.5), unit=True, shifted=True)
MOVES = (
    Move(cross.Attention(2, 1), "vector", shared=("*",), group="attention"),
    Move(cross.Convolution(512, gated=False), "one"),
    Move(cross.Average(2.0), beside=True),
    Move(cross.Coupled(MEMORY, cross.Linear(4, divide=2.0)), again=True),
    Move(cross.Scales(4, (0.0, 2.0), unit=True), shared=("q",), group="scales"),
    Move(Channels(8, Form("dct", (1, 3)), Form("diagonal"), bends=("gelu", "relu"), chosen=True), "one"),
    Move(Channels(8, Form("same"), mix="bank", bends=("same", "tanh"))),
    Move(
        within.Bands(*(Channels(4, WAVES, mix=mix, rank=2, scaled=False) for mix in ("low", "bias", "full")))
    ),
    Move(within.Graph(2), "one"),
    Move(within.Gate(2), normed=False, replaces=True),
    Move(Inside(4, (Move(within.Policy(("gelu", "square")), replaces=True),), window=False), normed=False),
    Move(Inside(4, (Move(within.Branches(2, 2)),), unsure=True)),
    Move(within.Largest(6), normed=False, replaces=True),
    Move(within.Factor(), normed=False, replaces=True),
)
CONFIG = skeleton.VocabConfig(8, 2, MOVES, repeats=2, halting=True, embedding=4, early=0.1, forgets=True)


def stirred() -> within.Params:
    """Move parameters away from zero and one, by multiples of 1/16, which compress well."""
    leaves, tree = jax.tree.flatten(skeleton.init(jax.random.key(0), CONFIG))
    rng = np.random.default_rng(0)
    moved = [x + 0.2 * rng.normal(size=x.shape) for x in leaves]
    return jax.tree.unflatten(tree, [jnp.asarray(np.round(16 * x) / 16, jnp.float32) for x in moved])


if __name__ == "__main__":
    data = artifact.pack(CONFIG, stirred(), np.random.default_rng(1).permutation(8).astype(np.int32))
    PATH.write_bytes(data)
    config, params, places = artifact.unpack(data)
    print(len(data), repr(float(jax.jit(skeleton.loss, static_argnums=0)(config, params, places[TOKENS]))))
