"""Saved models: checkpoints, progress of long work, packed artifacts."""
