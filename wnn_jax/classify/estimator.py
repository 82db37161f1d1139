"""The parts that the estimators of scikit-learn share: rows of any kind to levels, sizes, mappings, export.

Source: docs/semantics/classify.md
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import encoders, frames, layer, model
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.encoders import Encoder, EncoderConfig
from wnn_jax.classify.layer import UNUSED, Mapping
from wnn_jax.classify.mapping import MappingConfig, Tables
from wnn_jax.optional import need

_base = need("sklearn.base", "classify")
_utils = need("sklearn.utils", "classify")
_validation = need("sklearn.utils.validation", "classify")

_host = cast(Any, np.asarray)  # a mapping may also hold arrays of NumPy
MAPPINGS = ("random", "local", "slid", "searched")


class TableEstimator(_base.BaseEstimator):
    """The parts of an estimator on tables that do not depend on what it predicts.

    A class of its own sets the parameters ``encoder``, ``bits``, ``categories``, ``image``, ``window``,
    ``slide``, ``stride``, ``mapping``, ``tables``, ``address_bits``, ``entry_bits``, ``hashes`` and
    ``random_state``.

    Source: docs/semantics/classify.md
    """

    def _key(self) -> jax.Array:
        """Make the key of a fit from ``random_state``."""
        drawn = _utils.check_random_state(self.random_state).randint(2**31 - 1)
        return jax.random.key(int(drawn))

    def _given(self, X: Any, y: Any, weight: Any, *, reset: bool, numbers: bool) -> tuple[Any, Any, Any]:
        """Check rows, targets and weights, and return them as arrays; ``reset`` learns the features."""
        if reset:
            self.words_ = frames.words(X, frames.categories(X, self.categories))
        X = numeric(frames.coded(X, self.words_))
        X, y = _validation.validate_data(
            self, X, y, reset=reset, ensure_all_finite="allow-nan", y_numeric=numbers
        )
        if weight is not None:
            weight = _validation._check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)
        return X, y, weight

    def _fit_encoder(self, X: np.ndarray, frame: Any, weight: Any) -> Encoder:
        """Fit the encoder on checked rows; ``frame`` is what the rows were made of."""
        chosen = frames.categories(frame, self.categories)
        shared = self.image is not None
        config = EncoderConfig(cast(Any, self.encoder), self.bits, None, chosen, shared)
        found = encoders.fit(config, X, weight)
        if len(found.source):
            return found
        # No feature varies: the sign of each value is as good as nothing.
        return encoders.given((0.0,), X.shape[1])._replace(whole=found.whole)

    def _levels(self, X: Any) -> np.ndarray:
        """Encode rows after the fit."""
        _validation.check_is_fitted(self)
        X = numeric(frames.coded(X, self.words_))
        X = _validation.validate_data(self, X, reset=False, ensure_all_finite="allow-nan")
        return encoders.levels(self.encoder_, X)

    def _mapping_config(self, sizes: Sequence[tuple[int, int]]) -> MappingConfig:
        """Make the settings of a mapping from (address bits, tables) of its parts."""
        if isinstance(self.mapping, str) and self.mapping not in MAPPINGS:
            raise ValueError(
                f"unknown mapping {self.mapping!r}: choose one of {', '.join(MAPPINGS)}, or give a Mapping"
            )
        windowed = self.image is not None and self.mapping in ("local", "slid", "searched")
        if not windowed and self.mapping in ("local", "slid"):
            raise ValueError(f"mapping={self.mapping!r} needs an image: set image to its height and width")
        window = self.window if isinstance(self.window, tuple | list) else (self.window,)
        return MappingConfig(
            tables=sum(count for _, count in sizes),
            address_bits=max(bits for bits, _ in sizes),
            windows=tuple(window) if windowed else (),
            slide=self.slide if windowed and self.mapping != "local" else 1,
            stride=self.stride,
            entry_bits=self.entry_bits,
            hashes=self.hashes,
        )

    def _drawn(
        self, rng: np.random.Generator, sizes: Sequence[tuple[int, int]], encoder: Encoder
    ) -> tuple[int, Mapping]:
        """Draw neurons of one or several numbers of address bits, or take the given ones; S comes first."""
        config = self._mapping_config(sizes)
        if not isinstance(self.mapping, str):
            found = given_mapping(self.mapping, encoder)
            return entries(found), found
        inputs = model.inputs_of(encoder, self.image)
        drawn = []
        for bits, count in sizes:
            part = pins.draw(rng, config_of(config, bits, count), inputs, count)
            room = ((0, 0), (0, config.address_bits - bits))
            drawn.append(Tables(np.pad(part.column, room), np.pad(part.level, room, constant_values=UNUSED)))
        tables = Tables(*(np.concatenate(x) for x in zip(*drawn, strict=True)))
        found = pins.neurons(config, tables, inputs.width, pins.draw_hashes(rng, config))
        return config.entries, Mapping(*map(_host, found))

    def _feature_names(self) -> list[str]:
        """Return the names of the features, made up where there are none."""
        return list(_validation._check_feature_names_in(self, None))

    def get_bit_names(self) -> list[str]:
        """Name the bits that the neurons may read, such as ``length>=2.5``.

        Returns:
          The names, in the order of `encoders.places`.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        return encoders.names(self.encoder_, self._feature_names(), self.words_)

    def export_c(self, path: Any, **options: Any) -> None:
        """Write the model as a C header, with its encoder; see `wnn_jax.export.c`.

        Args:
          path: the place of the header.
          **options: those of `wnn_jax.export.c`.

        Raises:
          ValueError: the model cannot be exported, or the file cannot be written.

        Source: docs/semantics/export.md
        """
        self._export().c(self._frozen(), path, **options)

    def export_verilog(self, path: Any, **options: Any) -> None:
        """Write the model as Verilog, with its encoder; see `wnn_jax.export.verilog`.

        Args:
          path: the place of the file.
          **options: those of `wnn_jax.export.verilog`.

        Raises:
          ValueError: the model cannot be exported, or the file cannot be written.

        Source: docs/semantics/export.md
        """
        self._export().verilog(self._frozen(), path, **options)

    def _export(self) -> Any:
        _validation.check_is_fitted(self)
        return importlib.import_module("wnn_jax.export")  # not above: it imports this package

    def _frozen(self) -> Any:
        """Return the model as it is exported."""
        return self.model_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def config_of(config: MappingConfig, bits: int, count: int) -> MappingConfig:
    """Return the settings of a part of the tables: other sizes, the rest as it is.

    Args:
      config: the settings of all tables.
      bits: address bits of the part.
      count: tables of the part.

    Source: docs/semantics/classify.md
    """
    return MappingConfig(
        count, bits, config.windows, config.slide, config.stride, config.entry_bits, config.hashes
    )


def given_mapping(mapping: Any, encoder: Encoder) -> Mapping:
    """Check a mapping that was given, and return it as arrays of NumPy.

    Args:
      mapping: a `layer.Mapping`.
      encoder: the encoder whose columns it reads.

    Raises:
      ValueError: it is none, or does not fit the encoder.

    Source: docs/semantics/classify.md
    """
    if not isinstance(mapping, layer.Mapping):
        raise ValueError(
            f"mapping is of type {type(mapping).__name__}: choose one of {', '.join(MAPPINGS)}, or give a "
            "Mapping"
        )
    found = Mapping(*map(_host, mapping))
    checks.array("hashes", found.hashes, "uint32", {"H": None, "T": None})
    shape = {"R": len(found.table), "T": found.hashes.shape[1]}
    most = len(encoder.source) - 1
    checks.array("column", found.column, "int32", shape, Limits(least=0, most=most))
    checks.array("level", found.level, "uint8", shape)
    checks.array("table", found.table, "int32", {"R": None}, Limits(least=0, most=len(found.table) - 1))
    return found


def entries(mapping: Mapping) -> int:
    """Return S, the number of entries of a table: the least power of two that the hashes stay below.

    Args:
      mapping: the neurons.

    Source: docs/semantics/classify.md
    """
    return 1 << int(np.bitwise_or.reduce(mapping.hashes, axis=None, initial=np.uint32(0))).bit_length()


def affordable(
    size_kib: Any, cost: Callable[[int], int], choices: Sequence[int], enough: int
) -> tuple[int, int]:
    """Choose the address bits and the number of tables that a budget pays for.

    Args:
      size_kib: the budget for the cells of all tables, in KiB.
      cost: the bits of one table with a number of address bits.
      choices: the numbers of address bits, the best one first.
      enough: tables that a model should have.

    Returns:
      The first choice of which the budget pays for enough tables, or else the one with the most tables; and
      that number of tables.

    Raises:
      ValueError: the budget pays for no table of any choice.

    Source: docs/semantics/classify.md
    """
    budget = int(checks.number("size_kib", size_kib, Limits(above=0)) * 8192)
    counts = [(bits, budget // cost(bits)) for bits in choices]
    bits, tables = next((x for x in counts if x[1] >= enough), max(counts, key=lambda x: x[1]))
    if not tables:
        least = min(map(cost, choices)) / 8192
        raise ValueError(
            f"size_kib={size_kib} holds no table: the smallest one of {min(choices)} address bits takes "
            f"{least:.4g} KiB; give more, or fewer address bits"
        )
    return bits, min(tables, 1 << 20)


def numeric(X: Any) -> Any:
    """Name the cell of a table that holds no number.

    Args:
      X: a table, whose categories are coded already.

    Returns:
      `X` as it is.

    Raises:
      ValueError: a cell holds a word that is no number.

    Source: docs/semantics/classify.md
    """
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        names, kinds = list(X.columns), [kind.kind for kind in X.dtypes]
        if all(kind in "biufc" for kind in kinds):
            return X
        cells = X.to_numpy(object)
    else:
        cells, names = np.asarray(X) if not hasattr(X, "toarray") else np.zeros(0), []
        if cells.ndim != 2 or cells.dtype.kind not in "OUS":
            return X
    for row, column in np.ndindex(cells.shape):
        value = cells[row, column]
        if isinstance(value, str | bytes) and not _is_number(value):
            name = repr(names[column]) if names else column
            raise ValueError(
                f"row {row}, column {name} of X is {str(value)[:40]!r}, which is no number: name the column "
                "in categories, or give numbers"
            )
    return X


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
