"""Tables for classification and regression: well-known ones, and CSV files, as training and test rows.

    data = tables.load(tables.TableConfig("csv:flowers.csv", target="species"))

Source: docs/semantics/classify.md
"""

import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from wnn_jax import checks, files
from wnn_jax.data import spreadsheet
from wnn_jax.data.spreadsheet import Sheet
from wnn_jax.optional import need

_FIRST_ROWS = {"satimage": 4435, "shuttle": 43500}  # the training rows of the data sets that have an order
_REGRESSION = ("abalone", "winequality_white", "diabetes")
_FILES = ("letter", "satimage", "shuttle", "vehicle", "vowel", "ecoli", "abalone", "winequality_white")
_PACKAGED = ("iris", "wine", "breast_cancer", "diabetes", "digits")  # with scikit-learn
UCI = (*_FILES, *_PACKAGED[:-1])
"""The names that ``uci:NAME`` takes."""
_WORDS = ("protocol_type", "service", "flag")  # the categories of NSL-KDD
_FAMILIES = {
    "normal": "normal",
    "dos": "apache2 back land mailbomb neptune pod processtable smurf teardrop udpstorm",
    "probe": "ipsweep mscan nmap portsweep saint satan",
    "r2l": "ftp_write guess_passwd httptunnel imap multihop named phf sendmail snmpgetattack snmpguess spy "
    "warezclient warezmaster worm xlock xsnoop",
    "u2r": "buffer_overflow loadmodule perl ps rootkit sqlattack xterm",
}


@dataclasses.dataclass(frozen=True)
class TableConfig:
    """Which table to read.

    Attributes:
      data: ``digits`` (8 x 8 pixels, from scikit-learn), ``mnist``, ``nsl-kdd``, ``uci:NAME`` or
        ``csv:PATH``.
      target: the column of the labels or numbers of a CSV file; None is the last one. For ``nsl-kdd``,
        ``binary`` (normal or attack, the default) or ``family`` (normal, dos, probe, r2l, u2r).
      categories: columns of a CSV file that are categories although they hold numbers.
      regression: whether the target of a CSV file is a number and not a label.
      data_dir: the folder that holds the folders mnist, uci and nsl_kdd; None is ``$WNN_JAX_DATA``.

    Raises:
      ValueError: a field has another type.

    Source: docs/semantics/classify.md
    """

    data: str = "digits"
    target: str | None = None
    categories: tuple[str, ...] = ()
    regression: bool = False
    data_dir: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(self)


class TableData(NamedTuple):
    """A table of F features, split into training and test rows.

    Attributes:
      X: ``float32 [N, F]``, the training rows; NaN is a missing value, and categories are codes.
      y: ``int32 [N]``, the class of each training row; ``float32 [N]`` for regression.
      X_test: ``float32 [N', F]``, the test rows.
      y_test: as `y`.
      names: the names of the features.
      categories: the words of the codes of each feature that is a category, by the number of the feature.
      labels: the names of the classes; none for regression.
      image: the height and width if the features are the pixels of an image, or None.
      description: the name, the sizes and the split, for tables of results.

    Source: docs/semantics/classify.md
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    names: tuple[str, ...]
    categories: dict[int, tuple[str, ...]]
    labels: tuple[str, ...]
    image: tuple[int, int] | None
    description: str


def load(config: TableConfig) -> TableData:
    """Read a table and split it.

    MNIST and NSL-KDD have test files of their own. The first 4,435 rows of satimage and the first 43,500 of
    shuttle are the training rows. All other tables are split by `third`.

    Args:
      config: which table.

    Returns:
      The table.

    Raises:
      ValueError: the name is unknown; a file is missing or damaged; a cell is no number; the target is not
        there, or has one value only.

    Source: docs/semantics/classify.md
    """
    kind, _, rest = config.data.partition(":")
    if kind == "csv" and rest:
        return _csv(config, rest)
    if config.data == "nsl-kdd":
        return _nsl_kdd(config)
    if config.target is not None or config.regression or config.categories:
        raise ValueError(f"{config.data} has its own target: leave out target, categories and regression")
    if config.data == "mnist":
        return _mnist(config)
    if config.data == "digits" or (kind == "uci" and rest in UCI):
        return _packaged(rest or kind) if (rest or kind) in _PACKAGED else _uci(config, rest)
    listed = "digits, mnist, nsl-kdd, csv:PATH, " + ", ".join(f"uci:{name}" for name in UCI)
    raise ValueError(f"unknown data {config.data!r}: choose one of {listed}")


def third(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Split a table that has no split of its own, as the results of BTHOWeN do.

    The rows are shuffled as ``DataFrame.sample(frac=1, random_state=123)`` of pandas does; the first third,
    rounded down, are the test rows.

    Args:
      rows: N, at least 3.

    Returns:
      The training rows and the test rows, both ``int64``.

    Raises:
      ValueError: there are fewer than 3 rows.

    Source: Susskind et al. 2022, "Weightless Neural Networks for Efficient Edge Inference" (BTHOWeN)
    """
    if rows < 3:
        raise ValueError(f"the table has {rows} rows: a third of them is the test, so give at least 3")
    order = np.random.RandomState(123).permutation(rows)
    return order[rows // 3 :], order[: rows // 3]


def _csv(config: TableConfig, path: str) -> TableData:
    sheet = spreadsheet.read(path)
    target = spreadsheet.place(sheet, config.target if config.target is not None else sheet.names[-1])
    chosen = {spreadsheet.place(sheet, name) for name in config.categories}
    name = pathlib.Path(path).name
    X, names, categories = _features(sheet, (target,), chosen)
    y, labels = _values(sheet, target) if config.regression else _labels(sheet, target)
    return _split(name, X, y, names, categories, labels)


def _uci(config: TableConfig, name: str) -> TableData:
    sheet = spreadsheet.read(_folder(config, "uci", f"{name}.csv.gz") / f"{name}.csv.gz")
    target = len(sheet.names) - 1
    X, names, categories = _features(sheet, (target,), set())
    y, labels = _values(sheet, target) if name in _REGRESSION else _labels(sheet, target)
    if name in _FIRST_ROWS:
        first = np.arange(len(X)) < _FIRST_ROWS[name]
        split, how = (np.flatnonzero(first), np.flatnonzero(~first)), "the last rows are the test"
        return _split(f"uci:{name}", X, y, names, categories, labels, None, split, how)
    return _split(f"uci:{name}", X, y, names, categories, labels)


def _packaged(name: str) -> TableData:
    found: Any = getattr(need("sklearn.datasets", "classify"), f"load_{name}")()
    said = name if name == "digits" else f"uci:{name}"
    image = (8, 8) if name == "digits" else None
    labels = () if name in _REGRESSION else tuple(map(str, found.target_names))
    y = found.target.astype(np.float32 if name in _REGRESSION else np.int32)
    return _split(said, found.data, y, tuple(map(str, found.feature_names)), {}, labels, image)


def _split(
    name: str, X: np.ndarray, y: np.ndarray, names: tuple, categories: dict, labels: tuple, image=None,
    split: tuple[np.ndarray, np.ndarray] | None = None, how: str = "a third, shuffled, is the test",
) -> TableData:  # fmt: skip
    """Split rows into training and test rows."""
    train, test = third(len(X)) if split is None else split
    X = X.astype(np.float32)
    description = _described(name, len(train), len(test), X.shape[1], labels, how)
    return TableData(X[train], y[train], X[test], y[test], names, categories, labels, image, description)


def _described(name: str, train: int, test: int, features: int, labels: tuple, how: str) -> str:
    what = f"{len(labels)} classes" if labels else "a number"
    return f"{name}: {train:,} training and {test:,} test rows ({how}), {features} features, {what}"


def _features(sheet: Sheet, left_out: tuple[int, ...], chosen: set[int]) -> tuple[np.ndarray, tuple, dict]:
    """Read all columns but some: numbers, and the codes of those that hold words or are chosen."""
    columns, names, categories = [], [], {}
    for i, name in enumerate(sheet.names):
        if i in left_out:
            continue
        if i in chosen or spreadsheet.is_words(sheet, i):
            values, categories[len(columns)] = spreadsheet.codes(sheet.cells[i])
        else:
            values = spreadsheet.numbers(sheet, i)
        columns.append(values)
        names.append(name)
    if not columns:
        raise ValueError(f"{sheet.path} has no column but the target {sheet.names[-1]!r}: add features")
    return np.stack(columns, axis=1), tuple(names), categories


def _labels(sheet: Sheet, column: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the classes of the rows.

    Raises:
      ValueError: a label is missing, or all are the same.
    """
    found, labels = spreadsheet.codes(sheet.cells[column])
    _complete(sheet, column, found)
    if len(labels) < 2:
        raise ValueError(
            f"every row of {sheet.path} has {''.join(labels)!r} in the target column "
            f"{sheet.names[column]!r}: choose a column with two or more labels"
        )
    return found.astype(np.int32), labels


def _values(sheet: Sheet, column: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the numbers that a regression foretells.

    Raises:
      ValueError: a number is missing.
    """
    found = spreadsheet.numbers(sheet, column)
    _complete(sheet, column, found)
    return found.astype(np.float32), ()


def _complete(sheet: Sheet, column: int, found: np.ndarray) -> None:
    """Check that no target is missing.

    Raises:
      ValueError: one is.
    """
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        raise ValueError(
            f"{sheet.path} line {sheet.lines[missing[0]]} has no value in the target column "
            f"{sheet.names[column]!r}: fill it in, or remove the line"
        )


def _nsl_kdd(config: TableConfig) -> TableData:
    target = config.target or "binary"
    if target not in ("binary", "family") or config.regression or config.categories:
        raise ValueError(f"nsl-kdd has no target {target!r}: choose binary or family, and no other settings")
    folder = _folder(config, "nsl_kdd", "train20.txt.gz")
    sheets = [spreadsheet.read(folder / name) for name in ("train20.txt.gz", "test.txt.gz")]
    if sheets[0].names != sheets[1].names:
        raise ValueError(f"the two files in {folder} have other columns: give the files of NSL-KDD")
    attack, level = (spreadsheet.place(sheets[0], name) for name in ("attack", "level"))
    words = [spreadsheet.place(sheets[0], name) for name in _WORDS]
    # The words of both files get codes, so that a code means one word; a fit sees the training rows alone.
    cells = tuple(a + b for a, b in zip(sheets[0].cells, sheets[1].cells, strict=True))
    both = Sheet(sheets[0].names, cells, sheets[0].lines + sheets[1].lines, str(folder))
    X, names, categories = _features(both, (attack, level), set(words))
    family = {name: i for i, line in enumerate(_FAMILIES.values()) for name in line.split()}
    unknown = sorted({name for name in both.cells[attack] if name not in family})
    if unknown:
        raise ValueError(f"{folder} names the attack {unknown[0]!r}: give the files of NSL-KDD")
    y = np.array([family[name] for name in both.cells[attack]], np.int32)
    labels = tuple(_FAMILIES)
    if target == "binary":
        y, labels = np.minimum(y, 1), ("normal", "attack")
    first = len(sheets[0].lines)
    split = np.arange(first), np.arange(first, len(X))
    return _split("nsl-kdd", X, y, names, categories, labels, None, split, "KDDTest+ is the test")


def _mnist(config: TableConfig) -> TableData:
    folder = _folder(config, "mnist", "train-images-idx3-ubyte.gz")
    images = [_idx(folder / f"{part}-images-idx3-ubyte.gz", 3) for part in ("train", "t10k")]
    labels = [_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1) for part in ("train", "t10k")]
    if [len(x) for x in images] != [len(x) for x in labels] or images[0].shape[1:] != images[1].shape[1:]:
        raise ValueError(f"the images and labels in {folder} do not fit each other: give the files of MNIST")
    height, width = images[0].shape[1:]
    train, test = (x.reshape(len(x), -1).astype(np.float32) for x in images)
    names = tuple(f"row{i}_column{j}" for i in range(height) for j in range(width))
    digits = tuple(map(str, range(10)))
    said = _described("mnist", len(train), len(test), height * width, digits, "official split")
    y, y_test = (x.astype(np.int32) for x in labels)
    return TableData(train, y, test, y_test, names, {}, digits, (int(height), int(width)), said)


def _idx(path: pathlib.Path, axes: int) -> np.ndarray:
    """Read a file of bytes in the IDX format: a magic number, the length of each axis, the bytes.

    Raises:
      ValueError: it is another file.
    """
    data = spreadsheet.unpacked(path, files.read(path, 1 << 28))
    head = 4 + 4 * axes
    shape = np.frombuffer(data[4:head], ">u4").astype(np.int64)
    if data[:4] != bytes((0, 0, 8, axes)) or len(shape) != axes or len(data) - head != shape.prod():
        raise ValueError(f"{path} is no IDX file of {axes} axes: give the file of MNIST")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _folder(config: TableConfig, name: str, file: str) -> pathlib.Path:
    """Find the folder of a data set.

    Raises:
      ValueError: the folder is not known, or does not hold the file.
    """
    root = config.data_dir or os.environ.get("WNN_JAX_DATA")
    if not root:
        raise ValueError(
            f"{config.data} needs the file {name}/{file}: give the folder that holds {name} as data_dir, or "
            "in WNN_JAX_DATA"
        )
    with files.reaching(root, "read"):
        for folder in (pathlib.Path(root) / name, pathlib.Path(root)):
            if (folder / file).exists():
                return folder
    raise ValueError(f"{root} has no {name}/{file}, which {config.data} needs: give another data_dir")
