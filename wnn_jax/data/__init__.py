"""Data: texts as token ids, tokenizers, windows of a stream of tokens, ratings of films, and tables.

    corpus = data.text.load(data.TextConfig("my.txt", tokenizer="bpe:4096"))   # train, validation, test
    ratings = data.movielens.load("ml-latest-small")

Source: docs/architecture.md.
"""

from wnn_jax.data import history, movielens, streams, tables, text, tokenizers
from wnn_jax.data.text import Corpus, TextConfig

__all__ = ["Corpus", "TextConfig", "history", "movielens", "streams", "tables", "text", "tokenizers"]
