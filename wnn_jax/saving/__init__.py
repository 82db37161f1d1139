"""Saved models: checkpoints in numbered versions, progress of long work, packed artifacts."""

from wnn_jax.saving import checkpoint, packing, progress

__all__ = ["checkpoint", "packing", "progress"]
