"""Continue a prompt with a chain model from a checkpoint, and print the text as it is drawn.

In --stop a \\n stands for a line break; commas divide the texts, and blanks around them are dropped.

python -m experiments.generate --checkpoint=model --prompt="The game" --tokens=200 --top_p=.9 --stop="\\n"
"""

import dataclasses
import sys
import time

import jax

from experiments.shared import machine
from experiments.shared.commandline import Command, Group
from wnn_jax import chain, checks


@dataclasses.dataclass(frozen=True)
class Options:
    """The model, the prompt, and how much is written.

    Attributes:
      checkpoint: folder in which experiments.chain saved a model.
      prompt: text to continue.
      tokens: the most tokens to draw for a continuation.
      continuations: the number of continuations of the prompt. The first has the key of --seed, and each a
        key of its own.
    """

    checkpoint: str | None = None
    prompt: str = ""
    tokens: int = 200
    continuations: int = 1

    def __post_init__(self):
        checks.fields(self, tokens=checks.Limits(least=1), continuations=checks.Limits(least=1, most=10_000))
        if not self.checkpoint:
            raise ValueError(
                "--checkpoint is needed: name the folder of a model that experiments.chain saved"
            )


def main(options) -> None:
    drawing, begun = options.drawing, -1
    stop = tuple(one.replace("\\n", "\n") for one in options.writing.stop)
    writing = dataclasses.replace(options.writing, stop=stop)
    model = chain.load(drawing.checkpoint)
    key = jax.random.key(options.common.seed)
    keys = [key if i == 0 else jax.random.fold_in(key, i) for i in range(drawing.continuations)]

    def show(place: int, text: str) -> None:
        nonlocal begun
        while begun < place:
            begun += 1
            if len(keys) > 1:
                sys.stdout.write(f"{'' if not begun else chr(10)}{begun + 1}: ")
            sys.stdout.write(drawing.prompt)
        sys.stdout.write(text)
        sys.stdout.flush()

    clock = time.perf_counter()
    texts = chain.continuations(keys, model, drawing.prompt, drawing.tokens, writing, on_text=show)
    seconds = time.perf_counter() - clock
    show(len(keys) - 1, "\n")
    written = sum(len(text) - len(drawing.prompt) for text in texts)
    print(
        f"{written:,} characters in {seconds:.1f} s, compiling included; {machine.device()}, "
        f"{machine.backend_name()}",
        file=sys.stderr,
    )


COMMAND = Command("generate", __doc__, main, drawing=Group(Options), writing=Group(chain.WritingConfig))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
