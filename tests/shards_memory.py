"""Train on shards, or on the same ids in memory, within a limit of memory; a process of its own for tests.

python tests/shards_memory.py SHARDS RESUME RESULT MEBIBYTES {stored,held}

The limit (RLIMIT_DATA, ``ulimit -d``) is set after a small corpus has been trained, so that it holds what
another run takes: its model, the copies of a save and of a restore, and the corpus.
"""

import dataclasses
import pathlib
import resource
import sys
import tempfile

import jax
import numpy as np

from wnn_jax import chain
from wnn_jax.data import shards, text

CONFIG = dataclasses.replace(
    chain.FAST,
    neurons=("node token1",),
    sets=("one",),
    lists=False,
    runs=False,
    tree="plain",
    memory_mib=1,
)


def used() -> int:
    """Return the bytes that count towards the limit."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))


def main(folder: str, resume: str, result: str, mebibytes: str, kind: str) -> None:
    corpus, key = shards.read(folder), jax.random.key(0)
    small = corpus._replace(train=corpus.train.first(50_000), test=corpus.test.first(20_000))
    with tempfile.TemporaryDirectory() as place:
        for _ in range(2):  # the second one restores, so that the threads that read exist before the limit
            chain.evaluate(key, CONFIG, small, resume=place)
    limit = used() + (int(mebibytes) << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    taken = text.in_memory(corpus) if kind == "held" else corpus
    done = chain.evaluate(key, CONFIG, taken, resume=resume, save_every=64)
    np.save(result, done.nats)


if __name__ == "__main__":
    main(*sys.argv[1:])
