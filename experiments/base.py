"""What every command shares: flags, errors, the results table, ``results.jsonl``."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging


def define_common_flags(experiment: str) -> None:
    """Flags of every command."""
    flags.DEFINE_integer("seed", 0, "Seed of everything drawn at random.")
    flags.DEFINE_string("workdir", f"runs/{experiment}", "Folder for results.jsonl and the pictures.")


def run(main: Callable[[], None]) -> None:
    """Run a command: a bad flag or input ends it with one line on stderr and exit code 2."""

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            rest = flags.FLAGS(arguments)
        except flags.Error as error:
            _stop(error)
        if len(rest) > 1:
            _stop(ValueError(f"unexpected argument {rest[1]!r}: every option is a --flag"))
        return rest

    def guarded(_: Sequence[str]) -> None:
        # jax and orbax narrate at INFO and WARNING; a command's output is its table.
        logging.set_verbosity(logging.ERROR)
        try:
            main()
        except (ValueError, OSError) as error:
            _stop(error)
        except KeyboardInterrupt:
            sys.exit(130)

    app.run(guarded, flags_parser=parse)


def _stop(error: Exception) -> NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def define_text_flags() -> None:
    """Flags of every command that reads text."""
    flags.DEFINE_string("corpus", "builtin", "builtin, wikitext2, or a path to UTF-8 text or a token file.")
    flags.DEFINE_string("eval_corpus", None, "Path to the text to score; default: a split of the corpus.")
    flags.DEFINE_string(
        "tokenizer",
        "bytes",
        "gpt2, bpe:SIZE (trained on the training split), bytes, or sp:PATH (SentencePiece).",
    )
    flags.DEFINE_enum("overlap", "refuse", ["refuse", "drop"], "Training lines that the scored text repeats.")
    flags.DEFINE_integer("train_tokens", None, "Train on the first so many tokens.")


def text_settings() -> dict[str, Any]:
    """The text flags as the arguments of `wnn_jax.text.load`."""
    names = ("corpus", "tokenizer", "eval_corpus", "train_tokens", "overlap")
    return {name: getattr(flags.FLAGS, name) for name in names}
