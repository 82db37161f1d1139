"""Continue a prompt with a chain model from a checkpoint, and print the tokens as they are drawn.

python -m experiments.generate --checkpoint=model --prompt="The game" --tokens=200
"""

import dataclasses
import sys
import time

import jax

from experiments.shared import machine
from experiments.shared.commandline import Command, Group
from wnn_jax import chain, checks
from wnn_jax.chain import given
from wnn_jax.chain.model import DRAWN_BLOCK


@dataclasses.dataclass(frozen=True)
class Options:
    """The model, the prompt, and how tokens are drawn.

    Attributes:
      checkpoint: folder in which experiments.chain saved a model.
      prompt: text to continue.
      tokens: the number of tokens to draw.
      temperature: number that divides the log-odds of each turn; below 1 makes probable tokens more probable.
      top_p: draw only from the most probable tokens, as few as have this probability together.
    """

    checkpoint: str | None = None
    prompt: str = ""
    tokens: int = 200
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self):
        limits = {"temperature": given.TEMPERATURE, "top_p": given.TOP_P}
        checks.fields(self, tokens=checks.Limits(least=1), **limits)
        if not self.checkpoint:
            raise ValueError(
                "--checkpoint is needed: name the folder of a model that experiments.chain saved"
            )


def main(options) -> None:
    drawing, clocks = options.drawing, []
    model = chain.load(drawing.checkpoint)

    def show(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()
        clocks.append(time.perf_counter())

    sys.stdout.write(drawing.prompt)
    chain.generate(
        jax.random.key(options.common.seed),
        model,
        drawing.prompt,
        drawing.tokens,
        temperature=drawing.temperature,
        top_p=drawing.top_p,
        on_text=show,
    )
    sys.stdout.write("\n")
    later = (len(clocks) - 1) // DRAWN_BLOCK * DRAWN_BLOCK  # tokens after the first block, which compiles
    if later:
        speed = later / (clocks[later] - clocks[DRAWN_BLOCK - 1])
        print(f"{speed:,.0f} tokens/s; {machine.device()}, {machine.backend_name()}", file=sys.stderr)


COMMAND = Command("generate", __doc__, main, drawing=Group(Options))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
