"""Cut a stream of tokens into windows, for models that see a fixed length at once.

Source: docs/architecture.md.
"""

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits


def cut(tokens: np.ndarray, window: int) -> np.ndarray:
    """Cut a stream into windows that overlap in one token, so that each token is a target once.

    The first token is never a target. Tokens at the end that do not fill a window are left out.

    Args:
      tokens: integers, the stream.
      window: the number of targets of a window.

    Returns:
      ``int32 [N, window + 1]``.

    Raises:
      ValueError: the stream is shorter than one window, is not a row of integers of 32 bits, or the window is
        less than 1.

    Source: docs/architecture.md.
    """
    checks.integer("window", window, Limits(least=1))
    checks.array("tokens", tokens, "integers", {"N": None}, Limits(-checks.MOST, checks.MOST))
    checks.integer("window", window, checks.Limits(least=1))
    count = (len(tokens) - 1) // window
    if count < 1:
        raise ValueError(
            f"{len(tokens)} tokens hold no window of {window} and a target: give {window + 1} or more tokens"
        )
    return np.stack([tokens[i * window : (i + 1) * window + 1] for i in range(count)]).astype(np.int32)


def stream(windows: np.ndarray) -> np.ndarray:
    """Join the windows of `cut` to one stream again, each token once.

    Args:
      windows: ``int32 [N, window + 1]``.

    Returns:
      ``int32 [N window + 1]``.

    Raises:
      ValueError: there is no window, or the windows are not integers ``[N, window + 1]``.

    Source: docs/architecture.md.
    """
    checks.array("windows", windows, "integers", {"N": None, "window + 1": None})
    checks.integer("the number of windows", len(windows), Limits(least=1))
    return np.concatenate([windows[:, :-1].ravel(), windows[-1:, -1]])


def overlapping(tokens: np.ndarray, window: int) -> np.ndarray:
    """Cut a stream into windows, each of which begins half a window after the one before.

    The targets in the second halves of the windows are all tokens after the first half window, each once.

    Args:
      tokens: integers, the stream.
      window: the number of targets of a window, an even number.

    Returns:
      ``int32 [N, window + 1]``.

    Raises:
      ValueError: the window is odd or less than 1, or the stream is shorter than one window.

    Source: docs/architecture.md.
    """
    checks.integer("window", window, Limits(least=1))
    checks.integer("window", window, checks.Limits(least=2))
    if window % 2 or len(tokens) <= window:
        raise ValueError(
            "windows that overlap by half need an even length and more tokens than a window has, got "
            f"{len(tokens)} tokens and windows of {window}: give an even window, or more tokens"
        )
    halves = cut(tokens, window // 2)
    return np.concatenate([halves[:-1, :-1], halves[1:]], axis=1)
