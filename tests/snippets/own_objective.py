"""Your own objective: find the input bits whose votes order the examples as a hidden number does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import wnn_jax as wnn


@dataclasses.dataclass(frozen=True)
class Margin:
    """The objective that votes lie far from 1/2, on the right side."""

    bounds: wnn.search.Bounds
    clusters: int
    memory: wnn.RamConfig = wnn.RamConfig()

    def score(self, votes, neurons, targets):
        one, _ = wnn.ram.shares(votes, neurons[:, None])
        margin = jnp.where(targets, one - 0.5, 0.5 - one)
        return jnp.maximum(0.3 - margin, 0.0).mean(), (margin > 0).mean(dtype=jnp.float32)


rng = np.random.default_rng(0)
X = rng.random((600, 12)) < 0.5
Y = (X[:, 3] & X[:, 7]) | X[:, 10]
objective = Margin(wnn.search.Bounds(12, max_neurons=1, max_bits=3, min_bits=3), clusters=1)
algorithm = wnn.search.tabu(objective, wnn.search.TabuConfig(sites=1, neighbours=8))
result = wnn.search.run(jax.random.key(0), algorithm, wnn.examples(X, Y), wnn.search.RunConfig(steps=40))
found = sorted(result.genome[0, 0].tolist())
print("input bits:", found)
