"""Weightless recommenders on MovieLens and other data: cold start, latency, forgetting, drift, lists.

python -m experiments.recommender --data_dir=DIR
"""

import dataclasses
import hashlib
import sys
import time
from typing import Literal, get_args

import jax
import numpy as np

from experiments.recommending import categories, cold_start, common, drift, forgetting, latency, ranking
from experiments.shared import machine, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.saving import progress

Part = Literal["published", "cold_start", "latency", "forgetting", "drift", "bucketing", "addition", "lists"]
_PARTS = {
    "cold_start": cold_start.fair,
    "latency": latency.run,
    "forgetting": forgetting.run,
    "drift": drift.run,
    "bucketing": categories.bucketing,
    "addition": categories.addition,
    "lists": ranking.run,
}


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """The experiments to run.

    Attributes:
      parts: the experiments to run.
      seeds: the number of seeds; the first is --seed.
      resume: folder to save the scores of each part and seed to, and to continue from. The part latency is
        always measured anew.
      hold: the items that the part lists holds out. last: the last in time, or a drawn fifth if there are no
        times. drawn: a drawn fifth always.
    """

    parts: tuple[Part, ...] = get_args(Part)
    seeds: int = 3
    resume: str | None = None
    hold: Literal["last", "drawn"] = "last"

    def __post_init__(self):
        checks.fields(self, seeds=Limits(least=1, most=1000))
        if not self.parts:
            raise ValueError(f"--parts names no experiment: give one or more of {', '.join(get_args(Part))}")


def main(options) -> None:
    """Run the chosen experiments, always in the same order."""
    config: StudyConfig = options.study
    checks.integer("the last seed", options.common.seed + config.seeds - 1, checks.SEED)
    workdir = tables.make_workdir(options.common.workdir)
    data = common.load(options.ratings)
    seeds = range(options.common.seed, options.common.seed + config.seeds)
    about = {"experiment": "recommender", "data": data.description, "seeds": config.seeds}
    answers = progress.Answers(config.resume, {"experiment": "recommender", "data": digest(data)})
    study = common.Study(tables.Results(workdir, about), workdir, data, seeds, answers, config.hold)
    print(f"{machine.device()}; seeds {seeds[0]} to {seeds[-1]}")
    started = time.perf_counter()
    if "published" in config.parts:
        cold_start.published(study, wrongly_joined(options.ratings))
    for name, run in _PARTS.items():
        if name in config.parts:
            run(study)
    print(f"\n{time.perf_counter() - started:.0f} s; results and pictures in {workdir}")


def digest(data: movielens.Dataset) -> str:
    """Return the SHA-256 of all ratings and films, in hexadecimal digits."""
    found = hashlib.sha256()
    for part in jax.tree.leaves(data._replace(problems=())):
        found.update(np.asarray(part).tobytes() + b";")
    return found.hexdigest()


def wrongly_joined(config: common.RatingsConfig) -> movielens.Dataset | None:
    """Read the ratings, films joined by the wrong ids as published; None if there is no metadata to join."""
    if config.data != "ml-latest-small":
        return None
    try:
        return movielens.load(config.data_dir, config.data, join="ids")
    except ValueError as error:
        print(f"no rows for films joined by the wrong ids: {error}")
        return None


COMMAND = Command("recommender", __doc__, main, study=Group(StudyConfig), ratings=Group(common.RatingsConfig))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
