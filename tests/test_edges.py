"""What is no text, no window or no memory is refused in one line by models that run on JAX alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import chain, eam, training, transformer, vocab
from wnn_jax.data import text
from wnn_jax.eam import knn, scoring, stages, studies
from wnn_jax.vocab import mixing, model, operation, pointwise, recipe, zoo

KEY = jax.random.key(0)
CONFIG = transformer.TransformerConfig(20, layers=1, width=16, heads=2, window=8)
TRANSFORMER = transformer.Transformer(CONFIG, {"embedding": np.zeros((20, 16), np.float32), "blocks": []})
EAM = dataclasses.replace(eam.SMALL, vocabulary=20, window=8)
VARIANT = vocab.variant("v8_graph", 40, hops=1, repairs=())
LM = vocab.VocabModel(VARIANT.config, {}, np.arange(40, dtype=np.int32), window=16)
STEPS = vocab.TrainConfig(steps=1, tokens_per_step=16, window=16)
ROWS = np.random.default_rng(0).normal(size=(30, 4))
IDS = np.arange(400) % 20
# What a caller may give instead of ids below 20.
WRONG = (
    IDS - 1,
    IDS + 20,
    IDS * 1.0,
    IDS > 3,
    IDS.astype(str),
    np.full(400, 2**40),
    [None] * 400,
    [[0.5, 1]],
)


def predict(windows):
    """Stand in for a model of 20 ids."""
    shape = windows.shape
    return eam.Predictions(np.full((*shape, 20), -3.0, np.float32), np.ones((*shape, 4), np.float32))


TEXTS = {
    "transformer.fit": lambda ids: transformer.fit(KEY, CONFIG, transformer.FitConfig(), ids),
    "transformer.score": lambda ids: transformer.score(TRANSFORMER, IDS, ids),
    "transformer.score after": lambda ids: transformer.score(TRANSFORMER, ids, IDS),
    "transformer.apply": lambda ids: transformer.apply(CONFIG, TRANSFORMER.params, np.asarray(ids)[:8]),
    "vocab.train": lambda ids: vocab.train(KEY, VARIANT, ids, STEPS),
    "vocab.score": lambda ids: vocab.score(LM, ids),
    "vocab.copy_gain": lambda ids: vocab.copy_gain(KEY, LM, ids),
    "eam.fit": lambda ids: eam.fit(KEY, EAM, np.asarray(ids)[None, :9]),
    "eam.gather": lambda ids: stages.gather(EAM, {}, jnp.zeros((4, 4)), np.asarray(ids)[None, :9]),
    "eam.score": lambda ids: eam.score(predict, np.asarray(ids)[None]),
    "eam.fit_mixture": lambda ids: scoring.fit_mixture(predict, np.asarray(ids)[None]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_text_is_refused(name):
    for ids in WRONG:
        shifted = ids is WRONG[1] and name.startswith("vocab")
        with pytest.raises(ValueError, match=r"^[^\n]+: give [^\n]+$|, got [^\n]+$|ids from [^\n]+$"):
            TEXTS[name](ids + 20 if shifted else ids)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: eam.score(predict, IDS[None][:0]), "give at least one token to predict"),
        (
            lambda: eam.predictor(None, "pupil"),
            "unknown part 'pupil': choose one of repaired, published, tea",
        ),
        (
            lambda: eam.difference(np.zeros(3), np.zeros(4)),
            r"shapes \[3\] and \[4\]: give the nats of the same",
        ),
        (
            lambda: eam.difference(np.zeros(0), np.zeros(0)),
            r"shapes \[0\] and \[0\]: give the nats of the same",
        ),
        (lambda: eam.transfer(1.0, 0.0, 2.0), "nothing can be compared with it"),
        (lambda: studies.reconstruction(None, None, eam.Patterns(ROWS[:0], ROWS[:0])), "got none: give at"),
        (
            lambda: next(knn.neighbours(eam.KnnConfig(), ROWS, IDS)),
            r"tokens has shape \[400\]: give \[N=30\]",
        ),
        (
            lambda: stages.fill(KEY, EAM, eam.Patterns(ROWS, ROWS)),
            r"keys has shape \[30, 4\]: give \[N, K=64\]",
        ),
        (
            lambda: eam.create(KEY, eam.MemoryConfig(), ROWS, locations=2.5, width=4),
            "locations=2.5 is not a w",
        ),
        (
            lambda: eam.create(KEY, eam.MemoryConfig(), "rows", locations=2, width=4),
            "keys is of type str: give",
        ),
        (lambda: vocab.inspect(LM._replace(tokenizer=1), 3), "words=3 is of type int: give a str"),
        (lambda: vocab.scored_part(IDS, 16, 0), "count=0 is out of range: give a whole number of at least 1"),
        (lambda: vocab.variant("v8_graph", 40.5), "vocabulary=40.5 is not a whole number"),
        (lambda: chain.compress("words"), "data is of type str: give bytes"),
        (lambda: transformer.apply(CONFIG, {}, np.zeros((2, 9), int)), "give windows of at most 8 ids"),
    ],
)
def test_calls_that_make_no_sense_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("part", "value"),
    [("addresses", np.nan), ("addresses", 1e9), ("counters", np.inf), ("weights", -1.0), ("eta", np.nan)],
)
def test_a_memory_with_numbers_that_no_memory_has_is_refused(part, value):
    memory = eam.create(KEY, eam.MemoryConfig(), ROWS, locations=8, width=4)
    x = np.array(getattr(memory.store, part))
    x[(0,) * x.ndim] = value
    broken = memory._replace(store=memory.store._replace(**{part: jnp.asarray(x)}))
    for call in (lambda: eam.read(broken, ROWS), lambda: eam.write(broken, ROWS, ROWS)):
        with pytest.raises(ValueError, match=rf"^{part}.* is out of range: give finite numbers"):
            call()


LINEAR = mixing.LinearAttention(8)
CONFIGS = [
    CONFIG, transformer.FitConfig(), training.Steps(1, 1, 1), eam.TrunkConfig(), eam.MemoryConfig(), EAM,
    eam.LearningConfig(0.1, 1, 1), eam.KnnConfig(), EAM.student(True), recipe.Recipe(), zoo.Sizes(),
    model.Subspace(8, ()), VARIANT.config, operation.WordMap(), LINEAR, mixing.MultiScaleAttention(8),
    mixing.SoftmaxAttention(), mixing.Convolution(), mixing.MovingAverage(), pointwise.Mlp(8), STEPS,
    pointwise.WordGraph(8), pointwise.WordGate(8), pointwise.Experts(2, 8), pointwise.TopK(8),
    vocab.ComparisonConfig(), text.TextConfig(train_tokens=9), chain.ChainConfig(), chain.ReadoutConfig(),
    chain.WritingConfig(),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_number_of_every_config_is_checked(config):
    """No number may be infinite, NaN, -10^30 or 10^30, or something that is no number."""
    found = 0
    for field in dataclasses.fields(config):
        x = getattr(config, field.name)
        if isinstance(x, bool) or not isinstance(x, int | float):
            continue
        found += 1
        for value in (np.inf, -np.inf, np.nan, 1e30, -1e30, 10**30, "1", None, True):
            optional = value is None and "None" in str(field.type)
            if optional or (field.name == "overload" and value in (1e30, 10**30)):
                continue
            with pytest.raises(ValueError, match=r"^[^\n]+: (give|choose|lower|change) [^\n]+$"):
                dataclasses.replace(config, **{field.name: value})
    assert found or isinstance(config, pointwise.Factor)
