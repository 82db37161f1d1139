"""The cases of the table chain: what a second thread is worth, and what it takes to forget a document.

The text is WikiText-2 where its files are, otherwise CPython's documentation, in 1,024 ids that are learnt
from it.
"""

import dataclasses
import os
import time
from collections.abc import Callable

import jax
import numpy as np

from wnn_jax import chain
from wnn_jax.data import text

_READ = 65_536  # tokens that are read; the first chunk of them compiles
_MEMORY = 2048  # MiB
_UNTIMED = 3  # documents that are forgotten before the clock starts: what they need is compiled

Numbers = dict[str, float]


def planned() -> list[str]:
    """List the cases."""
    return ["chain:read:1:0", "chain:read:2:0", "chain:forget:10000:0"]


def run(seed: int, way: str, size: str) -> Numbers:
    """Time one case.

    Args:
      seed: the seed of the model.
      way: ``read`` or ``forget``.
      size: the number of threads, or of the tokens of a document.
    """
    corpus = "wikitext2" if os.environ.get("WNN_JAX_DATA") else "builtin"
    known = text.load(text.TextConfig(corpus=corpus, tokenizer="bpe:1024"))
    return _WAYS[way](jax.random.key(seed), known, int(size))


def _read(key: jax.Array, corpus: text.Corpus, threads: int) -> Numbers:
    os.environ["WNN_JAX_THREADS"] = str(threads)
    config = dataclasses.replace(chain.BEST, memory_mib=_MEMORY)
    part = corpus._replace(train=corpus.train[:_READ], test=corpus.train[_READ : _READ + 1])
    done = chain.evaluate(key, config, part)
    return {"threads": threads, "tokens": _READ, "tokens_per_second": done.tokens_per_second["reading"]}


def _forget(key: jax.Array, corpus: text.Corpus, size: int) -> Numbers:
    readout = chain.ReadoutConfig(tokens=2000)  # what is forgotten does not depend on it
    config = dataclasses.replace(chain.STATIC, memory_mib=_MEMORY, readout=readout)
    fitted = chain.fit(key, config, corpus)
    documents = [corpus.train[at : at + size] for at in range(0, len(corpus.train) - size, size)]
    model, seconds = chain.count(fitted, documents), []
    gone = len(documents) // 2
    for document in documents[:gone]:
        begun = time.perf_counter()
        model = chain.forget(model, document, donate=True)
        jax.block_until_ready((model.memory, model.books))
        seconds.append(time.perf_counter() - begun)
    del model
    begun = time.perf_counter()
    again = chain.count(fitted, documents[gone:])
    jax.block_until_ready((again.memory, again.books))
    return {
        "tokens": size,
        "counted_tokens": size * len(documents),
        "seconds": float(np.median(seconds[_UNTIMED:])),
        "recount_seconds": time.perf_counter() - begun,
    }


_WAYS: dict[str, Callable[[jax.Array, text.Corpus, int], Numbers]] = {"read": _read, "forget": _forget}


def show(found: dict[str, Numbers]) -> None:
    """Print the numbers of each case."""
    one, two, forgotten = (found[case] for case in planned())
    print(
        f"\nchain model, preset best: {one['tokens_per_second']:,.0f} tokens a second with one thread, "
        f"{two['tokens_per_second'] / one['tokens_per_second']:.2f} times as many with two\n"
        f"a document of {forgotten['tokens']:,.0f} tokens is forgotten in {forgotten['seconds']:.3f} s; the "
        f"half of {forgotten['counted_tokens']:,.0f} tokens that is left is counted anew in "
        f"{forgotten['recount_seconds']:.1f} s"
    )
