"""Random calls of language models, gates and searches over RAM layers, and random configs; see `fuzz`."""

import fuzz
import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import lm, ram, search
from wnn_jax.gates import EngramConfig, GatingConfig, RamGateConfig, engram
from wnn_jax.lm import bitwise, fitting, ngram, tiered, tiered_layer
from wnn_jax.ram import connectivity
from wnn_jax.search import moves

V, C, N, READ = 12, 2, 60, 20
MODEL = lm.BitwiseConfig(V, C, neurons=2, address_bits=3)
TIERS = tiered.TieredConfig(V, tiered.parse("3,2,3;rest,1,2"), C)
BOUNDS = search.Bounds(MODEL.input_bits, max_neurons=3, max_bits=4)
OBJECTIVE = lm.BitwiseObjective(MODEL, BOUNDS)
SHORT = search.RunConfig(steps=1, folds=2, validation=2, check=1)

CONFIGS = {
    type(one).__name__: one
    for one in (
        MODEL,
        TIERS,
        BOUNDS,
        OBJECTIVE,
        SHORT,
        lm.GenomeSizes(),
        search.TargetBits(BOUNDS, 3),
        search.AdaptationConfig(),
        search.AnnealingConfig(),
        search.FitnessConfig(),
        search.GeneticConfig(),
        search.GridConfig(),
        search.RandomConfig(),
        search.SearchPlan(),
        search.TabuConfig(),
        search.Evaluator(OBJECTIVE),
        GatingConfig(),
        RamGateConfig(),
        EngramConfig(),
    )
}
CONNECTIONS = np.asarray(bitwise.init(jax.random.key(0), MODEL))
TEXT = np.random.default_rng(0).integers(V, size=N)
FITTED = lm.fit(jax.random.key(1), MODEL, TEXT, jnp.asarray(CONNECTIONS))
WORDS = np.asarray(bitwise.examples(MODEL, TEXT[: READ + C]).words)
EXAMPLES = bitwise.examples(MODEL, TEXT)
ORDER = tiered_layer.rank_tokens(TEXT, V)
KNESER_NEY = ngram.fit_kneser_ney(TEXT, 2, V)
ENGRAM = EngramConfig((1, 2), heads=1, row_bits=4)


def good(rng):
    """Make valid arguments of all functions."""
    text = rng.integers(V, size=N)
    return {
        "key": jax.random.key(int(rng.integers(9))),
        "connections": CONNECTIONS,
        "words": WORDS,
        "text": text,
        "more": rng.integers(V, size=READ),
        "start": CONNECTIONS,
        "inputs": np.asarray(EXAMPLES.words),
        "targets": np.asarray(EXAMPLES.targets),
        "cells": np.asarray(FITTED.table.cells),
        "canonical": np.arange(V),
        "nats": rng.random(READ),
        "share": rng.random(READ),
        "order": ORDER,
        "few": 2,
        "part": 0.25,
    }


def searched(x):
    algorithm = search.random_search(OBJECTIVE)
    data = ram.Examples(x["inputs"], x["targets"])
    return search.run(x["key"], algorithm, data, SHORT, start=x["start"]).genome


def read(x):
    return fitting.read(FITTED._replace(table=FITTED.table._replace(cells=x["cells"])), x["words"])


# By function, the arguments that may be hostile, and the call.
CALLS = {
    "bitwise.examples": (("text",), lambda x: bitwise.examples(MODEL, x["text"])),
    "fit": (
        ("key", "text", "connections"),
        lambda x: lm.fit(x["key"], MODEL, x["text"], x["connections"]).table,
    ),
    "votes": (
        ("key", "text", "connections", "words"),
        lambda x: fitting.votes(x["key"], MODEL, x["connections"], x["text"], x["words"]),
    ),
    "read": (("words", "cells"), read),
    "score": (("text", "more"), lambda x: lm.score(FITTED, x["text"], x["more"])),
    "following": (("text", "more"), lambda x: fitting.following(MODEL, x["text"], x["more"])),
    "uniform": (("more", "few"), lambda x: ngram.uniform(V, x["more"])),
    "unigram": (("text", "more", "part"), lambda x: ngram.unigram(x["text"], x["more"], V, x["part"])),
    "fit_kneser_ney": (("text", "few"), lambda x: len(ngram.fit_kneser_ney(x["text"], x["few"], V).orders)),
    "predict": (("more",), lambda x: ngram.predict(KNESER_NEY, x["more"])),
    "fit_cache": (("text", "few"), lambda x: ngram.fit_cache(x["text"], V, x["few"])),
    "cache": (("text", "more", "few"), lambda x: ngram.cache(x["text"], x["more"], x["few"])),
    "mixed": (("nats", "share", "part"), lambda x: ngram.mixed(x["nats"], x["share"], x["part"])),
    "rank_tokens": (("text",), lambda x: tiered_layer.rank_tokens(x["text"], V)),
    "tier_of": (("order", "text"), lambda x: tiered_layer.tier_of(TIERS, x["order"], x["text"])),
    "tiered.fit": (("key", "text"), lambda x: tiered.fit(x["key"], TIERS, x["text"]).history),
    "engram.fit": (("canonical", "text"), lambda x: engram.fit(ENGRAM, x["canonical"], x["text"])),
    "fold": (
        ("inputs", "targets", "few"),
        lambda x: search.fold(
            ram.Examples(x["inputs"], x["targets"]), jnp.zeros((4, 3), jnp.uint32), 0, x["few"]
        ),
    ),
    "run": (("key", "start", "inputs", "targets"), searched),
    "pad": (("connections",), lambda x: moves.pad(x["connections"], BOUNDS)),
    "dtype_for": (("few",), lambda x: np.zeros(0, connectivity.dtype_for(x["few"]))),
}


def call(rng):
    """Return a public function's or config's name and a random call of it; most have a hostile argument."""
    x = good(rng)
    if rng.random() < 0.5:
        title = list(CONFIGS)[rng.integers(len(CONFIGS))]
        return title, fuzz.changed(rng, CONFIGS[title])
    title = list(CALLS)[rng.integers(len(CALLS))]
    names, function = CALLS[title]
    for name in rng.choice(names, min(len(names), rng.choice([0, 1, 1, 2])), replace=False):
        x[name] = fuzz.array(rng, x[name]) if isinstance(x[name], np.ndarray) else fuzz.number(rng)
    return title, lambda: function(x)


KERNELS = {}
