"""A stream of tokens as windows, for models that see a fixed length at once, and back."""

import numpy as np


def cut(tokens: np.ndarray, window: int) -> np.ndarray:
    """Windows ``int32 [N, window + 1]`` of a stream that overlap in one token, so that each is a target once.

    The first token is no target; what does not fill a window at the end is left out.

    Raises:
      ValueError: there is no whole window.
    """
    count = (len(tokens) - 1) // window
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens hold no window of {window} and a target")
    return np.stack([tokens[i * window : (i + 1) * window + 1] for i in range(count)]).astype(np.int32)


def stream(windows: np.ndarray) -> np.ndarray:
    """The tokens that `cut` made windows of, each once."""
    return np.concatenate([windows[:, :-1].ravel(), windows[-1:, -1]])


def overlapping(tokens: np.ndarray, window: int) -> np.ndarray:
    """Windows ``int32 [N, window + 1]`` of a stream, each half a window after the one before.

    The targets of their second halves are the stream's, each once, after the first half window.

    Raises:
      ValueError: the window is odd, or there is no whole one.
    """
    if window % 2 or len(tokens) <= window:
        raise ValueError(
            f"windows that overlap by half need an even length and a token more, got {len(tokens)} tokens "
            f"and windows of {window}"
        )
    halves = cut(tokens, window // 2)
    return np.concatenate([halves[:-1, :-1], halves[1:]], axis=1)
