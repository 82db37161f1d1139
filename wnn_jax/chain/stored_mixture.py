"""Saves mixtures of two chain models, and loads them: a folder with two checkpoints and the weight."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from wnn_jax import checks, files
from wnn_jax.chain import mixing, stored
from wnn_jax.chain.config import MixtureConfig
from wnn_jax.chain.mixing import MixtureModel
from wnn_jax.data.text import TextConfig
from wnn_jax.saving import checkpoint

MARK = "mixture.sealed"  # names the versions of both checkpoints that belong together, and their weight
SCHEMA = 1
_KIND = "mixture"
_MOST = 1 << 20  # the largest mark in bytes


def save(
    path: str | pathlib.Path,
    model: MixtureModel,
    text: TextConfig,
    metrics: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes both models as the next versions of their checkpoints, and returns the folder of the mixture.

    The file that says which versions belong together is written last. A save that is killed before leaves the
    mixture as it was.

    Args:
      path: the folder of the mixture.
      model: the fitted mixture.
      text: the settings of the text that it was fitted on, which are kept as a record.
      metrics: JSON data to keep with the model, such as its scores.

    Raises:
      ValueError: ``path`` holds something that is not a mixture, or cannot be written.

    Source: docs/architecture.md
    """
    root = check_target(path)
    with files.reaching(root, "write"):
        root.mkdir(parents=True, exist_ok=True)
    pair = {"first": model.first, "second": model.second}
    versions = {name: stored.save(root / name, one, text, metrics).name for name, one in pair.items()}
    about = {"rate": model.config.rate, "balance": model.balance, "versions": versions}
    files.write(root / MARK, files.seal(_KIND, SCHEMA, json.dumps(about).encode()))
    return root


def check_target(path: str | pathlib.Path) -> pathlib.Path:
    """Checks that `save` would accept a folder, and returns its absolute path.

    Args:
      path: the folder of the mixture.

    Raises:
      ValueError: the folder holds something that is not a mixture, or cannot be made or written.

    Source: docs/architecture.md
    """
    root = pathlib.Path(path).absolute()
    with files.reaching(root, "write"):
        strange = files.occupied(root, "") and not any((root / name).exists() for name in (MARK, "first"))
    if strange:
        raise ValueError(f"{root} exists and holds no mixture of chain models: choose another folder")
    files.check_place(root / MARK, folders=True)
    for name in ("first", "second"):
        checkpoint.check_target(root / name, "chain")
    return root


def holds(path: str | pathlib.Path) -> bool:
    """Returns whether a folder is that of a mixture.

    Args:
      path: the folder.

    Raises:
      ValueError: the folder cannot be looked at.

    Source: docs/architecture.md
    """
    with files.reaching(path, "read"):
        return pathlib.Path(path, MARK).exists()


def load(path: str | pathlib.Path) -> MixtureModel:
    """Reads a mixture that `save` wrote.

    Args:
      path: the folder of the mixture.

    Raises:
      ValueError: there is no mixture, it is damaged, or one of its checkpoints is refused: see `stored.load`.

    Source: docs/architecture.md
    """
    mark = pathlib.Path(path, MARK)
    body = files.opened(_KIND, SCHEMA, files.read(mark, _MOST), str(mark))
    with files.contents(str(mark)):
        about = json.loads(body)
        rate = checks.number("rate", about["rate"])
        balance = checks.number("balance", about["balance"], mixing.BALANCE)
        versions = [checks.integer(name, int(about["versions"][name])) for name in ("first", "second")]
    first, second = (
        stored.load(pathlib.Path(path, name, f"{version:08d}"))
        for name, version in zip(("first", "second"), versions, strict=True)
    )
    with files.contents(str(mark)):
        model = MixtureModel(MixtureConfig(first.config, second.config, rate), first, second, balance)
        mixing.check(model)
        if first.tokenizer.digest != second.tokenizer.digest:
            raise ValueError("its two models were fitted on texts whose ids differ")
    return model
