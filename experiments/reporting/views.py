"""The pictures of a run's ``views.jsonl``, see `experiments.shared.views`, as they were read."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.reporting import lines
from experiments.shared.views import FILE


@dataclasses.dataclass
class Views:
    """The pictures of one workdir.

    Attributes:
      pictures: the newest numbers of each picture, by the name of its file.
      genome: the newest genome that a search found; None where there is none.
    """

    pictures: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    genome: Mapping[str, Any] | None = None


def read(folder: pathlib.Path, problems: list[str]) -> Views:
    """Read the pictures of a workdir; a line that holds none is named in ``problems``."""
    found, path = Views(), folder / FILE
    if not path.is_file():
        return found
    for number, record in lines.records(path, problems):
        if isinstance(record.get("picture"), str) and isinstance(record.get("panels"), list):
            found.pictures[record["picture"]] = record
        elif "genome" in record and isinstance(record.get("shape"), list):
            found.genome = record
        else:
            problems.append(f"{path} line {number} is not a picture: it is left out")
    return found
