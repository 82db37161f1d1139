"""Parts of `experiments.eam`."""
