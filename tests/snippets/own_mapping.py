"""Your own mapping: neurons that read patches of a picture instead of random pixels."""

import jax
import numpy as np

import wnn_jax as wnn

rng = np.random.default_rng(0)
pictures = rng.random((800, 8, 8)) < 0.5
bars = rng.integers(0, 7, 800)
pictures[np.arange(800), bars] = True  # a bar across one row ...
pictures[np.arange(800), bars + 1] = False  # ... above an empty one
Y = np.eye(7, dtype=bool)[bars]

pixel = np.arange(64).reshape(8, 8)
patches = np.stack([pixel[r : r + 2, c : c + 5].ravel() for r in range(7) for c in (0, 3)])
connections = np.broadcast_to(patches, (7, *patches.shape))  # the same for every cluster
key, X = jax.random.key(0), pictures.reshape(800, 64)
chosen = wnn.fit(key, wnn.LayerConfig(), X[:200], Y[:200], connections)
drawn = wnn.fit(key, wnn.LayerConfig(neurons=14, address_bits=10), X[:200], Y[:200])
accuracy = {
    name: float((wnn.predict(layer, X[200:]).argmax(1) == bars[200:]).mean())
    for name, layer in (("patches", chosen), ("random", drawn))
}
print(accuracy)
