"""The table of `experiments.compress`: the files, the other programs, and the picture."""
