"""The search of `experiments.bitwise`: flags, phases, the bar, resuming, pictures.

Three parts of the training stream: *folds*, of which one is scored while the others are fitted; and the
tail, which only validates. The evaluated text is not seen here.
"""

import dataclasses
import hashlib
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from experiments.shared import plots
from wnn_jax import ram, search
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.saving import progress

FLAGS = flags.FLAGS

flags.DEFINE_list("search", [], "Search the connectivity by ga, tabu, annealing, random: several in turn.")
flags.DEFINE_list(
    "phases", ["all"], "What each may change, in turn: grid, neurons, bits, connections, all, a+b."
)
flags.DEFINE_integer("generations", 200, "Steps of each algorithm in each phase.")
flags.DEFINE_integer("min_neurons", None, "Fewest neurons a cluster; default: --neurons.")
flags.DEFINE_integer("max_neurons", None, "Most neurons a cluster; default: --neurons.")
flags.DEFINE_integer("min_bits", 4, "Fewest address bits a neuron.")
flags.DEFINE_integer("max_bits", None, "Most address bits a neuron; default: --bits.")
flags.DEFINE_list("grid_neurons", ["50", "100", "150", "200"], "Neurons of the grid phase.")
flags.DEFINE_list("grid_bits", ["14", "16", "18", "20"], "Address bits of the grid phase.")
flags.DEFINE_integer("population", 50, "Genomes of ga.")
flags.DEFINE_integer("elites", 5, "Genomes that ga keeps unchanged.")
flags.DEFINE_integer("tournament", 3, "Genomes drawn for each parent of ga.")
flags.DEFINE_float("crossover", 0.7, "Probability that a child of ga has two parents.")
flags.DEFINE_float("mutation", 0.01, "Probability that a neuron of a child moves.")
flags.DEFINE_integer("starts", 1, "Starts of tabu, chains of annealing, genomes a step of random.")
flags.DEFINE_integer("sites", 16, "Neurons of every cluster that a step of tabu considers.")
flags.DEFINE_integer("neighbours", 4, "Moves that tabu considers for each of them.")
flags.DEFINE_integer("tenure", 10, "Steps for which a moved neuron is tabu.")
flags.DEFINE_float("temperature", 2e-5, "First temperature of annealing, in nats.")
flags.DEFINE_float("cooling", 0.995, "Factor on the temperature, every step.")
flags.DEFINE_float("caution", 1.0, "Standard errors by which a move of tabu or annealing must be better.")
flags.DEFINE_integer("ramp", 0, "Steps over which tabu becomes so cautious.")
flags.DEFINE_enum("fitness", "ce", search.FITNESSES, "What makes a genome fit.")
flags.DEFINE_float("accuracy_floor", 0.0, "A genome below it is unfit.")
flags.DEFINE_float("size_weight", 0.0, "Nats that a mebibit of table costs.")
flags.DEFINE_integer("folds", 3, "Parts of the training stream, of which one is scored.")
flags.DEFINE_integer("rotate", 10, "Score another fold after so many steps; 0: never.")
flags.DEFINE_integer("check", 20, "Validate the best genome after so many steps.")
flags.DEFINE_integer("patience", 0, "End a phase after so many validations without gain; 0: never.")
flags.DEFINE_integer("adapt_every", 0, "Grow and prune by statistics after so many steps; 0: never.")
flags.DEFINE_integer("fit_budget", None, "End a phase once it has fitted so many neurons.")
flags.DEFINE_integer("cache_mib", 4096, "Most MiB of votes that may be kept.")
flags.DEFINE_string("resume", None, "Folder to save progress to, and to continue from.")
flags.DEFINE_integer("save_every", 20, "Steps between two saves to --resume.")
flags.DEFINE_bool("tensorboard", False, "Also write TensorBoard events to the workdir.")
flags.DEFINE_string("coordinator", None, "host:port of process 0, to search on several hosts.")
flags.DEFINE_integer("num_processes", 1, "Processes of such a search.")
flags.DEFINE_integer("process_id", 0, "Which of them this is.")

VALIDATION = 10  # one part in so many of the training stream, its tail
_GAIN = 1e-4  # nats that count as a gain
_SETTINGS = (
    *("search", "phases", "generations", "min_neurons", "max_neurons", "min_bits", "max_bits"),
    *("grid_neurons", "grid_bits", "population", "elites", "tournament", "crossover", "mutation"),
    *("starts", "sites", "neighbours", "tenure", "temperature", "cooling", "caution", "ramp"),
    *(
        "fitness",
        "accuracy_floor",
        "size_weight",
        "folds",
        "rotate",
        "check",
        "patience",
        "adapt_every",
        "fit_budget",
    ),
)


def connect() -> None:
    """Join the other processes, before JAX is used."""
    if FLAGS.num_processes > 1 or FLAGS.coordinator:
        if not FLAGS.coordinator or not 0 <= FLAGS.process_id < FLAGS.num_processes:
            raise ValueError(
                "several processes need --coordinator=host:port and --process_id from 0 to "
                f"--num_processes - 1, got process {FLAGS.process_id} of {FLAGS.num_processes}"
            )
        if FLAGS.resume:
            raise ValueError("--resume saves the progress of one process: drop it, or --num_processes")
        jax.distributed.initialize(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)


def settings() -> dict[str, Any]:
    """Everything that decides what is found, as plain data."""
    return {name: getattr(FLAGS, name) for name in _SETTINGS}


def bounds(config: bitwise.BitwiseConfig) -> connectivity.Bounds:
    """The genomes that the flags allow."""
    return connectivity.Bounds(
        config.input_bits,
        FLAGS.min_neurons or min(config.neurons, FLAGS.max_neurons or config.neurons),
        FLAGS.max_neurons or config.neurons,
        FLAGS.min_bits,
        FLAGS.max_bits or config.address_bits,
        group=config.clusters,
    )


@dataclasses.dataclass
class Progress:
    """What a search has come to, beside the state of the algorithm at work."""

    phase: int
    generation: int
    fits: int  # in this phase
    winner: np.ndarray  # best genome by validation
    winner_ce: float
    stale: int  # validations without gain
    history: list[dict[str, Any]]
    seconds: float = 0.0  # over all its runs


class Search:
    """One search: what does not change while it runs."""

    def __init__(self, config, train: ram.Examples, start: jax.Array, seed: int):
        model_bounds = bounds(config)
        weigh = search.FitnessConfig(
            FLAGS.fitness, accuracy_floor=FLAGS.accuracy_floor, size_weight=FLAGS.size_weight
        )
        devices = jax.devices()
        self.mesh = Mesh(np.array(devices), ("population",)) if len(devices) > 1 else None
        self.objective = search.Objective(config, model_bounds, weigh, self.mesh)
        self.phases = search.parse(FLAGS.search, FLAGS.phases)
        self.check_flags(train.targets.shape)
        self.key = jax.random.key(seed)
        seeds = ram.seeds(self.key, config.memory, config.clusters, model_bounds.max_neurons)
        cut = train.targets.shape[1] // VALIDATION * (VALIDATION - 1)
        kept = ram.Examples(train.words[:, :cut], train.targets[:, :cut])
        self.stream = self.everywhere(kept)
        self.seeds = self.everywhere(seeds)
        tail = search.Data(kept, train.words[:, cut:], train.targets[:, cut:], seeds)
        self.tail = self.everywhere(tail)
        start = connectivity.pad(start.astype(connectivity.dtype_for(config.input_bits)), model_bounds)
        self.start = self.everywhere(start)
        self.fold = self.jit(lambda stream, seeds, i: search.fold(stream, seeds, i, FLAGS.folds))
        self.rescore = self.jit(lambda data, state: search.rescore(self.objective, data, state))
        self.score = self.jit(lambda data, genomes: search.evaluated(self.objective, data, genomes)[1])
        self.adapt = self.jit(self._adapt)

    def check_flags(self, shape) -> None:
        for name in ("generations", "population", "starts", "sites", "neighbours", "check", "save_every"):
            if getattr(FLAGS, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(FLAGS, name)}")
        for phase in self.phases:  # what an algorithm refuses, it refuses here and not hours later
            if phase.algorithm == "grid":
                search.grid(jax.random.key(0), self.objective, *_grid_flags())
            else:
                self.algorithm(phase)
        if FLAGS.folds < 2 or shape[1] < VALIDATION * FLAGS.folds:
            raise ValueError(
                f"--folds must be at least 2 and leave a token each, got {FLAGS.folds} of {shape[1]} tokens"
            )
        genomes = max(self.population(phase) for phase in self.phases) + 1
        scored = shape[1] // VALIDATION * (VALIDATION - 1) // FLAGS.folds
        self.cache_mib = genomes * shape[0] * scored * 4 / 2**20
        if self.cache_mib > FLAGS.cache_mib:
            raise ValueError(
                f"the votes of {genomes} genomes on {scored:,} tokens take {self.cache_mib:.0f} MiB, more "
                f"than --cache_mib={FLAGS.cache_mib}: raise --folds, or lower --population or --starts"
            )

    def algorithm(self, phase: search.Phase) -> search.SearchAlgorithm:
        dimensions = phase.dimensions
        if phase.algorithm == "ga":
            rates = {"crossover": FLAGS.crossover, "mutation": FLAGS.mutation, "dimensions": dimensions}
            sizes = (FLAGS.population, FLAGS.elites, FLAGS.tournament)
            return search.genetic(self.objective, search.GeneticConfig(*sizes, **rates))
        if phase.algorithm == "tabu":
            hood = search.TabuConfig(
                FLAGS.sites,
                FLAGS.neighbours,
                FLAGS.tenure,
                caution=FLAGS.caution,
                ramp=FLAGS.ramp,
                dimensions=dimensions,
            )
            return search.tabu(self.objective, hood)
        if phase.algorithm == "annealing":
            cooling = search.AnnealingConfig(FLAGS.temperature, FLAGS.cooling, FLAGS.caution, dimensions)
            return search.annealing(self.objective, cooling)
        fresh = search.RandomConfig(FLAGS.starts, self.objective.model.neurons)
        return search.random_search(self.objective, fresh)

    def population(self, phase: search.Phase) -> int:
        if phase.algorithm == "grid":
            return len(FLAGS.grid_neurons) * len(FLAGS.grid_bits)
        return FLAGS.population if phase.algorithm == "ga" else FLAGS.starts

    def everywhere(self, tree):
        """On every device of the mesh."""
        return search.replicate(self.mesh, tree)

    def jit(self, function):
        if self.mesh is None:
            return jax.jit(function)
        return jax.jit(function, out_shardings=NamedSharding(self.mesh, PartitionSpec()))

    def run(self) -> Progress:
        """The best genome by validation, and how it was found."""
        self.clock = time.perf_counter()
        saved = self.open_progress()
        found = saved.latest() if saved else None
        validated = float(self.score(self.tail, self.start[None]).ce[0])
        done = Progress(0, 0, 0, np.asarray(self.start), validated, 0, [])
        genomes, resumed = self.first_genomes(), None
        if found:
            arrays, data = found
            resumed = arrays
            done = Progress(**{**data, "winner": np.asarray(arrays["winner"])})
            genomes = self.everywhere(jnp.asarray(arrays["genomes"]))
        elif FLAGS.process_id == 0:
            print(f"search: {self.cache_mib:.0f} MiB of votes kept; start: validation {validated:.4f}")
        while done.phase < len(self.phases):
            genomes = self.run_phase(done, genomes, resumed, saved)
            done.phase, done.generation, done.fits, done.stale = done.phase + 1, 0, 0, 0
            resumed = None
            if saved:
                saved.save({"genomes": genomes, "winner": done.winner}, _plain(done))
        return done

    def open_progress(self) -> progress.Progress | None:
        if not FLAGS.resume or FLAGS.process_id:
            return None
        text = hashlib.sha256(np.asarray(self.stream.words).tobytes()).hexdigest()
        model = dataclasses.asdict(self.objective.model)
        seed = np.asarray(jax.random.key_data(self.key)).tolist()
        about = {"search": settings(), "model": model, "text": text, "seed": seed}
        return progress.Progress(FLAGS.resume, about)

    def first_genomes(self) -> jax.Array:
        """The start and random others of its size."""
        count = max(max(self.population(phase) for phase in self.phases) - 1, 0)
        sizes = connectivity.neurons_present(self.start).max(), (self.start >= 0).sum(axis=-1).max()
        clusters = self.objective.model.clusters

        def draw(key):
            return connectivity.sized(key, self.objective.bounds, clusters, *sizes)

        if not count:
            return self.start[None]
        others = jax.vmap(draw)(jax.random.split(jax.random.fold_in(self.key, 0), count))
        return self.everywhere(jnp.concatenate([self.start[None], others.astype(self.start.dtype)]))

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self.clock = self.clock, time.perf_counter()
        return self.clock - before

    def run_phase(self, done: Progress, genomes, resumed, saved) -> jax.Array:
        """One phase from where it is; returns its genomes, fittest first."""
        phase = self.phases[done.phase]
        phase_key = jax.random.fold_in(self.key, 1 + done.phase)
        if phase.algorithm == "grid":
            sizes = self.everywhere(search.grid(phase_key, self.objective, *_grid_flags()))
            scores = self.score(self.data(0), sizes)
            genomes = search.handed_on(self.objective, sizes.astype(self.start.dtype), scores)
            self.validate(done, phase, genomes[0], float(scores.ce.min()), float(scores.ce.mean()))
            return genomes
        algorithm = self.algorithm(phase)
        init, step = self.jit(algorithm.init), self.jit(algorithm.step)
        data = self.data(done.generation)
        wanted = self.population(phase)
        state = init(data, genomes[jnp.resize(jnp.arange(len(genomes)), (wanted,))])
        if resumed is not None and done.generation:
            state = self.restored(state, resumed, data)
        bar = tqdm(
            total=FLAGS.generations,
            initial=done.generation,
            desc=phase.name,
            unit="gen",
            leave=False,
            disable=FLAGS.process_id != 0,
        )
        started, candidates = time.perf_counter(), 0
        with bar:
            try:
                while done.generation < FLAGS.generations and not self.exhausted(done):
                    key = self.everywhere(jax.random.fold_in(phase_key, done.generation))
                    state, info = step(key, data, state)
                    done.generation += 1
                    done.seconds += self.lap()
                    done.fits += int(info.fits)
                    candidates += int(info.candidates)
                    state, data = self.between(done, key, state, data)
                    self.report(done, phase, state, info)
                    rate, mean = candidates / (time.perf_counter() - started), float(info.ce.mean())
                    bar.set_postfix_str(
                        f"best {float(state.best_scores.ce):.4f} mean {mean:.4f} {rate:.0f} genomes/s"
                    )
                    bar.update()
                    if saved and done.generation % FLAGS.save_every == 0:
                        self.save(saved, done, state)
            except KeyboardInterrupt:
                if saved:
                    self.save(saved, done, state)
                print(f"stopped; best so far: validation {done.winner_ce:.4f}")
                raise
        pool = jnp.concatenate([state.best[None], state.genomes])
        scores = jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), state.best_scores, state.scores)
        return search.handed_on(self.objective, pool, scores)

    def exhausted(self, done: Progress) -> bool:
        spent = FLAGS.fit_budget is not None and done.fits >= FLAGS.fit_budget
        return spent or bool(FLAGS.patience and done.stale >= FLAGS.patience)

    def data(self, generation: int) -> search.Data:
        index = generation // FLAGS.rotate % FLAGS.folds if FLAGS.rotate else 0
        return self.fold(self.stream, self.seeds, self.everywhere(jnp.int32(index)))

    def between(self, done: Progress, key, state, data):
        """What happens between generations: adaptation, and another fold."""
        if FLAGS.adapt_every and done.generation % FLAGS.adapt_every == 0:
            adapted = self.adapt(self.everywhere(jax.random.fold_in(key, 1)), data, state.genomes)
            state = self.rescore(data, state._replace(genomes=adapted))
        if FLAGS.rotate and done.generation % FLAGS.rotate == 0:
            data = self.data(done.generation)
            state = self.rescore(data, state)
        return state, data

    def _adapt(self, key, data, genomes):
        def one(pair):
            return search.adapt(pair[0], self.objective, search.AdaptationConfig(), data, pair[1])

        return jax.lax.map(one, (jax.random.split(key, len(genomes)), genomes))

    def report(self, done: Progress, phase, state, info) -> None:
        best, mean = float(state.best_scores.ce), float(info.ce.mean())
        if done.generation % FLAGS.check == 0 or done.generation == FLAGS.generations:
            self.validate(done, phase, state.best, best, mean)
        else:
            done.history.append(self.line(done, phase, best, mean, float(state.best_scores.table)))

    def validate(self, done: Progress, phase, genome, best, mean) -> None:
        """Score a genome on text that no step has seen, and keep it if it is the best so."""
        scores = self.score(self.tail, genome[None])
        ce = float(scores.ce[0])
        done.stale = 0 if ce < done.winner_ce - _GAIN else done.stale + 1
        if ce < done.winner_ce:
            done.winner, done.winner_ce = np.asarray(genome), ce
        line = self.line(done, phase, best, mean, float(scores.table[0]))
        done.history.append({**line, "validation": ce})

    def line(self, done: Progress, phase, best, mean, table) -> dict[str, Any]:
        place = {"phase": phase.name, "generation": done.generation, "fits": done.fits}
        return {**place, "best": best, "mean": mean, "table_mebibits": table}

    def save(self, saved: progress.Progress, done: Progress, state) -> None:
        memory = {f"memory_{i}": x for i, x in enumerate(jax.tree.leaves(state.memory))}
        arrays = {"genomes": state.genomes, "best": state.best, "step": state.step, "winner": done.winner}
        saved.save({**arrays, **memory}, _plain(done))

    def restored(self, state, arrays, data):
        """The saved state. Votes and scores are computed again: integers, so they are what they were."""
        tree = jax.tree.structure(state.memory)
        memory = [arrays[f"memory_{i}"] for i in range(tree.num_leaves)]
        state = state._replace(
            genomes=jnp.asarray(arrays["genomes"]),
            best=jnp.asarray(arrays["best"]),
            memory=jax.tree.unflatten(tree, [jnp.asarray(x) for x in memory]),
            step=jnp.asarray(arrays["step"]),
        )
        return self.rescore(data, self.everywhere(state))


def _grid_flags() -> tuple[list[int], list[int]]:
    try:
        return [int(x) for x in FLAGS.grid_neurons], [int(x) for x in FLAGS.grid_bits]
    except ValueError as error:
        raise ValueError(f"--grid_neurons and --grid_bits are lists of numbers: {error}") from error


def _plain(done: Progress) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(done).items() if name != "winner"}


def show(workdir: pathlib.Path, start: jax.Array, done: Progress, context: int) -> None:
    """Pictures of a search, its history, and a table of its phases."""
    history = done.history
    checks = [line for line in history if "validation" in line]
    print(f"{'phase':>24} {'generation':>10} {'fits':>12} {'best':>9} {'validation':>11} {'Mibit':>9}")
    for i, line in enumerate(checks):
        if i + 1 == len(checks) or checks[i + 1]["phase"] != line["phase"]:
            print(
                f"{line['phase']:>24} {line['generation']:>10} {line['fits']:>12,} {line['best']:>9.4f} "
                f"{line['validation']:>11.4f} {line['table_mebibits']:>9.0f}"
            )
    plots.search_curve(workdir / "search.png", history)
    plots.connections(workdir / "connections.png", np.asarray(start), done.winner, context)
    plots.size_against_ce(workdir / "size.png", checks)
    if FLAGS.tensorboard:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(workdir / "tensorboard")) as writer:
            for step, line in enumerate(history):
                for name in ("best", "mean", "validation", "table_mebibits"):
                    if name in line:
                        writer.add_scalar(f"search/{name}", line[name], step)
