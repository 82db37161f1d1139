"""What a vocabulary-space model would say after every hop."""

import pathlib

import jax
import numpy as np

from experiments.shared import plots
from wnn_jax.vocab import skeleton

_WORDS, _DRAWN = 6, 16


def show(
    path: pathlib.Path, row: str, config: skeleton.VocabConfig, made, ids: np.ndarray, words: list[str]
) -> None:
    """The likeliest next words after every hop at a text's end, printed; at every place, drawn.

    Args:
      path: of the picture.
      row: the model's name.
      config: the model.
      made: its ``params`` and ``places``.
      ids: the text, by ids.
      words: of every id.
    """
    logits = skeleton.readout(made.params, skeleton.states(config, made.params, made.places[ids][None]))
    shares = np.asarray(jax.nn.softmax(logits))[:, 0][..., made.places]
    print(f"\n{row}: the next word after {''.join(words[i] for i in ids)!r}, hop by hop")
    for hop, share in enumerate(shares[:, -1]):
        top = np.argsort(-share, kind="stable")[:_WORDS]
        print(f"{hop:4d}  " + "  ".join(f"{words[i]!r} {share[i]:.3f}" for i in top))
    drawn = slice(-_DRAWN, None)
    best = np.array(words, object)[shares.argmax(-1)]
    plots.hops(path, [words[i] for i in ids[drawn]], best[:, drawn], shares.max(-1)[:, drawn])
