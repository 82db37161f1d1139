"""Data in: texts as tokens, tokenizers, windows of a stream, ratings.

corpus = data.text.load(data.TextConfig("my.txt", tokenizer="bpe:4096"))   # train, validation, test
ratings = data.movielens.load("ml-latest-small")
"""

from wnn_jax.data import movielens, streams, text, tokenizers
from wnn_jax.data.text import Corpus, TextConfig

__all__ = ["Corpus", "TextConfig", "movielens", "streams", "text", "tokenizers"]
