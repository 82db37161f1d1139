"""Parts that the commands of the recommender share: the flags about ratings, and cells of tables."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np

from experiments.shared import tables
from wnn_jax import checks
from wnn_jax.data import movielens, ratings
from wnn_jax.recommender import synthetic
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class RatingsConfig:
    """The ratings to read.

    Attributes:
      data: the data set. own is a folder or file of yours, --data_dir: a data set in a known form, or a file
        whose columns --columns names. made-up is a synthetic one, for machines without data.
      data_dir: folder of the data set; by default the folder movielens or lastfm in WNN_JAX_DATA, or the
        official download of MovieLens.
      bad_rows: what to do with rows that cannot be used. skip: print them and go on. refuse: stop at the
        first.
      file: the form of a file of yours, and which ratings are uses.

    Raises:
      ValueError: a value is out of range.
    """

    data: Literal["ml-latest-small", "ml-100k", "ml-1m", "lastfm", "own", "made-up"] = "ml-latest-small"
    data_dir: str | None = None
    bad_rows: Literal["skip", "refuse"] = "skip"
    file: ratings.FileConfig = ratings.FileConfig()

    def __post_init__(self):
        checks.fields(self)
        if self.data == "own" and self.data_dir is None:
            raise ValueError("--data=own needs --data_dir: give the folder or the file of the ratings")
        if self.file.columns and self.data != "own":
            raise ValueError(f"--columns describes a file of yours, but --data={self.data}: give --data=own")


class Study(NamedTuple):
    """One run of `experiments.recommender`.

    Attributes:
      results: the rows of the run.
      workdir: the folder for rows and pictures.
      data: the films and ratings.
      seeds: the seeds to run.
      answers: the scores of each part and seed; a resumed run has those of before.
      hold: the items that the study of lists holds out.
    """

    results: tables.Results
    workdir: pathlib.Path
    data: movielens.Dataset
    seeds: Sequence[int]
    answers: progress.Answers
    hold: Literal["last", "drawn"] = "last"


def load(config: RatingsConfig) -> movielens.Dataset:
    """Read the ratings. Print what was read, and the rows that were not read."""
    if config.data == "made-up":
        dataset = ratings.of_uses(synthetic.world(jax.random.key(0)), config.file.uses)
    elif config.data in ("own", "lastfm"):
        folder = config.data_dir or pathlib.Path(os.environ.get("WNN_JAX_DATA", "."), "lastfm")
        dataset = ratings.load(folder, config.file, config.bad_rows)
    else:
        read = movielens.load(config.data_dir, config.data, config.bad_rows)
        dataset = ratings.of_uses(read, config.file.uses)
    print(dataset.description)
    print_problems(dataset.problems)
    return dataset


def print_levels(dataset: movielens.Dataset) -> None:
    """Print the values of the data that whole stars stand for, unless they are stars or uses already."""
    alike = len(set(dataset.levels)) == 1
    if not alike and dataset.levels != movielens.Dataset._field_defaults["levels"]:
        words = (f"{star}: {dataset.levels[2 * star - 1]:,g} or more" for star in range(1, 6))
        print(f"stars stand for values of the data: {'; '.join(words)}")


def print_problems(problems: Sequence[movielens.Problem], most: int = 20) -> None:
    """Print the rows that were not read, at most ``most`` of them, and the number of the others."""
    for problem in problems[:most]:
        print(f"not read: {problem.file} line {problem.line}: {problem.reason}")
    if len(problems) > most:
        print(f"not read: {len(problems) - most:,} more rows; --bad_rows=refuse stops at the first")


def mean_range(values: Sequence[float], digits: int = 3) -> str:
    """Format the mean of values; if there are several, their range follows in brackets."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({np.ptp(values):.{digits}f})"
