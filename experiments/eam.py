"""An elastic associative memory as a language model: teacher, memory, student, artifact, honest scores.

python -m experiments.eam --corpus=movie_reviews.txt --tokenizer=sp:fineweb_1024_bpe.model
"""

import dataclasses
import hashlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import base
from experiments.remembering import stages, studies
from experiments.shared import machine, scoring, tables
from wnn_jax.data import streams, text
from wnn_jax.eam import artifact, distill, knn, memory

FLAGS = flags.FLAGS
PARTS = ("reconstruction", "continual", "merge", "time")

base.define_common_flags("eam")
base.define_text_flags()
flags.DEFINE_enum("preset", "small", list(stages.PRESETS), "Sizes of everything.")
flags.DEFINE_integer("tokens", None, "Training tokens; default: the preset's, or what the corpus has.")
flags.DEFINE_float("patterns", None, "Writes a location; default: the preset's.")
flags.DEFINE_bool("positions", False, "Whether teacher and encoder learn places; the published ones do not.")
flags.DEFINE_list("studies", list(PARTS), f"Studies of the memory: {', '.join(PARTS)}.")
flags.DEFINE_string("resume", None, "Folder to save stages to, and to continue from.")


def main() -> None:
    unknown = [part for part in FLAGS.studies if part not in PARTS]
    if unknown:
        raise ValueError(f"unknown study {unknown[:1]}: --studies takes {', '.join(PARTS)}")
    workdir = tables.make_workdir(FLAGS.workdir)
    corpus = text.load(text.TextConfig(**base.text_settings()))
    plan, tail, scored = make_plan(corpus)
    results = tables.Results(
        workdir,
        {
            "experiment": "eam",
            "config": plan.about,
            "seed": FLAGS.seed,
            "train_tokens": plan.train[:, 1:].size,
            "eval_tokens": scored[:, 1:].size,
        },
    )
    print(
        f"{corpus.description}: {plan.train[:, 1:].size:,} training tokens, {scored[:, 1:].size:,} scored, "
        f"{corpus.vocabulary:,} ids, {plan.locations:,} locations; {machine.device()}; seed {FLAGS.seed}"
    )
    scoring.add_baselines(results, corpus, plan.train, scored)
    taught = stages.teach(plan)
    keys, values = stages.patterns(plan, taught, plan.train)
    held = stages.store(plan, keys, values, plan.locations, "kmeans", "memory")
    published = stages.publish(plan, held, keys)
    joined = stages.join(plan, taught, held, published["encoder"])

    costs = {}
    ask = ask_teacher(plan, taught)
    costs |= add_model(results, corpus, "teacher", ask, plan.seconds["teacher"], tail, scored)
    spent = plan.seconds["memory"] + plan.seconds["encoder"]
    config = plan.student(repaired=False)
    ask = ask_student(config, distill.Model(published, held))
    costs |= add_model(
        results, corpus, "EAM, as published", ask, spent + plan.seconds["decoder"], tail, scored
    )
    config, model = plan.student(repaired=True), distill.Model(joined, held)
    ask = ask_student(config, model)
    costs |= add_model(results, corpus, "EAM", ask, spent + plan.seconds["student"], tail, scored)
    nothing = distill.Model(joined, held._replace(counters=jnp.zeros_like(held.counters)))
    add_plain(results, corpus, "EAM, its memory empty", ask_student(config, nothing), scored, float("nan"))
    add_artifact(results, corpus, workdir, config, model, scored)
    results.print()
    explain(results, costs)
    studies.run(results, workdir, plan, taught, held, (keys, values), (config, model), scored, FLAGS.studies)
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in plan.seconds.items()))
    print(f"results and pictures in {workdir}")


def make_plan(corpus: text.Corpus) -> tuple[stages.Plan, np.ndarray, np.ndarray]:
    """The plan, and windows of the text that chooses and of the text that is scored."""
    preset = stages.PRESETS[FLAGS.preset]
    changed = {"tokens": FLAGS.tokens, "patterns": FLAGS.patterns}
    preset = dataclasses.replace(preset, **{k: v for k, v in changed.items() if v is not None})
    if preset.tokens < 1 or preset.patterns <= 0:
        raise ValueError(
            f"--tokens and --patterns must be positive, got {preset.tokens} and {preset.patterns}"
        )
    train, tail = corpus.train[: preset.tokens], corpus.validation[: preset.tail]
    if not len(tail):  # a corpus without a validation split: the end of its training text chooses
        cut = len(train) - min(preset.tail, len(train) // 10)
        train, tail = train[:cut], train[cut:]
    parts = [streams.cut(x, preset.window) for x in (train, tail, corpus.test[: preset.scored])]
    digest = hashlib.sha256(b"".join(x.tobytes() for x in parts)).hexdigest()
    about = {
        "preset": dataclasses.asdict(preset),
        "positions": FLAGS.positions,
        "tokens": digest,
        "seed": FLAGS.seed,
    }
    resume = pathlib.Path(FLAGS.resume) if FLAGS.resume else None
    key = jax.random.key(FLAGS.seed)
    plan = stages.Plan(preset, corpus.vocabulary, parts[0], key, FLAGS.positions, resume, about, {})
    need = 2 * (preset.keys + 2 * preset.width) * len(train) + 8 * corpus.vocabulary * (
        len(tail) + preset.scored
    )
    machine.check_memory(need, "lower --tokens")
    return plan, parts[1], parts[2]


class Asked(NamedTuple):
    """A text as a model and its neighbours see it, place by place."""

    nats: np.ndarray
    best: np.ndarray
    evidence: knn.Evidence
    log_probs: np.ndarray
    neighbours: list[knn.Neighbours]


def ask_teacher(plan: stages.Plan, taught):
    project = stages.project(plan)
    return lambda ids: distill.ask_teacher(plan.trunk, taught, project, ids)


def ask_student(config: distill.StudentConfig, model: distill.Model):
    means = memory.contents(model.memory)
    return lambda ids: distill.ask_student(config, model, means, ids)


def told(ask, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities ``[n, V]`` and keys ``[n, K]`` of every place, in order."""
    parts = [ask(windows[i : i + 16, :-1]) for i in range(0, len(windows), 16)]
    log_probs, keys = (
        [np.asarray(x).reshape(-1, x.shape[-1]) for x in part] for part in zip(*parts, strict=True)
    )
    return np.concatenate(log_probs), np.concatenate(keys)


def asked(ask, windows: np.ndarray) -> Asked:
    """Ask a model of every place, and the neighbours of each place among earlier places."""
    (log_probs, keys), tokens = told(ask, windows), scoring.targets_of(windows)
    config, parts, near = knn.KnnConfig(), [], []
    for i, found in enumerate(knn.neighbours(config, keys, tokens)):
        some = slice(i * config.block, i * config.block + len(found.cosine))
        parts.append(knn.evidence(found, log_probs[some], tokens[some]))
        near.append(found)
    evidence = knn.Evidence(*(jnp.concatenate(x) for x in zip(*parts, strict=True)))
    nats = -log_probs[np.arange(len(tokens)), tokens]
    return Asked(nats, log_probs.argmax(1), evidence, log_probs, near)


def add_model(
    results, corpus, row: str, ask, seconds: float, tail: np.ndarray, scored: np.ndarray
) -> dict[str, np.ndarray]:
    """A model, the same with neighbours, and what no model can have."""
    chosen = knn.fit_gate(asked(ask, tail).evidence)
    started = time.perf_counter()
    seen = asked(ask, scored)
    scoring.add(results, corpus, row, seen.nats, seen.best, scored, seconds)
    best, sums = [], []
    start = 0
    for found in seen.neighbours:
        some = slice(start, start + len(found.cosine))
        start = some.stop
        mixed = knn.mixture(chosen, found, jnp.asarray(seen.log_probs[some]))
        best.append(mixed.argmax(1))
        sums.append(np.abs(np.asarray(mixed.sum(1)) - 1).max())
    if max(sums) > 1e-4:
        raise ValueError(f"{row} + kNN: probabilities sum to 1 within {max(sums):.1e}, not 1e-4")
    gate = {name: float(x) for name, x in chosen._asdict().items()}
    nats = knn.nats(chosen, seen.evidence)
    took = time.perf_counter() - started
    scoring.add(
        results,
        corpus,
        f"{row} + kNN",
        nats,
        np.concatenate(best),
        scored,
        took,
        gate=gate,
        sums=float(max(sums)),
    )
    cost = knn.oracle(seen.evidence)
    scoring.add(results, corpus, f"{row} + kNN, oracle: not a model", cost, None, scored, float("nan"))
    return {row: seen.nats, f"{row} + kNN": np.asarray(nats)}


def add_plain(results, corpus, row: str, ask, scored: np.ndarray, seconds: float, **more) -> None:
    """A model without neighbours."""
    log_probs, tokens = told(ask, scored)[0], scoring.targets_of(scored)
    nats = -log_probs[np.arange(len(tokens)), tokens]
    scoring.add(results, corpus, row, nats, log_probs.argmax(1), scored, seconds, **more)


def add_artifact(results, corpus, workdir, config, model, scored) -> None:
    """The student packed, unpacked, and scored again."""
    started = time.perf_counter()
    packed = artifact.pack(config, model)
    path = workdir / "model.eam"
    path.write_bytes(packed)
    config, model = artifact.unpack(path.read_bytes())
    seconds = time.perf_counter() - started
    size, code = len(packed), artifact.code_bytes()
    ask = ask_student(config, model)
    add_plain(results, corpus, "EAM, int8 and back", ask, scored, seconds, model_bytes=size, code_bytes=code)
    print(f"packed: {size:,} bytes and {code:,} of code, {size + code:,} in all")


def explain(results: tables.Results, costs: dict[str, np.ndarray]) -> None:
    """Transfer as published and over the headroom, and how sure the differences of rows are."""
    ce: dict[str, Any] = {row["row"]: row["ce"] for row in results.rows}
    taught, unigram = ce["teacher"], ce["unigram (add 0.1)"]
    names = ("unigram (add 0.1)", "bigram (Kneser-Ney 2)", "EAM, as published", "EAM", "EAM, int8 and back")
    found = {}
    for row in names:
        plain, head = 1 - (ce[row] - taught) / taught, (unigram - ce[row]) / (unigram - taught)
        found[row] = {"transfer": plain, "headroom": head}
        print(f"transfer of {row}: {plain:.1%} as published, {head:.1%} of the way from unigram to teacher")
    for row, other in (("EAM", "teacher"), ("EAM + kNN", "teacher"), ("EAM + kNN", "teacher + kNN")):
        # By hundreds of tokens, for neighbours in the text are alike.
        gap = costs[row] - costs[other]
        parts = gap[: len(gap) // 100 * 100].reshape(-1, 100).mean(1)
        error = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else float("nan")
        found[f"{row} - {other}"] = {"nats": float(gap.mean()), "error": error}
        print(f"{row} less {other}: {gap.mean():+.4f} nats a token, standard error {error:.4f}")
    with_dashes = dict.fromkeys(tables.COLUMNS, float("nan"))
    results.add("transfer", **with_dashes, transfer=found)


if __name__ == "__main__":
    base.run(main)
