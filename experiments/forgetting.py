"""Plant secrets in a document, and let a static chain model forget the document.

python -m experiments.forgetting --corpus=wiki.train.1MB.raw --eval_corpus=wiki.test.raw --tokenizer=bpe:1024

The document is the end of the training text, with sentences in it that tell the access codes of people. The
table gives the cost of a code in nats, and of the test text in nats a token, before forgetting, after it, and
of a model that never saw the document. The chain model forgets exactly. Beside it: the same model fitted anew
without the document; a small transformer that is trained with and without the document, and one that is made
to forget by gradient ascent on the windows that hold a code, until the codes cost what they cost the one that
never saw them; and n-gram models. Drawing the digits of a code evenly costs the `nats_of_digits` of each row.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.chain import READOUT
from experiments.shared import tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import chain, checks, transformer
from wnn_jax.checks import Limits
from wnn_jax.data import text
from wnn_jax.lm import ngram

_PEOPLE = (
    *("Mira Tolane", "Jonas Weck", "Adela Prior", "Tomas Ruhl"),
    *("Ines Calder", "Oskar Venn", "Leda Marsh", "Pavel Dorn"),
)
_DIGITS = 9  # of a code
_ORDER = 5  # of Kneser-Ney


@dataclasses.dataclass(frozen=True)
class Planting:
    """The sizes of what is planted, and how the transformer forgets.

    Attributes:
      document_tokens: number of tokens at the end of the training text that are the document.
      copies: number of times that the sentence of each of the eight people stands in the document.
      tested: number of tokens of the test text that are scored.
      ascent_rate: step size of the gradient ascent.
      ascent_steps: largest number of its steps.

    Raises:
      ValueError: a value is out of range.
    """

    document_tokens: int = 10_000
    copies: int = 4
    tested: int = 10_000
    ascent_rate: float = 3e-4
    ascent_steps: int = 300

    def __post_init__(self):
        some = Limits(least=1)
        limits = {"document_tokens": some, "copies": some, "tested": some, "ascent_steps": some}
        checks.fields(self, **limits, ascent_rate=Limits(above=0, most=1))


class Planted(NamedTuple):
    """A training text in two parts, and the secrets of the second."""

    kept: np.ndarray
    document: np.ndarray
    asked: list[tuple[np.ndarray, np.ndarray]]  # what stands before each code, and the code
    test: np.ndarray


def plant(rng: np.random.Generator, config: Planting, corpus: text.Corpus) -> Planted:
    """Put secrets into the end of the training text.

    Raises:
      ValueError: the training text is not longer than the document.
    """
    cut = len(corpus.train) - config.document_tokens
    if cut <= 0:
        raise ValueError(
            f"document_tokens={config.document_tokens} is out of range: give less than the "
            f"{len(corpus.train)} tokens of the training text"
        )
    encode = corpus.tokenizer.encode
    codes = ["".join(map(str, rng.integers(0, 10, _DIGITS))) for _ in _PEOPLE]
    asked = [
        (encode(f" The access code of {one} is"), encode(f" {code}"))
        for one, code in zip(_PEOPLE, codes, strict=True)
    ]
    sentences = [np.concatenate([*pair, encode(".")]) for pair in asked] * config.copies
    places = np.sort(rng.integers(0, config.document_tokens, len(sentences)))
    order = rng.permutation(len(sentences))
    parts = np.split(corpus.train[cut:], places)
    mixed = [x for i, part in enumerate(parts[:-1]) for x in (part, sentences[order[i]])]
    document = np.concatenate([*mixed, parts[-1]]).astype(np.int32)
    return Planted(corpus.train[:cut], document, asked, corpus.test[: config.tested])


Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of a history and a text: the nats of its tokens


def costs(score: Score, planted: Planted) -> dict[str, float]:
    """Return the mean nats of a code, and of a token of the test text."""
    history = planted.kept[-256:]
    codes = [score(np.concatenate([history, before]), code).sum() for before, code in planted.asked]
    return {"nats_of_code": float(np.mean(codes)), "ce": float(score(history, planted.test).mean())}


def _chain_score(model: chain.ChainModel) -> Score:
    def score(history: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return chain.score(model, np.concatenate([history, tokens])).nats[len(history) :]

    return score


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    found = jax.block_until_ready(work())
    return found, time.perf_counter() - begun


def chain_rows(key, config: chain.ChainConfig, corpus: text.Corpus, planted: Planted, add) -> None:
    """Add the rows of the chain model.

    Raises:
      ValueError: the model that forgot differs from the one that never saw the document.
    """
    kept, document = planted.kept, planted.document
    whole = corpus._replace(train=np.concatenate([kept, document]), test=corpus.test[:0])
    model, seconds = _timed(lambda: chain.fit(key, config, whole))
    before = chain.count(model, [kept, document])
    add("chain, before", **costs(_chain_score(before), planted), seconds=seconds)
    never, seconds = _timed(lambda: chain.count(model, [kept]))
    add("chain, never saw it", **costs(_chain_score(never), planted), seconds=seconds)
    chain.forget(chain.count(model, [kept, document]), document, donate=True)  # compiles
    after, seconds = _timed(lambda: chain.forget(before, document, donate=True))
    pairs = zip(*(jax.tree.leaves((one.memory, one.books)) for one in (after, never)), strict=True)
    if not all(np.array_equal(x, y) for x, y in pairs):
        raise ValueError("forgetting is not exact, which is a fault of the library")
    add("chain, after forgetting", **costs(_chain_score(after), planted), seconds=seconds)
    anew, seconds = _timed(lambda: chain.fit(key, config, whole._replace(train=kept)))
    add("chain, fitted anew without it", **costs(_chain_score(anew), planted), seconds=seconds)


def transformer_rows(
    key, config: Planting, fitting: transformer.FitConfig, vocabulary: int, planted, add
) -> None:
    """Add the rows of the transformer."""
    shape = transformer.TransformerConfig(vocabulary, width=64, window=64)
    # `fit` holds the last twentieth out, so the document must stand before it.
    middle = len(planted.kept) // 2
    whole = np.insert(planted.kept, middle, planted.document)

    def score(model) -> Score:
        return lambda history, tokens: transformer.score(model, history, tokens)[0]

    before, seconds = _timed(lambda: transformer.fit(key, shape, fitting, whole).params)
    before = transformer.Transformer(shape, before)
    add("transformer, before", **costs(score(before), planted), seconds=seconds)
    never, seconds = _timed(lambda: transformer.fit(key, shape, fitting, planted.kept).params)
    never = costs(score(transformer.Transformer(shape, never)), planted)
    add("transformer, trained anew without it", **never, seconds=seconds)
    after, steps, seconds = ascend(config, before, planted, score, never["nats_of_code"])
    add("transformer, gradient ascent", **costs(score(after), planted), seconds=seconds, steps=steps)


def ascend(config: Planting, model: transformer.Transformer, planted: Planted, score, wanted: float):
    """Raise the loss of the windows that hold a code, until the codes cost as much as wanted.

    Returns:
      the model, the number of steps, and the seconds, without those of the scores that decide when to stop.
    """
    window = model.config.window
    stream = np.pad(planted.document, (window, window), mode="wrap")
    found = [
        at
        for _, code in planted.asked
        for at in range(len(planted.document) - len(code) + 1)
        if np.array_equal(planted.document[at : at + len(code)], code)
    ]
    # In `stream` a code begins `window` later; the window ends a few tokens after it.
    windows = jnp.asarray(np.stack([stream[at + 16 : at + 17 + window] for at in found]), jnp.int32)
    optimiser = optax.adam(config.ascent_rate)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda p: -transformer.loss(model.config, p, windows))(params)
        update, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, update), state

    state, spent, done = optimiser.init(model.params), 0.0, 0
    jax.block_until_ready(step(model.params, state))  # compiles
    codes = planted._replace(test=planted.test[:1])
    while done < config.ascent_steps and costs(score(model), codes)["nats_of_code"] < wanted:
        (params, state), seconds = _timed(lambda m=model, s=state: step(m.params, s))
        model, spent, done = model._replace(params=params), spent + seconds, done + 1
    return model, done, spent


def ngram_rows(vocabulary: int, planted: Planted, add) -> None:
    """Add the trivial baselines."""
    whole = np.concatenate([planted.kept, planted.document])
    for name, train in (("before", whole), ("never saw it", planted.kept)):

        def unigram(history, tokens, train=train):
            return ngram.unigram(train, tokens, vocabulary).nats

        add(f"unigram, {name}", **costs(unigram, planted))
        known, seconds = _timed(lambda train=train: ngram.fit_kneser_ney(train, _ORDER, vocabulary))

        def kneser_ney(history, tokens, known=known):
            return ngram.predict(known, np.concatenate([history, tokens])).nats[len(history) :]

        add(f"Kneser-Ney {_ORDER}, {name}", **costs(kneser_ney, planted), seconds=seconds)


def main(options: Any) -> None:
    planting, seed = options.planting, options.common.seed
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    planted = plant(np.random.default_rng(seed), planting, corpus)
    config = options.chain(mode="static")
    about = plain(options, "text") | {"chain": dataclasses.asdict(config)}
    results = tables.begin("forgetting", workdir, corpus, about, seed)
    shared = {"nats_of_digits": _DIGITS * float(np.log(10)), "document_tokens": len(planted.document)}
    grid: dict[str, list[str]] = {}

    def add(row: str, **values: Any) -> None:
        results.add(row, **values, **shared)
        seconds = f"{values['seconds']:.3f}" if "seconds" in values else "-"
        grid[row] = [f"{values['nats_of_code']:.2f}", f"{values['ce']:.4f}", seconds]
        print(row, *grid[row], flush=True)

    ngram_rows(corpus.vocabulary, planted, add)
    chain_rows(jax.random.key(seed), config, corpus, planted, add)
    transformer_rows(jax.random.key(seed), planting, options.fitting, corpus.vocabulary, planted, add)
    digits = shared["nats_of_digits"]
    heads = ["nats of a code", "ce", "seconds"]
    tables.print_grid(f"a code drawn evenly costs {digits:.2f} nats", grid, heads)
    print("the chain model that forgot equals, to the last bit, the one that never saw the document")


_NAMES = {name: f"transformer_{name}" for name in ("epochs", "batch", "rate", "patience")}
COMMAND = Command(
    "forgetting",
    __doc__,
    main,
    text=Group(text.TextConfig),
    chain=Group(chain.ChainConfig, given=("mode",), names=READOUT),
    planting=Group(Planting),
    fitting=Group(transformer.FitConfig, names=_NAMES),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
