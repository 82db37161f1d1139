"""Continue a prompt with the chain model of a checkpoint, as it is drawn.

python -m experiments.generate --checkpoint=model --prompt="The game" --tokens=200
"""

import codecs
import sys
import time

import jax
import numpy as np
from absl import flags

from experiments import base
from experiments.shared import machine
from wnn_jax import chain
from wnn_jax.data import text
from wnn_jax.saving import checkpoint

FLAGS = flags.FLAGS

flags.DEFINE_string("checkpoint", None, "Folder that experiments.chain saved a model to.")
flags.DEFINE_string("prompt", "", "Text to continue.")
flags.DEFINE_integer("tokens", 200, "Tokens to draw.")
flags.DEFINE_float("temperature", 1.0, "Divides the log-odds of every turn.")
flags.DEFINE_float("top_p", 1.0, "Draw from the fewest most probable tokens with this much probability.")
flags.DEFINE_integer("seed", 0, "Seed of what is drawn.")

_CALL = 64  # tokens drawn before they are shown


def main() -> None:
    if not FLAGS.checkpoint:
        raise ValueError("--checkpoint names the folder of a model that experiments.chain saved")
    if FLAGS.tokens < 1:
        raise ValueError(f"--tokens must be at least 1, got {FLAGS.tokens}")
    found = checkpoint.load(FLAGS.checkpoint)
    if "chain" not in found.config:
        raise ValueError(f"{FLAGS.checkpoint} holds no chain model")
    model, memory = chain.from_arrays(found.connections, found.table or {})
    tokenizer = text.tokenizer_of(text.TextConfig(**found.config["text"]))
    prompt = tokenizer.encode(FLAGS.prompt) if FLAGS.prompt else np.zeros(0, np.int32)
    if len(prompt):
        memory, _ = chain.read(model, memory, prompt, learn=False)
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    sys.stdout.write(FLAGS.prompt)
    spent, drawn = 0.0, 0
    for call in range(-(-FLAGS.tokens // _CALL)):
        key = jax.random.fold_in(jax.random.key(FLAGS.seed), call)
        begun = time.perf_counter()
        memory, tokens = chain.sample(key, model, memory, _CALL, FLAGS.temperature, FLAGS.top_p)
        if call:  # the first compiles
            spent, drawn = spent + time.perf_counter() - begun, drawn + _CALL
        for token in tokens[: FLAGS.tokens - call * _CALL]:
            sys.stdout.write(decode(tokenizer.pieces[token]))
            sys.stdout.flush()
    sys.stdout.write("\n")
    if drawn:
        print(f"{drawn / spent:,.0f} tokens/s; {machine.device()}, {machine.backend_name()}", file=sys.stderr)


if __name__ == "__main__":
    base.run(main)
