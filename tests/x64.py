"""Prints digests of what layers, language models, gates and searches compute, for `test_given`.

Run with JAX_ENABLE_X64=1 and without, the lines must be the same: every draw and every array says its dtype.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import lm, ram, search
from wnn_jax.gates import EngramConfig, RamGateConfig, engram, ram_gates
from wnn_jax.lm import tiered


def show(name, tree):
    digest = hashlib.sha256()
    for x in map(np.asarray, jax.tree.leaves(tree)):
        digest.update(f"{x.dtype} {x.shape}".encode() + x.tobytes())
    print(name, digest.hexdigest()[:12])


def layers(key, X, Y):
    for cells in ("count", "quad_weighted"):
        config = ram.LayerConfig(4, 5, ram.RamConfig(cells, sample_rate=0.5))
        layer = ram.fit(key, config, X, Y)
        show(f"layer of {cells}", (layer.connections, layer.table, ram.predict(layer, X)))


def models(key, text):
    config = lm.BitwiseConfig(12, 2, neurons=3, address_bits=4, code="gray")
    show("bitwise", lm.score(lm.fit(key, config, text), text, text[:50]))
    for negatives, calibrated in (("all", True), ("drawn", False)):
        tiers = tiered.parse("3,2,3;rest,1,2")
        config = tiered.TieredConfig(12, tiers, 2, negatives=negatives, calibrated=calibrated)
        show(f"tiered, {negatives}", tiered.score(tiered.fit(key, config, text), text[:30]))


def gates(key, text, data):
    memory, gate = EngramConfig((1, 2), 2, 4), RamGateConfig(2, 3)
    log_p = jnp.full(30, -2.0, jnp.float32)
    show("engram", engram.nats(key, memory, gate, np.arange(12), text, text[:30], log_p, log_p))
    show("bit gates", ram_gates.bit_openness(key, gate, 40, data, data.words))


def searches(key, data):
    objective = search.TargetBits(search.Bounds(40, 4, 5, 1, 1), 3)
    plan = search.RunConfig(steps=3, folds=2, validation=4, check=1, rotate=2, adapt_every=2)
    for algorithm in (
        search.tabu(objective, search.TabuConfig(sites=2, neighbours=2, starts=2)),
        search.genetic(objective, search.GeneticConfig(population=4, elites=1)),
        search.annealing(objective),
        search.random_search(objective),
    ):
        found = search.run(key, algorithm, data, plan)
        show(algorithm.name, (found.genome, found.loss, [line.best for line in found.history]))


if __name__ == "__main__":
    rng, key = np.random.default_rng(0), jax.random.key(0)
    X, text = rng.random((100, 40)) < 0.5, rng.integers(12, size=200)
    layers(key, X, X[:, :3])
    models(key, text)
    gates(key, text, ram.examples(X, X[:, :3]))
    searches(key, ram.examples(X, X[:, :3]))
