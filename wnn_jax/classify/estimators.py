"""The classifiers for scikit-learn, which the extra ``classify`` installs.

    model = WisardClassifier(cells="binary", size_kib=16).fit(X, y)
    model.predict(X_new), model.predict_proba(X_new), model.contributions(X_new)

All fitted arrays are NumPy's, so that a model is pickled and read anywhere.

Source: docs/semantics/classify.md
"""

import warnings
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import calibration, counting, counts, encoders, fitting, model, training
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.encoders import Encoder
from wnn_jax.classify.estimator import affordable
from wnn_jax.classify.fitting import TrainingConfig
from wnn_jax.classify.incremental import IncrementalClassifier
from wnn_jax.classify.insight import InsightfulClassifier
from wnn_jax.classify.model import Classifier, ClassifyConfig
from wnn_jax.classify.residual import ResidualConfig
from wnn_jax.narrow import in_32_bits
from wnn_jax.optional import need

_base = need("sklearn.base", "classify")
_metaestimators = need("sklearn.utils.metaestimators", "classify")
_multiclass = need("sklearn.utils.multiclass", "classify")
_validation = need("sklearn.utils.validation", "classify")

CELLS = {"count": 1, "binary": 1, "int4": 4}  # the bits of a frozen cell
_FOLDS = 3
_ENOUGH = {"count": 60, "binary": 300, "int4": 300}  # tables that a model should have, for size_kib
_CHOICES = {"count": (14, 12, 10, 8, 6, 4, 2), "binary": (6, 5, 4, 3, 2), "int4": (6, 5, 4, 3, 2)}


class WisardClassifier(_base.ClassifierMixin, IncrementalClassifier, InsightfulClassifier):
    """Classify rows by tables that neurons address with bits of the features.

    The fitted attributes are ``classes_``, ``encoder_``, ``cells_`` (the kind of cells in use), ``model_`` (a
    `model.Classifier`, the frozen model; None with dynamic bleaching), ``memory_`` (a `counting.Memory`, of
    count cells only), ``words_``, ``n_features_in_`` and, for data frames, ``feature_names_in_``.

    Args:
      cells: ``count`` counts rows in one pass, can learn on and forget, and reads by bleaching. ``binary``
        and ``int4`` are cells of 1 and 4 bits trained by the softmax, better from some 500 rows on. ``auto``
        takes the kind with the best cross-validation on the training rows.
      tables: number of tables, M.
      address_bits: bits that address a table, T; None takes 12 for counts and 6 for trained cells.
      size_kib: the budget for the frozen cells in KiB. It sets the number of tables, and the address bits
        where they are None.
      mapping: ``random``; ``local``: pins in windows of an image; ``slid``: each table is also read at
        neighbouring positions of the image; ``searched``: tables are dropped and refilled by residuals, in
        windows and slid if there is an image (trained cells only); or a given `layer.Mapping`.
      image: height and width, if the features are the pixels of an image, row by row.
      window: side, or sides, of windows in pixels.
      slide: positions along each axis of a table that is slid.
      stride: pixels from one position to the next.
      entry_bits: log2 of the entries of hashed tables, of counts only; None for dense tables.
      hashes: hashes of hashed tables.
      conservative: whether hashed tables raise only their smallest cells; such counts depend on the order of
        the rows, and nothing can be forgotten.
      bleaching: ``static``: from which count on a cell votes is chosen by leaving one out. ``dynamic``: it
        rises for each row until one class is best. Or a whole number.
      half_life: rows after which `partial_fit` halves all counts, for data that drifts; None for never.
      encoder: ``quantile``, ``linear`` or ``gaussian`` thresholds.
      bits: the largest number of thresholds of a feature.
      categories: the features that are categories; ``auto`` takes the columns of a data frame that hold no
        numbers.
      epochs: passes over the rows, of trained cells.
      rate: rate of learning at the first epoch.
      dropout: share of the neurons that each row leaves out while cells are trained.
      jitter: pixels by which images are moved while cells are trained.
      random_state: a seed, a generator or None, as in scikit-learn.

    Source: docs/semantics/classify.md
    """

    def __init__(
        self,
        cells: str = "count",
        tables: int = 200,
        address_bits: int | None = None,
        *,
        size_kib: float | None = None,
        mapping: Any = "random",
        image: tuple[int, int] | None = None,
        window: int | tuple[int, ...] = 6,
        slide: int = 2,
        stride: int = 1,
        entry_bits: int | None = None,
        hashes: int = 2,
        conservative: bool = False,
        bleaching: str | int = "static",
        half_life: int | None = None,
        encoder: str = "quantile",
        bits: int = 8,
        categories: Sequence[int | str] | str = "auto",
        epochs: int = 16,
        rate: float = 0.02,
        dropout: float = 0.0,
        jitter: int = 0,
        random_state: Any = None,
    ):
        self.cells = cells
        self.tables = tables
        self.address_bits = address_bits
        self.size_kib = size_kib
        self.mapping = mapping
        self.image = image
        self.window = window
        self.slide = slide
        self.stride = stride
        self.entry_bits = entry_bits
        self.hashes = hashes
        self.conservative = conservative
        self.bleaching = bleaching
        self.half_life = half_life
        self.encoder = encoder
        self.bits = bits
        self.categories = categories
        self.epochs = epochs
        self.rate = rate
        self.dropout = dropout
        self.jitter = jitter
        self.random_state = random_state

    @in_32_bits
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "WisardClassifier":
        """Fit encoder, mapping and cells.

        Args:
          X: numbers ``[N, F]``, or a data frame; NaN is a missing value.
          y: labels ``[N]``.
          sample_weight: the weight of each row, ``[N]``, at least 0. For count cells a whole number is
            exactly that many rows.

        Returns:
          The classifier itself.

        Raises:
          ValueError: a parameter, a row or a label is wrong, or the budget pays for no table.

        Source: docs/semantics/classify.md
        """
        self._check()
        values, y, weight = self._given(X, y, sample_weight, reset=True, numbers=False)
        classes = self._learn_classes(y)
        key = self._key()
        rows = values, classes, weight
        if weight is not None and (weight == 0).any() and (weight > 0).any():
            rows = tuple(x[weight > 0] for x in rows)  # as if they were not there
        self.cells_ = self._cross_validated(key, X, rows) if self.cells == "auto" else self.cells
        for name in ("memory_", "presence_", "threshold_"):
            self.__dict__.pop(name, None)  # of an earlier fit
        self.__dict__.update(self._fitted(key, self.cells_, X, *rows))
        self.rows_since_ = len(rows[0])
        return self

    def _check(self) -> None:
        """Check the parameters that no config checks."""
        if self.cells not in (*CELLS, "auto"):
            raise ValueError(f"unknown cells {self.cells!r}: choose one of {', '.join(CELLS)}, auto")
        if self.conservative and self.entry_bits is None:
            raise ValueError("conservative=True is for hashed tables: set entry_bits, or conservative=False")
        trained = self.cells != "count"
        if trained and self.entry_bits is not None:
            raise ValueError(f"entry_bits={self.entry_bits} needs cells='count', got {self.cells!r}")
        if self.cells in ("count", "auto") and isinstance(self.mapping, str) and self.mapping == "searched":
            raise ValueError(
                f"mapping='searched' trains cells, and cells={self.cells!r} count: use binary or int4"
            )
        if self.half_life is not None:
            checks.integer("half_life", self.half_life, Limits(least=1))

    def _learn_classes(self, y: Any) -> np.ndarray:
        _multiclass.check_classification_targets(y)
        self.classes_, classes = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            only = self.classes_.tolist()[0]
            warnings.warn(
                f"y has one class, {only!r}, which every row will get: give rows of two or more",
                stacklevel=3,
            )
        return classes.astype(np.int32)

    def _cross_validated(self, key: jax.Array, frame: Any, rows: tuple) -> str:
        """Choose the kind of cells by cross-validation; the first of equal ones."""
        values, classes, weight = rows
        count = len(values)
        if count < 2 * _FOLDS:
            return "count"
        rng = pins.generator(jax.random.fold_in(key, 1))
        # Rows of one class are dealt to the folds in turn.
        order = np.lexsort((rng.random(count), classes))
        fold = np.empty(count, np.int32)
        fold[order] = np.arange(count) % _FOLDS
        share = np.ones(count) if weight is None else weight
        right = dict.fromkeys(CELLS, 0.0)
        for kind in CELLS:
            for one in range(_FOLDS):
                kept, held = fold != one, fold == one
                part = None if weight is None else weight[kept]
                found = self._fitted(key, kind, frame, values[kept], classes[kept], part)
                scored = self._read(found, encoders.levels(found["encoder_"], values[held]))
                right[kind] += share[held] @ (scored.argmax(axis=1) == classes[held])
        self.cross_validation_ = {kind: x / share.sum() for kind, x in right.items()}
        return max(CELLS, key=lambda kind: right[kind])

    def _fitted(self, key: jax.Array, kind: str, frame: Any, values, classes, weight) -> dict[str, Any]:
        """Fit one kind of cells, and return the fitted attributes."""
        encoder = self._fit_encoder(values, frame, weight)
        levels = encoders.levels(encoder, values)
        number, sizes = len(self.classes_), self._sizes(kind, len(self.classes_))
        if kind == "count":
            size, mapping = self._drawn(pins.generator(key), sizes, encoder)
            memory = counting.start(mapping, size, number)
            memory = self._counted(memory, levels, classes, weight, relative=True)
            return self._shown(encoder, memory)
        frozen = self._trained(key, kind, sizes, encoder, levels, classes, weight)
        seen = counts.first(frozen.mapping, frozen.cells.shape[1], number, levels, classes)
        labels = tuple(self.classes_.tolist())
        return {"encoder_": encoder, "model_": frozen._replace(labels=labels), "presence_": np.asarray(seen) > 0}

    def _counted(self, memory: counting.Memory, levels, classes, weight, relative: bool) -> counting.Memory:
        memory = counting.add(
            memory, levels, classes, weight, relative=relative, conservative=self.conservative
        )
        return counting.judge(memory, self.bleaching, levels, classes, weight, relative)

    def _shown(self, encoder: Encoder, memory: counting.Memory) -> dict[str, Any]:
        """Return the fitted attributes of count cells."""
        frozen = None
        if memory.threshold != counting.DYNAMIC:
            labels = tuple(self.classes_.tolist())
            frozen = Classifier(encoder, *counting.freeze(memory), memory.temperature, labels)
        return {"encoder_": encoder, "memory_": memory, "model_": frozen}

    def _trained(self, key, kind: str, sizes, encoder: Encoder, levels, classes, weight) -> Classifier:
        number, bits = len(self.classes_), CELLS[kind]
        train = TrainingConfig(bits, self.epochs, self.rate, self.dropout, jitter=self.jitter)
        if isinstance(self.mapping, str) and len(sizes) == 1:
            searched = ResidualConfig(rounds=12 if self.mapping == "searched" else 0)
            config = ClassifyConfig(
                "trained", mapping=self._mapping_config(sizes), training=train, search=searched
            )
            return model.fit_levels(
                key, config, encoder, levels, classes, number, weight=weight, image=self.image
            )
        if isinstance(self.mapping, str) and self.mapping == "searched":
            raise ValueError(
                "mapping='searched' searches tables of one size: give one number of address bits"
            )
        rng = pins.generator(key)
        size, mapping = self._drawn(rng, sizes, encoder)
        tables = int(mapping.table.max()) + 1
        weights = fitting.start(rng, (tables, size, number))
        plain = TrainingConfig(bits, self.epochs, self.rate, self.dropout)
        rows = model.rows_of(levels, classes, weight)
        weights = fitting.train(rng, plain, mapping, weights, rows)
        cells = np.asarray(training.quantised(weights, bits))
        return Classifier(encoder, mapping, cells, fitting.temperature(plain, len(mapping.table)), ())

    def _sizes(self, kind: str, number: int) -> list[tuple[int, int]]:
        """Return the address bits and the number of tables."""
        bits = self.address_bits
        if self.size_kib is None:
            return [((12 if kind == "count" else 6) if bits is None else bits, self.tables)]
        return [self._affordable(kind, number, self.size_kib, bits)]

    def _affordable(self, kind: str, number: int, size_kib: Any, bits: int | None) -> tuple[int, int]:
        def cost(bits: int) -> int:
            wide = bits if self.entry_bits is None else self.entry_bits
            return CELLS[kind] * number << wide

        choices = _CHOICES[kind] if bits is None else (bits,)
        return affordable(size_kib, cost, choices, _ENOUGH[kind])

    def _read(self, fitted: dict[str, Any], levels: np.ndarray) -> np.ndarray:
        """Compute the scores ``float64 [N, K]`` of encoded rows."""
        if fitted["model_"] is None:
            return counting.scores(fitted["memory_"], levels)
        return model.level_scores(fitted["model_"], levels).astype(np.float64)

    @in_32_bits
    def _scores(self, X: Any) -> np.ndarray:
        levels = self._levels(X)
        return self._read(self.__dict__, levels)

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the scores: the sum of the cells that the neurons read for each class.

        Args:
          X: numbers ``[N, F]``.

        Returns:
          ``float64 [N, K]``; for two classes ``[N]``, the score of the second less that of the first.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Compute the probabilities of the classes.

        Args:
          X: numbers ``[N, F]``.

        Returns:
          ``float64 [N, K]``. The first of the largest ones is the class that `predict` gives, unless a
          threshold was calibrated.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        return calibration.probabilities(self._scores(X), self._temperature())

    def _temperature(self) -> float:
        return self.memory_.temperature if self.model_ is None else self.model_.temperature

    def predict(self, X: Any) -> np.ndarray:
        """Classify rows: the class of the largest score, the first one of equal scores.

        After `calibrate_threshold` a row gets the class of normal rows where its score is below the
        threshold, and otherwise the best of the other classes.

        Args:
          X: numbers ``[N, F]``.

        Returns:
          Labels ``[N]``.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        scores = self._scores(X)
        if not hasattr(self, "threshold_"):
            return self.classes_[scores.argmax(axis=1)]
        other = np.where(np.arange(scores.shape[1]) == self.normal_, -np.inf, scores).argmax(axis=1)
        called = self._abnormality(scores, self.normal_) >= self.threshold_
        return self.classes_[np.where(called, other, self.normal_)]

    def _frozen(self) -> Classifier:
        """Return the model as it is exported.

        Raises:
          ValueError: bleaching is dynamic.
        """
        if self.model_ is None:
            counting.freeze(self.memory_)  # says why there is none
        return cast(Classifier, self.model_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")


class WisardEnsemble(WisardClassifier):
    """Classify rows by tables of several address bits, whose scores are summed.

    It takes the parameters of `WisardClassifier`; the tables, or the budget, are shared equally among the
    numbers of address bits, and all cells are fitted together.

    Args:
      cells: see `WisardClassifier`.
      tables: number of tables of all sizes together.
      address_bits: the numbers of address bits; None takes 8, 10 and 12 for counts, 4, 5 and 6 otherwise.
      **others: the other parameters of `WisardClassifier`.

    Source: docs/semantics/classify.md
    """

    def _sizes(self, kind: str, number: int) -> list[tuple[int, int]]:
        several = self.address_bits
        if several is None:
            several = (8, 10, 12) if kind == "count" else (4, 5, 6)
        several = (several,) if isinstance(several, int) else tuple(several)
        if not several:
            raise ValueError("address_bits is empty: give one or more numbers of address bits")
        if self.size_kib is not None:
            return [self._affordable(kind, number, self.size_kib / len(several), bits) for bits in several]
        counts_of = [self.tables // len(several)] * len(several)
        for i in range(self.tables % len(several)):
            counts_of[i] += 1
        return [(bits, count) for bits, count in zip(several, counts_of, strict=True) if count]
