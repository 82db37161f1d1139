"""The cases of `experiments.benchmark`."""
