"""A small result of every system, which must be the same to the last bit whatever JAX_ENABLE_X64 says.

A system is one function that returns a pytree of arrays; `QUICK` and `LONG` name them. `test_x64` computes
them in its own process, and by ``python tests/x64_results.py FILE NAME ...`` in one with 64-bit types.
"""

import sys

import jax
import numpy as np
import x64_lookups

KEY = jax.random.key(3)


def drawn(vocabulary, count, seed=0):
    """Return ids of which each one often follows the same one."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice([1, 1, 1, 5], count)).astype(np.int32) % vocabulary


def transformer():
    from wnn_jax import transformer

    config = transformer.TransformerConfig(20, layers=1, width=16, heads=2, window=8, dropout=0.1)
    tokens = drawn(20, 400)
    model = transformer.fit(KEY, config, transformer.FitConfig(epochs=1, batch=4), tokens)
    return model.params, transformer.score(model, tokens, tokens[:40])


def chain():
    from wnn_jax import chain
    from wnn_jax.chain import model as models
    from wnn_jax.chain import static

    pieces = [bytes([97 + i]) for i in range(20)]
    network = models.network(chain_tree(), pieces, chain.BYTES)
    tokens, found = drawn(20, 300), []
    readout = chain.ReadoutConfig(folds=3, tokens=90, epochs=1, batch=64)
    fixed = static.fit(KEY, network, chain.empty_static(network, 4), tokens, readout)
    online = chain.empty_online(network, 4, room=128)
    online, reading = chain.read(network, online, tokens, learn=True, argmax=True, block=64)
    writing = chain.WritingConfig(temperature=0.7, top_p=0.8, repetition_penalty=1.5)
    for memory in (fixed, online):
        found.append(chain.read(network, memory, tokens[:64], argmax=True, block=64)[1])
        found.append(chain.sample(KEY, network, memory, 64)[1])
        found.append(chain.sample(KEY, network, memory, 64, writing)[1])
        found.append(chain.distribution(network, memory))
    assert reading.ones.dtype == np.float32
    return fixed, online, reading, static.unweighted_nats(network, fixed, tokens), found


def chain_tree():
    from wnn_jax.chain import tokentree

    return tokentree.plain(20)


def tasks():
    from wnn_jax.data import tasks

    return [tasks.draw(KEY, tasks.TaskConfig(name, distances=(8, 16)), 4) for name in tasks.NAMES]


def eam():
    from wnn_jax import eam
    from wnn_jax.eam import EamConfig, LearningConfig, TrunkConfig

    learning = LearningConfig(rate=3e-3, batch=4, epochs=1)
    trunk = TrunkConfig(width=16, layers=1, heads=2, expand=2)
    memory = eam.MemoryConfig(nearest=4)
    config = EamConfig(
        vocabulary=20, window=8, teacher=trunk, teaching=learning, keys=8, memory=memory, patterns=4.0,
        start="random", batch=16, every=2, encoder=trunk, encoding=learning, hidden=8, decoding=learning,
        joining=learning,
    )  # fmt: skip
    from wnn_jax.data import streams

    windows = streams.cut(drawn(20, 161), 8)
    model = eam.fit(KEY, config, windows)
    predict = eam.predictor(model)
    scores = eam.score_with_neighbours(predict, eam.fit_mixture(predict, windows), windows)
    packed = np.frombuffer(eam.pack(config.student(True), model.student()), np.uint8)
    return model[1:6], scores, packed


def associative():
    from wnn_jax import eam

    rows = np.random.default_rng(0).normal(size=(60, 8))
    store = eam.create(KEY, eam.MemoryConfig(nearest=4), rows, locations=20, width=8)
    store = eam.write(store, rows, rows[:, ::-1])
    return store.store, eam.read(store, rows)


def vocab(models=(("v8_graph", ("bigram", "warmup")),)):
    from wnn_jax import vocab

    tokens, found = drawn(40, 641), []
    config = vocab.TrainConfig(steps=3, tokens_per_step=32, window=16)
    for name, repairs in models:
        variant = vocab.variant(name, 40, hops=2, repairs=repairs)
        model = vocab.train(KEY, variant, tokens, config)
        found += [model.params, vocab.score(model, tokens[:64]), vocab.copy_gain(KEY, model, tokens)]
        found.append(np.frombuffer(vocab.pack(model), np.uint8))
    return found


def vocab_operations():
    return vocab((("v4_golf", ()), ("v11_tpg", ("muon", "gain")), ("v16_columnar", ()), ("v3_assoc", ())))


QUICK = {"chain": chain, "tasks": tasks}
LONG = {
    "transformer": transformer,
    "associative": associative,
    "eam": eam,
    "vocab": vocab,
    "vocab_operations": vocab_operations,
}
QUICK, LONG = QUICK | x64_lookups.QUICK, LONG | x64_lookups.LONG


def results(*names):
    """Return the arrays of systems, by system and place in its pytree."""
    found = {}
    for name in names:
        for path, x in jax.tree_util.tree_flatten_with_path((QUICK | LONG)[name]())[0]:
            found[f"{name}{jax.tree_util.keystr(path)}"] = np.asarray(x)
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results(*sys.argv[2:]))
