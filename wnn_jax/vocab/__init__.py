"""Language models whose state is a distribution over words: no output matrix, and every step can be read.

    corpus = text.load(text.TextConfig("reviews.txt", tokenizer="bpe:1024"))
    model = vocab.train(key, vocab.variant("v8_graph", corpus.vocabulary), corpus, on_step=print)
    nats, best = vocab.score(model, corpus.test)  # of all tokens but the first half window
    vocab.inspect(model, "the film was").top(5)  # after each hop, the five likeliest next words
    again = vocab.unpack(vocab.pack(model), corpus.tokenizer)

`measure` gives all that a table says of a model, on the `cut_texts` of a corpus.

The seventeen published models stand in `zoo`, their repairs in `repairs`. A model of your own is a `Variant`
of a `VocabConfig`: a list of sublayers, whose operations stand in `mixing` (across positions) and in
`pointwise`.

Shapes: N windows, T tokens of a window, V words (or k, where an operation sees a part of them), C channels.
"""

from wnn_jax.vocab import mixing, pointwise, repairs, zoo
from wnn_jax.vocab.artifact import pack, unpack
from wnn_jax.vocab.evaluation import HopReading, copy_gain, inspect, score, scored_part
from wnn_jax.vocab.measures import Measures, VocabTexts, cut_texts, measure
from wnn_jax.vocab.model import Sublayer, Subspace, VocabConfig, VocabModel, count_parameters, states
from wnn_jax.vocab.operation import WordMap
from wnn_jax.vocab.recipe import Recipe
from wnn_jax.vocab.training import TrainConfig, memory_bytes, train, training_windows
from wnn_jax.vocab.variants import ComparisonConfig, Variant, compare, variant

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
    "states",
    "train",
    "training_windows",
    "unpack",
    "variant",
    "zoo",
]
