"""Language models whose state is a distribution over words: no output matrix, and every step can be read.

Shapes: N windows, T tokens of a window, V words (or k, where an operation sees a part of them), C channels.
"""
