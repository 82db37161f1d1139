"""Wrote chain_edition_1.tar.xz: a static and an online chain model as they were saved before edition 2.

It ran on the last version that saved them so (`chain.arrays`, `static.fit` as a generator, one `chain.Memory`
for both modes), and is kept to say what is in the file. Later versions must read it.
"""

import pathlib
import tarfile
import tempfile

import jax
import numpy as np

from wnn_jax import chain
from wnn_jax.chain import static, tokentree
from wnn_jax.saving import checkpoint

PATH = pathlib.Path(__file__).with_name("chain_edition_1.tar.xz")
NEURONS = (("node", ""), ("node", "token1"), ("byte", "word"))
TEXT = b"the cat sat on the mat, the cat sat on the hat. " * 2
SETTINGS = {
    "text": {
        **{"corpus": "builtin", "tokenizer": "bytes", "eval_corpus": None, "train_tokens": None},
        "overlap": "refuse",
    },
    "chain": {
        **{"rare": 16, "neurons": "words", "without": [], "memory_mib": 1, "rate": 0.03, "seed": 0},
        **{"readout_tokens": 100, "epochs": 1, "chunk": 64, "tree": "clustered"},
    },
}


def main(out: pathlib.Path) -> None:
    ids = np.frombuffer(TEXT, np.uint8).astype(np.int32)
    pieces = [bytes([i]) for i in range(256)]
    model = chain.model(tokentree.clustered(ids, pieces, 16), pieces, NEURONS)
    for mode in ("static", "online"):
        memory = chain.empty(model, 5, mode == "online", room=100)
        if mode == "static":
            config = static.ReadoutConfig(folds=2, tokens=100, epochs=1, batch=64)
            *_, (_, memory) = static.fit(jax.random.key(0), model, memory, ids, config)
        memory, reading = chain.read(model, memory, ids, mode == "online")
        scores = {"ce": float(chain.nats(model, reading).mean())}
        arrays = chain.arrays(model, memory)
        checkpoint.save(out / mode, model.connections, {**SETTINGS, "mode": mode}, scores, arrays)
        # The nats of the first 20 bytes of the text, which is read once more without learning.
        print(mode, chain.nats(model, chain.read(model, memory, ids[:20], False)[1]).sum())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(pathlib.Path(folder))
        with tarfile.open(PATH, "w:xz") as file:
            for name in ("static", "online"):
                file.add(pathlib.Path(folder) / name, name)
