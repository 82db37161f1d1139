"""The predictions of a vocabulary-space model after each hop, printed and drawn."""

import pathlib

import numpy as np

from experiments.shared import plots
from wnn_jax import vocab

_DRAWN = 16  # positions, the last of a text


def show(path: pathlib.Path, row: str, model: vocab.VocabModel, words: str) -> None:
    """Print the likeliest next words after each hop at the end of a text, and draw the likeliest everywhere.

    Args:
      path: of the picture.
      row: the model's name.
      model: the model.
      words: the text.
    """
    reading = vocab.inspect(model, words)
    print(f"\n{row}: the next word after {''.join(reading.words[i] for i in reading.ids)!r}, hop by hop")
    for hop, top in enumerate(reading.top()):
        print(f"{hop:4d}  " + "  ".join(f"{word!r} {share:.3f}" for word, share in top))
    drawn = slice(-_DRAWN, None)
    best = np.array(reading.words, object)[reading.probabilities.argmax(-1)]
    shares = reading.probabilities.max(-1)
    plots.hops(path, [reading.words[i] for i in reading.ids[drawn]], best[:, drawn], shares[:, drawn])
