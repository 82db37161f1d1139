"""Saved models: checkpoints in numbered versions, the progress of long work, and packed models.

Source: docs/architecture.md.
"""

from wnn_jax.saving import checkpoint, packing, progress

__all__ = ["checkpoint", "packing", "progress"]
