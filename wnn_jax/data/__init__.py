"""Data: texts as token ids, tokenizers, windows of a stream, drawn tasks, ratings of films, and tables.

    corpus = data.text.load(data.TextConfig("my.txt", tokenizer="bpe:4096"))   # train, validation, test
    corpus = data.shards.read("folder")                                        # larger than memory
    films = data.movielens.load("ml-latest-small")
    plays = data.ratings.load("plays.csv", data.ratings.FileConfig(("user:who", "item:song", "count:n")))

`sharding`, which makes folders of shards, is imported by its name.

Source: docs/architecture.md.
"""

from wnn_jax.data import (
    documents,
    history,
    movielens,
    ratings,
    shards,
    streams,
    tables,
    tasks,
    text,
    tokenizers,
)
from wnn_jax.data.text import Corpus, TextConfig

__all__ = [
    "Corpus",
    "TextConfig",
    "documents",
    "history",
    "movielens",
    "ratings",
    "shards",
    "streams",
    "tables",
    "tasks",
    "text",
    "tokenizers",
]
