"""Weightless recommenders on MovieLens: cold start, latency, forgetting, drift, new categories.

python -m experiments.recommender --data_dir=DIR
"""

import time

from absl import flags

from experiments import base
from experiments.recommending import categories, cold_start, common, drift, forgetting, latency
from experiments.shared import machine, tables
from wnn_jax.data import movielens

FLAGS = flags.FLAGS
PARTS = ("published", "cold_start", "latency", "forgetting", "drift", "bucketing", "addition")

base.define_common_flags("recommender")
common.define_data_flags()
flags.DEFINE_list("parts", list(PARTS), f"Experiments: {', '.join(PARTS)}.")
flags.DEFINE_integer("seeds", 3, "How many seeds, from --seed on.")


def main() -> None:
    unknown = [part for part in FLAGS.parts if part not in PARTS]
    if unknown or not FLAGS.parts:
        raise ValueError(f"unknown part {unknown[:1]}: --parts takes {', '.join(PARTS)}")
    if FLAGS.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {FLAGS.seeds}")
    workdir = tables.make_workdir(FLAGS.workdir)
    data = common.load_data()
    seeds = range(FLAGS.seed, FLAGS.seed + FLAGS.seeds)
    common_values = {"experiment": "recommender", "data": data.description, "seeds": FLAGS.seeds}
    results = tables.Results(workdir, common_values)
    print(f"{machine.device()}; seeds {seeds[0]} to {seeds[-1]}")
    started = time.perf_counter()
    if "published" in FLAGS.parts:
        cold_start.published(results, data, wrongly_joined(), workdir, seeds)
    if "cold_start" in FLAGS.parts:
        cold_start.fair(results, data, workdir, seeds)
    if "latency" in FLAGS.parts:
        latency.run(results, workdir)
    if "forgetting" in FLAGS.parts:
        forgetting.run(results, data, workdir, seeds)
    if "drift" in FLAGS.parts:
        drift.run(results, data, workdir, seeds)
    if "bucketing" in FLAGS.parts:
        categories.bucketing(results, data, workdir, seeds)
    if "addition" in FLAGS.parts:
        categories.addition(results, data, workdir, seeds)
    print(f"\n{time.perf_counter() - started:.0f} s; results and pictures in {workdir}")


def wrongly_joined() -> movielens.Data | None:
    """The data joined as published, by ids of different systems; None where there is no metadata to join."""
    if FLAGS.data == "made-up":
        return None
    try:
        return movielens.load(FLAGS.data_dir, FLAGS.data, join="ids")
    except ValueError as error:
        print(f"no rows of the wrong join: {error}")
        return None


if __name__ == "__main__":
    base.run(main)
