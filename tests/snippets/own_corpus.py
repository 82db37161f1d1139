"""Your own corpus: a text file, a tokenizer learnt on its training split, two models and a baseline."""

import pathlib
import tempfile

import jax
import numpy as np

import wnn_jax as wnn

rng = np.random.default_rng(0)
colours = rng.choice(["red", "blue", "green"], 2000)
lines = [f"item {i} costs {3 * i % 17} and {c} weighs {i % 5}\n" for i, c in enumerate(colours)]
path = pathlib.Path(tempfile.mkdtemp()) / "shop.txt"
path.write_text("".join(lines))

corpus = wnn.data.text.load(wnn.data.TextConfig(str(path), tokenizer="bytes"))
config = wnn.lm.BitwiseConfig(corpus.vocabulary, neurons=16, address_bits=12)
bitwise = wnn.lm.fit(jax.random.key(0), config, corpus.train)
model = wnn.chain.fit(
    jax.random.key(0), wnn.chain.ChainConfig(mode="online", neurons=wnn.chain.BYTES, memory_mib=16), corpus
)
nats = {
    "unigram": wnn.lm.ngram.unigram(corpus.train, corpus.test, corpus.vocabulary, add=0.1).nats.mean(),
    "bitwise": wnn.lm.score(bitwise, corpus.train, corpus.test).nats.mean(),
    "chain": wnn.chain.score(model, corpus.test).nats.mean(),
}
print(nats)
