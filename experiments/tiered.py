"""Train and score tiered RAM language models: as published, and with what the metric hides repaired.

python -m experiments.tiered --corpus=wikitext2 --tokenizer=gpt2
"""

import hashlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import base, gates
from experiments.shared import machine, plots, tables
from wnn_jax import metrics, ram
from wnn_jax.data import text
from wnn_jax.gates import attach
from wnn_jax.lm import bitwise, ngram, tiered, tiered_readout
from wnn_jax.saving import progress

FLAGS = flags.FLAGS

base.define_common_flags("tiered")
base.define_text_flags()
gates.define_flags()


class Variant(NamedTuple):
    """A model of the table: cells, what an EMPTY one reads, negatives, and whether it is calibrated."""

    cells: str
    empty_value: float
    negatives: str
    calibrated: bool


VARIANTS = {
    "published": Variant("true_wins", 0.0, "top", False),
    "empty_half": Variant("true_wins", 0.5, "top", False),
    "drawn": Variant("true_wins", 0.0, "drawn", False),
    "true_wins_calibrated": Variant("true_wins", 0.0, "top", True),
    "count_uncalibrated": Variant("count", 0.0, "all", False),
    "repaired": Variant("count", 0.0, "all", True),
}

flags.DEFINE_list("variants", ["published", "empty_half", "repaired"], f"Models: {', '.join(VARIANTS)}.")
flags.DEFINE_string(
    "tiers",
    None,
    f"COUNT,NEURONS,BITS;...;rest,NEURONS,BITS, or {', '.join(tiered.PRESETS)}; default: five, "
    "or two where the vocabulary is too small for that.",
)
flags.DEFINE_integer("context", 4, "Tokens seen.")
flags.DEFINE_integer("top", 1000, "How many of the most frequent tokens are negatives.")
flags.DEFINE_integer("draws", 5, "Negatives an example, where they are drawn.")
flags.DEFINE_string("resume", None, "Folder to save finished models to, and to continue from.")


def main() -> None:
    unknown = [name for name in FLAGS.variants if name not in VARIANTS]
    if unknown or not FLAGS.variants:
        raise ValueError(f"unknown variant {unknown[:1]}: --variants takes {', '.join(VARIANTS)}")
    if FLAGS.tiers:
        tiered.parse(FLAGS.tiers)
    workdir = tables.make_workdir(FLAGS.workdir)
    corpus = text.load(text.TextConfig(**base.text_settings()))
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
    tiers = tiered.parse(FLAGS.tiers or ("five" if corpus.vocabulary > 20_500 else "two"))
    configs = {name: config_for(VARIANTS[name], tiers, corpus.vocabulary) for name in FLAGS.variants}
    gates.check(FLAGS.context, corpus.vocabulary)
    first = next(iter(configs.values()))
    bitwise.check_tokens(bitwise.BitwiseConfig(corpus.vocabulary, FLAGS.context, 1, 1), corpus.train)
    check_memory(first, corpus)
    results = tables.Results(
        workdir,
        {
            "experiment": "tiered",
            "train_tokens": len(corpus.train),
            "eval_tokens": len(corpus.test),
            "config": settings_from_flags(),
            "seed": FLAGS.seed,
        },
    )
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {FLAGS.seed}"
    )
    order = tiered.ranked(corpus.train, corpus.vocabulary)
    model = tiered.Model(order, ())
    tier = tiered.tier_of(first, model, corpus.test)
    rows = add_baselines(results, corpus)
    for name, config in configs.items():
        rows |= run_variant(results, corpus, name, config)
    results.print()
    explain(results, corpus.vocabulary)
    share = np.bincount(tiered.tier_of(first, model, corpus.train), minlength=len(tiers)) / len(corpus.train)
    table = by_tier(corpus, tier, rows, len(tiers))
    print_tiers(first, share, np.bincount(tier, minlength=len(tiers)) / len(tier), table)
    results.add("by tier", seconds=0.0, train_share=share.tolist(), tiers=table)
    plots.tiers(workdir / "tiers.png", [f"{a + 1}-{b}" for a, b in borders(first)], table)
    print(f"results and pictures in {workdir}")


def config_for(variant: Variant, tiers: tuple[tiered.Tier, ...], vocabulary: int) -> tiered.TieredConfig:
    memory = ram.RamConfig(variant.cells, variant.empty_value)
    negatives = variant.negatives, FLAGS.top, FLAGS.draws
    return tiered.TieredConfig(vocabulary, tiers, FLAGS.context, memory, *negatives)


def settings_from_flags() -> dict[str, Any]:
    """Everything that decides the numbers, as plain data."""
    names = ("tiers", "context", "top", "draws")
    models = {name: VARIANTS[name]._asdict() for name in FLAGS.variants}
    chosen = {name: getattr(FLAGS, name) for name in names}
    return {"text": base.text_settings(), "model": {**chosen, "variants": models}, **gates.settings()}


def check_memory(config: tiered.TieredConfig, corpus: text.Corpus) -> None:
    """Votes of a chunk in a few forms, the words, one row a thread, and the readout's sample."""
    chunk = 8 * 4 * max(tiered.VOTES, len(corpus.test))
    words = 4 * -(-config.input_bits // 32) * (len(corpus.train) + len(corpus.test))
    row = max(ram.row_bytes(config.memory, x.address_bits) for x in config.tiers)
    sample = 4 * 4 * tiered_readout.PLACES * len(np.unique(corpus.train))
    machine.check_memory(chunk + words + 4 * row + sample, "lower --train_tokens, or the bits of --tiers")


Rows = dict[str, tuple[np.ndarray, np.ndarray]]  # nats and guesses by row


def add_baselines(results: tables.Results, corpus: text.Corpus) -> Rows:
    """What needs no neuron, scored on the same tokens."""
    tokens, vocabulary, found = corpus.test, corpus.vocabulary, {}

    def add(row: str, predict) -> None:
        started = time.perf_counter()
        guess = predict()
        summary = metrics.summarize(guess.nats, guess.best, tokens, corpus.token_bytes)
        results.add(row, **summary._asdict(), seconds=time.perf_counter() - started)
        found[row] = guess

    add("uniform", lambda: ngram.uniform(vocabulary, tokens))
    add("unigram (add 0.1)", lambda: ngram.unigram(corpus.train, tokens, vocabulary, add=0.1))
    for order in (2, 5):
        fit = lambda n=order: ngram.fit_kneser_ney(corpus.train, n, vocabulary)  # noqa: E731
        add(f"Kneser-Ney {order}", lambda fit=fit: ngram.predict(fit(), tokens))
    return {row: found[row] for row in ("unigram (add 0.1)", "Kneser-Ney 5")}


def run_variant(results: tables.Results, corpus: text.Corpus, name: str, config: tiered.TieredConfig) -> Rows:
    """Rows of one model and its gates, from where they were saved or from the start."""
    saved = None
    if FLAGS.resume:
        digest = hashlib.sha256(corpus.train.tobytes() + corpus.test.tobytes()).hexdigest()
        about = {**settings_from_flags(), "variant": name, "tokens": digest, "seed": FLAGS.seed}
        about["model"].pop("variants")  # other models may be asked for when it is resumed
        saved = progress.Progress(pathlib.Path(FLAGS.resume) / name, about)
    found = saved.latest() if saved else None
    if found:
        arrays, data = found
        scored = {
            kind: bitwise.Scores(*(jnp.asarray(arrays[f"{kind}_{name}"]) for name in bitwise.Scores._fields))
            for kind in data["kinds"]
        }
    else:
        started = time.perf_counter()
        scored, readout = score_variant(corpus, name, config)
        seconds = time.perf_counter() - started
        data = {"kinds": list(scored), "seconds": seconds, "readout": readout}
        if saved:
            scores = (
                (f"{kind}_{field}", x) for kind in scored for field, x in scored[kind]._asdict().items()
            )
            saved.save(dict(scores), data)
    nats, best = np.asarray(scored["none"].nats, np.float64), np.asarray(scored["none"].best)
    summary = metrics.summarize(nats, best, corpus.test, corpus.token_bytes)._asdict()
    # The predecessor never lets a token cost more than a uniform guess: that is no distribution's loss.
    clamped = float(np.minimum(nats, np.log(config.vocabulary)).mean())
    extra = {"clamped_ce": clamped, "readout": data["readout"], "seconds": data["seconds"]}
    results.add(f"tiered {name}", **summary, **extra)
    gates.add(results, f"tiered {name}", scored, corpus, float("nan"))
    return {f"tiered {name}": (nats, best)}


def score_variant(corpus: text.Corpus, name: str, config: tiered.TieredConfig):
    """Fit, read and score one model: `bitwise.Scores` by kind of gate, and the readout as plain data."""
    train = corpus.train
    keys = jax.random.split(jax.random.key(FLAGS.seed), 5)
    model = tiered.init(keys[0], config, train)
    readout = tiered_readout.calibrate(keys[1], config, train) if VARIANTS[name].calibrated else None
    words, _ = tiered.inputs(config, np.concatenate([train[-config.context :], corpus.test]))
    layer = tiered.layer(keys[2], config, model, train)
    scored = attach.on_tiered(
        *(keys[3], gates.config(), gates.ram_kinds(), layer, readout, train, words, corpus.test),
        gates.watch(name, config.vocabulary),
    )
    if "engram" in FLAGS.gating:

        def refit(first: np.ndarray, rest: np.ndarray) -> jax.Array:
            early = tiered.layer(keys[2], config, tiered.init(keys[0], config, first), first)
            words, targets = tiered.inputs(config, np.concatenate([first[-config.context :], rest]))
            bar = gates.watch(f"{name}, for its gates", config.vocabulary)
            chunks = (chunk for (chunk,) in bar(tiered.votes([early], words)))
            return tiered_readout.score(config, readout, chunks, targets).nats

        scored["engram"] = gates.behind_engram(keys[4], corpus, scored["none"].nats, refit)
    plain = {} if readout is None else {k: np.asarray(v).tolist() for k, v in readout._asdict().items()}
    return scored, plain


def explain(results: tables.Results, vocabulary: int) -> None:
    """Say what the published score cannot say."""
    low, high = np.log(1 + (vocabulary - 1) / np.e), np.log(vocabulary)
    print(
        f"A published score is a share in [0, 1], so no token has more than e / (e + {vocabulary - 1:,}) and "
        f"the CE lies in [{low:.3f}, {high:.3f}] (its upper end by a clamp), whatever was learnt."
    )
    for row in results.rows:
        if "clamped_ce" in row:
            inside = "inside" if low <= row["ce"] <= high else "outside"
            print(f"{row['row']}: {inside} that band; {row['clamped_ce']:.4f} with the clamp")


def borders(config: tiered.TieredConfig) -> list[tuple[int, int]]:
    return list(zip(config.borders[:-1], config.borders[1:], strict=True))


def by_tier(corpus: text.Corpus, tier: np.ndarray, rows: Rows, tiers: int) -> dict[str, list]:
    """Accuracy and CE of every row on the tokens of every tier; None where it has none."""
    table: dict[str, list] = {}
    for row, (nats, best) in rows.items():
        table[row] = []
        for t in range(tiers):
            here = tier == t
            some = here.any()
            right = float((best[here] == corpus.test[here]).mean()) if some else None
            table[row].append({"ce": float(nats[here].mean()) if some else None, "accuracy": right})
    return table


def print_tiers(config: tiered.TieredConfig, train, test, table) -> None:
    """The tier-by-tier table: whose tokens, how many, and each row's CE and accuracy on them."""
    head = f"{'tier: ranks':>16} {'neurons':>8} {'bits':>5} {'of train':>9} {'of eval':>8}"
    print("\n" + head + "".join(f"{row:>22}" for row in table))
    for t, (tier, (first, last)) in enumerate(zip(config.tiers, borders(config), strict=True)):
        ranks = f"{t}: {first + 1:,}-{last:,}"
        line = f"{ranks:>16} {tier.neurons:>8} {tier.address_bits:>5} {train[t]:>9.1%} {test[t]:>8.1%}"
        for values in table.values():
            ce, accuracy = values[t]["ce"], values[t]["accuracy"]
            line += f"{'-' if ce is None else f'{ce:.3f}  {accuracy:.1%}':>22}"
        print(line)


if __name__ == "__main__":
    base.run(main)
