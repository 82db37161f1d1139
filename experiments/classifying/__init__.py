"""Parts of `experiments.classify`."""
