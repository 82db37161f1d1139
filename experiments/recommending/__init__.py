"""The parts of `experiments.recommender`, an experiment a module."""
