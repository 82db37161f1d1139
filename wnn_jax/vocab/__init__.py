"""Language models whose state is a distribution over words: no output matrix, and every step can be read.

    corpus = text.load(text.TextConfig("reviews.txt", tokenizer="bpe:1024"))
    model = vocab.train(key, vocab.variant("v8_graph", corpus.vocabulary), corpus, on_step=print)
    nats, best = vocab.score(model, corpus.test)  # of all tokens but the first half window
    vocab.inspect(model, "the film was").top(5)  # after each hop, the five likeliest next words
    again = vocab.unpack(vocab.pack(model), corpus.tokenizer)

A word is a token, and a hop is one step of a model. `measure` computes all measurements of a model for a
table, on the `cut_texts` of a corpus.

The seventeen published models are in `zoo`, and their repairs in `repairs`. You make a model of your own as a
`Variant` of a `VocabConfig`: a list of sublayers, whose operations are in `mixing` (across positions) and in
`pointwise`.

Shapes: N windows, T tokens of a window, V words (or fewer, where an operation sees a part of them), C
channels.

Source: urmzd/exp-agi-models; docs/semantics/vocab.md
"""

from wnn_jax.vocab import mixing, pointwise, repairs, zoo
from wnn_jax.vocab.artifact import pack, unpack
from wnn_jax.vocab.evaluation import HopReading, copy_gain, inspect, score, scored_part
from wnn_jax.vocab.measures import Measures, VocabTexts, cut_texts, measure
from wnn_jax.vocab.model import Sublayer, Subspace, VocabConfig, VocabModel, count_parameters, states
from wnn_jax.vocab.operation import WordMap
from wnn_jax.vocab.recipe import Recipe
from wnn_jax.vocab.training import TrainConfig, memory_bytes, train, training_windows
from wnn_jax.vocab.variants import ComparisonConfig, Variant, compare, sized_variant, variant

__all__ = [
    "ComparisonConfig",
    "HopReading",
    "Measures",
    "Recipe",
    "Sublayer",
    "Subspace",
    "TrainConfig",
    "Variant",
    "VocabConfig",
    "VocabModel",
    "VocabTexts",
    "WordMap",
    "compare",
    "copy_gain",
    "count_parameters",
    "cut_texts",
    "inspect",
    "measure",
    "memory_bytes",
    "mixing",
    "pack",
    "pointwise",
    "repairs",
    "score",
    "scored_part",
    "sized_variant",
    "states",
    "train",
    "training_windows",
    "unpack",
    "variant",
    "zoo",
]
