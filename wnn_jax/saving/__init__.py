"""Saved models: checkpoints in numbered versions, the progress of long work, and packed models.

    saving.layers.save("lamps", layer)
    layer = saving.layers.load("lamps")

Source: docs/architecture.md.
"""

from wnn_jax.saving import checkpoint, layers, packing, progress

__all__ = ["checkpoint", "layers", "packing", "progress"]
