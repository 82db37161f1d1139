"""The parts of `experiments.recommender`; each module is one experiment."""
