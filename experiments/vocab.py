"""The seventeen vocabulary-space models, as published and mended, on equal tokens beside counts of the same.

python -m experiments.vocab --models=v8_graph,v9_meta --steps=1200 --corpus=movie_reviews.txt
"""

import dataclasses
import hashlib
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import base, inspecting
from experiments.shared import machine, plots, scoring, tables
from wnn_jax import training
from wnn_jax.data import streams, text
from wnn_jax.saving import progress
from wnn_jax.vocab import artifact, recipe, skeleton, zoo

FLAGS = flags.FLAGS
HOPS = (1, 2, 4, 8)

base.define_common_flags("vocab")
base.define_text_flags()
flags.DEFINE_list("models", ["v8_graph", "v9_meta"], "Models by either of their names, or all.")
flags.DEFINE_list(
    "repairs", None, f"Of {', '.join(recipe.REPAIRS)}; default: those that suit a model; empty for none."
)
flags.DEFINE_bool("published", True, "Whether each model is also trained without repairs.")
flags.DEFINE_bool("leaky", False, "Whether each is also trained as published and reading the future.")
flags.DEFINE_integer("steps", 1200, "Steps of training.")
flags.DEFINE_integer("tokens_per_step", 128, "Tokens a step, a multiple of --window.")
flags.DEFINE_integer("window", 64, "Tokens a model sees at once.")
flags.DEFINE_integer("eval_tokens", 65_536, "Tokens of the test split that are scored.")
flags.DEFINE_integer("hops", 8, "Steps of the residual stream; v4 and v16 have their own, or as few.")
flags.DEFINE_integer("rank", 8, "Of v8's word graph.")
flags.DEFINE_enum("ablate", "none", ["none", "hops", "repairs"], "Vary the hops, or the repairs one by one.")
flags.DEFINE_string("inspect", None, "A text: what each model says of the next word after every hop.")
flags.DEFINE_string("resume", None, "Folder to save training to, and to continue from.")


class Task(NamedTuple):
    """One row to come: a model, and what mends it."""

    row: str
    config: skeleton.VocabConfig
    repairs: tuple[str, ...]


class Data(NamedTuple):
    """The text of all rows.

    Attributes:
      corpus: where it comes from.
      train: windows ``int32 [N, window + 1]`` of the budget.
      scored, learnt: windows of the test split and of what was trained on that overlap by half: of each the
        second half is scored, which has half a window or more before it.
    """

    corpus: text.Corpus
    train: np.ndarray
    scored: np.ndarray
    learnt: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """The scored halves ``[N, window / 2 + 1]``, as windows that follow each other."""
        return self.scored[:, self.scored.shape[1] // 2 :]


class Made(NamedTuple):
    """A trained model: its numbers, those of its words, its last loss, its cost."""

    params: Any
    places: np.ndarray
    finite: bool
    seconds: float
    tokens_per_second: float


def main() -> None:
    check_flags()
    workdir = tables.make_workdir(FLAGS.workdir)
    data = load_data()
    vocabulary = data.corpus.vocabulary
    tasks = plan_tasks(vocabulary)
    need = 12 * 4 * max(skeleton.parameters(task.config) for task in tasks)
    need += 40 * FLAGS.hops * 4 * FLAGS.tokens_per_step * vocabulary
    machine.check_memory(need, "lower --tokens_per_step, or take a smaller vocabulary")
    budget, distinct = FLAGS.steps * FLAGS.tokens_per_step, data.train[:, 1:].size
    config = {name: getattr(FLAGS, name) for name in ("steps", "tokens_per_step", "window", "hops", "rank")}
    results = tables.Results(
        workdir,
        {
            "experiment": "vocab",
            "config": config,
            "seed": FLAGS.seed,
            "train_tokens": budget,
            "distinct_tokens": distinct,
            "eval_tokens": data.targets[:, 1:].size,
        },
    )
    passes = "" if budget <= distinct else f" ({budget / distinct:.1f} passes over {distinct:,})"
    print(
        f"{data.corpus.description}: {budget:,} training tokens{passes} in {FLAGS.steps:,} steps, "
        f"{data.targets[:, 1:].size:,} scored, {vocabulary:,} ids; {machine.device()}; seed {FLAGS.seed}"
    )
    scoring.add_baselines(results, data.corpus, data.train, data.targets, (2, 3, 5))
    baselines = [row["row"] for row in results.rows]
    inspected = encode(FLAGS.inspect) if FLAGS.inspect else None
    for task in tasks:
        made = train(task, data)
        add(results, task, made, data, workdir)
        if inspected:
            path = workdir / f"hops_{slug(task.row)}.png"
            inspecting.show(path, task.row, task.config, made, *inspected)
    show_table(results)
    known = {row["row"]: [row["ce"]] for row in results.rows if row["ce"] is not None}
    label = "test cross-entropy, nats a token; less is better, gray: counts"
    plots.bars(workdir / "vocab.png", known, label, gray=baselines)
    print(f"results, packed models and pictures in {workdir}")


def check_flags() -> None:
    recipe.check(FLAGS.repairs or ())
    for name in ("steps", "tokens_per_step", "window", "eval_tokens", "hops", "rank"):
        if getattr(FLAGS, name) < 1:
            raise ValueError(f"--{name} must be positive, got {getattr(FLAGS, name)}")
    if FLAGS.window % 2:
        raise ValueError(f"--window must be even, got {FLAGS.window}: windows overlap by half when scored")
    if FLAGS.tokens_per_step % FLAGS.window:
        raise ValueError(
            f"--tokens_per_step must be a multiple of --window, got {FLAGS.tokens_per_step} "
            f"and {FLAGS.window}"
        )


def load_data() -> Data:
    """Windows of the budget, or of all the training text there is."""
    corpus = text.load(text.TextConfig(**base.text_settings()))
    if not 32 <= corpus.vocabulary <= 8192:
        raise ValueError(
            f"a state has a number a word, so these models take 32 to 8,192 ids, not {corpus.vocabulary:,}: "
            "choose another --tokenizer"
        )
    budget = FLAGS.steps * FLAGS.tokens_per_step
    train = streams.cut(corpus.train[: budget + 1], FLAGS.window)
    if len(train) < FLAGS.tokens_per_step // FLAGS.window:
        raise ValueError(
            f"the training text has {len(train)} windows of {FLAGS.window} and a step takes "
            f"{FLAGS.tokens_per_step // FLAGS.window}: lower --tokens_per_step"
        )
    tokens = FLAGS.eval_tokens + FLAGS.window // 2 + 1
    parts = corpus.test, streams.stream(train)
    return Data(corpus, train, *(streams.overlapping(x[:tokens], FLAGS.window) for x in parts))


def encode(words: str) -> tuple[np.ndarray, list[str]]:
    """Ids of a text by the run's tokenizer, and every id's word."""
    tokenizer = text.tokenizer_of(text.TextConfig(**base.text_settings()))
    pieces = [x.decode("utf-8", "replace") or f"<{i}>" for i, x in enumerate(tokenizer.pieces)]
    return tokenizer.encode(words), pieces


def plan_tasks(vocabulary: int) -> list[Task]:
    """The rows to come, in the order of the table."""
    names = list(zoo.NAMES) if FLAGS.models == ["all"] else FLAGS.models

    def task(row: str, name: str, repairs: tuple[str, ...], leaky: bool = False, hops: int = 0) -> Task:
        sizes = dataclasses.replace(zoo.scaled(vocabulary, hops or FLAGS.hops), rank=FLAGS.rank)
        config = zoo.config(name, vocabulary, sizes, leaky)
        repairs = recipe.fitting(config, repairs)
        return Task(row, recipe.repaired(config, repairs), repairs)

    tasks = []
    for name in names:
        mended = recipe.chosen(name) if FLAGS.repairs is None else tuple(FLAGS.repairs)
        if FLAGS.published:
            tasks.append(task(f"{name}, as published", name, ()))
        if FLAGS.leaky:
            tasks.append(task(f"{name}, as published, leaky", name, (), leaky=True))
        if FLAGS.ablate == "hops":
            tasks += [task(f"{name}, {n} hop{'s' * (n > 1)}", name, mended, hops=n) for n in HOPS]
        elif FLAGS.ablate == "repairs":
            fit = task(name, name, mended).repairs
            tasks += [task(f"{name}, only {one}", name, (one,)) for one in fit]
            tasks += [task(f"{name}, without {one}", name, tuple(x for x in fit if x != one)) for one in fit]
        if mended and FLAGS.ablate != "hops":
            tasks.append(task(name, name, mended))
    if not tasks:
        raise ValueError("nothing to train: --nopublished without --repairs")
    return tasks


def slug(row: str) -> str:
    """A row's name as a file's."""
    return row.replace(", ", "-").replace(" ", "_")


def train(task: Task, data: Data) -> Made:
    """Train a row's model, from where it was saved if it was."""
    config, rows = task.config, FLAGS.tokens_per_step // FLAGS.window
    key = jax.random.key(FLAGS.seed)
    places = recipe.places(task.repairs, data.train[:, :-1].ravel(), config.vocabulary)
    windows = places[data.train]
    params = skeleton.init(jax.random.fold_in(key, 1), config)
    params = recipe.start(task.repairs, config, params, windows[:, :-1].ravel())

    def loss(params, key, batch):
        windows, numbers = batch
        return skeleton.objective(config, params, windows, jax.random.fold_in(key, numbers[0]))

    steps = training.Steps(FLAGS.steps, rows, max(1, min(50, FLAGS.steps // 10)))
    with tqdm(total=FLAGS.steps, desc=task.row, unit="step") as bar:

        def show(reached: training.Trained) -> None:
            bar.set_postfix_str(f"loss {reached.losses[-1]:.3f}")
            bar.update(reached.done - bar.n)

        found = training.train(
            jax.random.fold_in(key, 2),
            recipe.recipe(task.repairs).optimiser(FLAGS.steps),
            steps,
            params,
            loss,
            (windows, np.arange(len(windows))),
            fixed=jax.random.fold_in(key, 3),
            saved=open_progress(task, data),
            on_step=show,
        )
    params = jax.tree.map(jnp.asarray, found.params)
    return Made(params, places, found.finite, found.seconds, found.rate * FLAGS.tokens_per_step)


def open_progress(task: Task, data: Data) -> progress.Progress | None:
    if not FLAGS.resume:
        return None
    about = {
        "model": repr(task.config),
        "repairs": list(task.repairs),
        "tokens": hashlib.sha256(data.train.tobytes()).hexdigest(),
        "steps": FLAGS.steps,
        "tokens_per_step": FLAGS.tokens_per_step,
        "seed": FLAGS.seed,
    }
    return progress.Progress(pathlib.Path(FLAGS.resume) / slug(task.row), about)


def told(
    config: skeleton.VocabConfig, params, windows: np.ndarray, skip: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Nats and best guesses ``[N (T - skip)]`` of all windows' tokens but the first ``skip``, in order."""
    size = min(32, len(windows))
    nats, best = [], []
    for at in range(0, len(windows), size):
        some = windows[at : at + size]
        # The last batch is filled up, so that one shape is compiled.
        full = np.concatenate([some, np.repeat(some[-1:], size - len(some), 0)])
        found = skeleton.told(config, params, full)
        nats.append(np.asarray(found[0])[: len(some), skip:].ravel())
        best.append(np.asarray(found[1])[: len(some), skip:].ravel())
    return np.concatenate(nats).astype(np.float64), np.concatenate(best)


def add(results: tables.Results, task: Task, made: Made, data: Data, workdir: pathlib.Path) -> None:
    """The row of a trained model, and its file."""
    config, ids = task.config, np.argsort(made.places)
    size = skeleton.parameters(config)
    if not made.finite:
        unknown = dict.fromkeys((*tables.COLUMNS, "gap", "int8", "copy"), float("nan"))
        results.add(task.row, **unknown | {"seconds": made.seconds}, parameters=size)
        return
    half = FLAGS.window // 2
    nats, best = told(config, made.params, made.places[data.scored], half)
    seen = told(config, made.params, made.places[data.learnt], half)[0]
    path = workdir / f"{slug(task.row)}.vocab"
    path.write_bytes(artifact.pack(config, made.params, made.places))
    again = artifact.unpack(path.read_bytes())
    packed = told(again[0], again[1], again[2][data.scored], half)[0]
    scoring.add(
        *(results, data.corpus, task.row, nats, ids[best], data.targets, made.seconds),
        parameters=size,
        repairs=list(task.repairs),
        gap=float(nats.mean() - seen.mean()),
        int8=float(packed.mean() - nats.mean()),
        packed_bytes=path.stat().st_size,
        copy=copied(task, made, data),
        tokens_per_second=made.tokens_per_second,
    )


def copied(task: Task, made: Made, data: Data) -> float:
    """Nats that a random text gets cheaper the second time it comes: what is repeated, not what is likely."""
    half = FLAGS.window // 2
    if half < 2:
        return float("nan")
    rng = np.random.default_rng(FLAGS.seed)
    once = rng.choice(data.train.ravel(), (256, half))
    twice = made.places[np.concatenate([once, once, once[:, :1]], 1)]
    nats = told(task.config, made.params, twice)[0].reshape(256, -1)
    # Neither the first words, which follow nothing, nor the seam.
    return float(nats[:, : half - 1].mean() - nats[:, half : 2 * half - 1].mean())


def show_table(results: tables.Results) -> None:
    columns = {
        "parameters": "{:,}",
        "ce": "{:.4f}",
        "bits_per_byte": "{:.4f}",
        "accuracy": "{:.2%}",
        "gap": "{:+.3f}",
        "int8": "{:+.4f}",
        "copy": "{:+.3f}",
        "tokens_per_second": "{:,.0f}",
        "seconds": "{:.1f}",
    }
    cells = {
        row["row"]: [
            "-" if row.get(name) is None else form.format(row[name]) for name, form in columns.items()
        ]
        for row in results.rows
    }
    heads = ("parameters", "CE", "bits/byte", "accuracy", "gap", "int8", "copy", "tokens/s", "seconds")
    tables.print_grid("", cells, heads)
    print(
        "gap: CE of the test text less that of text trained on. int8: what packing costs. copy: what a "
        "random text gets cheaper when it comes again."
    )


if __name__ == "__main__":
    base.run(main)
