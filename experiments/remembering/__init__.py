"""The parts of `experiments.eam`: its stages, and studies of the memory alone."""
