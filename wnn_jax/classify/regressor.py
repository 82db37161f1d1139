"""The regressor for scikit-learn, which the extra ``classify`` installs.

Source: docs/semantics/classify.md
"""

from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np

from wnn_jax.classify import counts, encoders, model, regression
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.encoders import Encoder
from wnn_jax.classify.estimator import TableEstimator, affordable
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.regression import RegressionConfig, Regressor, Sums
from wnn_jax.narrow import in_32_bits
from wnn_jax.optional import need

_base = need("sklearn.base", "classify")
_metaestimators = need("sklearn.utils.metaestimators", "classify")
_validation = need("sklearn.utils.validation", "classify")

_TRIED = (3, 6, 10, 14)  # the address bits among which "auto" chooses
_CHOICES = (10, 8, 6, 5, 4, 3, 2)  # those of a budget, if none are given
_ENOUGH = 100  # tables that a model should have, for size_kib
_FOLDS = 3
_PRIOR = 3.0
_CELL = 32  # bits of a cell


def _means_only(estimator) -> bool:
    """Say whether an estimator counts; scikit-learn asks before it shows a method."""
    if estimator.cells == "mean":
        return True
    raise AttributeError(f"cells={estimator.cells!r} are trained on all rows at once: use cells='mean'")


class WisardRegressor(_base.RegressorMixin, TableEstimator):
    """Predict numbers by tables that neurons address with bits of the features.

    The fitted attributes are ``encoder_``, ``model_`` (a `regression.Regressor`), ``address_bits_``,
    ``sums_`` (`regression.Sums`, of means only), ``words_``, ``n_features_in_`` and, for data frames,
    ``feature_names_in_``.

    Args:
      cells: ``trained``: the cells of all neurons add up to the prediction. ``mean``: the prediction is the
        mean of the mean targets of the cells, counted in one pass; it can learn on and forget.
      tables: number of tables, M.
      address_bits: bits that address a table, T; ``auto`` takes the best of 3, 6, 10 and 14 in a
        cross-validation on the training rows.
      size_kib: the budget for the cells in KiB, of 4 bytes each. It sets the number of tables, and the
        address bits where they are None.
      mapping: ``random``; ``local`` or ``slid`` for images; or a given `layer.Mapping`.
      image: height and width, if the features are the pixels of an image, row by row.
      window: side, or sides, of windows in pixels.
      slide: positions along each axis of a table that is slid.
      stride: pixels from one position to the next.
      encoder: ``quantile``, ``linear`` or ``gaussian`` thresholds.
      bits: the largest number of thresholds of a feature.
      categories: the features that are categories; ``auto`` takes the columns of a data frame that hold no
        numbers.
      epochs: passes over the rows, of trained cells.
      rate: the share of an error that one step corrects at the first epoch.
      prior: rows that hold a cell at the mean of all targets; more make the predictions smoother. None takes
        3 / T for trained cells, because a table of more address bits sees fewer rows in each cell, and 1 for
        means.
      batch: rows of a step.
      random_state: a seed, a generator or None, as in scikit-learn.

    Source: docs/semantics/classify.md
    """

    entry_bits = None
    hashes = 1

    def __init__(
        self,
        cells: str = "trained",
        tables: int = 400,
        address_bits: int | str | None = 6,
        *,
        size_kib: float | None = None,
        mapping: Any = "random",
        image: tuple[int, int] | None = None,
        window: int | tuple[int, ...] = 6,
        slide: int = 2,
        stride: int = 1,
        encoder: str = "quantile",
        bits: int = 20,
        categories: Sequence[int | str] | str = "auto",
        epochs: int = 20,
        rate: float = 0.3,
        prior: float | None = None,
        batch: int = 1,
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
        self.encoder = encoder
        self.bits = bits
        self.categories = categories
        self.epochs = epochs
        self.rate = rate
        self.prior = prior
        self.batch = batch
        self.random_state = random_state

    @in_32_bits
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "WisardRegressor":
        """Fit encoder, mapping and cells.

        Args:
          X: numbers ``[N, F]``, or a data frame; NaN is a missing value.
          y: targets ``[N]``.
          sample_weight: the weight of each row, ``[N]``, at least 0. For means a whole number is exactly that
            many rows.

        Returns:
          The regressor itself.

        Raises:
          ValueError: a parameter, a row or a target is wrong, or the budget pays for no table.

        Source: docs/semantics/classify.md
        """
        self._check()
        values, y, weight = self._given(X, y, sample_weight, reset=True, numbers=True)
        key = self._key()
        rows = values, np.asarray(y, np.float64), weight
        if weight is not None and (weight == 0).any() and (weight > 0).any():
            rows = tuple(x[weight > 0] for x in rows)  # as if they were not there
        bits = self._cross_validated(key, X, rows) if self.address_bits == "auto" else self.address_bits
        bits, tables = cast(int | None, bits), self.tables
        if self.size_kib is not None:
            choices = _CHOICES if bits is None else (bits,)
            bits, tables = affordable(self.size_kib, lambda t: _CELL << t, choices, _ENOUGH)
        self.address_bits_ = 6 if bits is None else bits
        self.__dict__.pop("sums_", None)  # of an earlier fit
        self.__dict__.update(self._fitted(key, (self.address_bits_, tables), X, *rows))
        return self

    def _check(self) -> None:
        """Check the parameters that no config checks."""
        if self.cells not in ("trained", "mean"):
            raise ValueError(f"unknown cells {self.cells!r}: choose one of trained, mean")
        if isinstance(self.mapping, str) and self.mapping == "searched":
            raise ValueError("mapping='searched' is for classifiers: choose random, local or slid")
        if isinstance(self.address_bits, str) and self.address_bits != "auto":
            raise ValueError(f"unknown address_bits {self.address_bits!r}: give a whole number, or auto")

    def _cross_validated(self, key: jax.Array, frame: Any, rows: tuple) -> int:
        """Choose the address bits by cross-validation; the fewest of equal ones."""
        values, y, weight = rows
        if len(y) < 2 * _FOLDS:
            return _TRIED[0]
        fold = pins.generator(jax.random.fold_in(key, 1)).permutation(np.arange(len(y)) % _FOLDS)
        share = np.ones(len(y)) if weight is None else weight
        loss = dict.fromkeys(_TRIED, 0.0)
        for bits in _TRIED:
            for one in range(_FOLDS):
                kept, held = fold != one, fold == one
                part = None if weight is None else weight[kept]
                found = self._fitted(key, (bits, self.tables), frame, values[kept], y[kept], part)
                guess = _read(found["model_"], encoders.levels(found["encoder_"], values[held]))
                loss[bits] += share[held] @ (guess - y[held]) ** 2
        self.cross_validation_ = {bits: x / share.sum() for bits, x in loss.items()}
        return min(_TRIED, key=lambda bits: loss[bits])

    def _fitted(self, key: jax.Array, sizes: tuple[int, int], frame, values, y, weight) -> dict[str, Any]:
        """Fit with a number of address bits and tables, and return the fitted attributes."""
        encoder = self._fit_encoder(values, frame, weight)
        levels = encoders.levels(encoder, values)
        size, mapping = self._drawn(pins.generator(key), [sizes], encoder)
        if self.cells == "mean":
            whole, unit = (None, 1) if weight is None else counts.units(weight)
            sums = regression.start(mapping, size, y, weight, unit)
            return self._shown(encoder, mapping, regression.add(mapping, sums, levels, y, whole))
        prior = _PRIOR / sizes[0] if self.prior is None else self.prior
        train = RegressionConfig(self.epochs, self.rate, prior, self.batch)
        found = regression.train(jax.random.fold_in(key, 2), train, mapping, size, levels, y, weight)
        return {"encoder_": encoder, "model_": Regressor(encoder, mapping, *found)}

    def _shown(self, encoder: Encoder, mapping: Mapping, sums: Sums) -> dict[str, Any]:
        """Return the fitted attributes of means."""
        frozen = Regressor(
            encoder, mapping, *regression.means(mapping, sums, 1.0 if self.prior is None else self.prior)
        )
        return {"encoder_": encoder, "model_": frozen, "sums_": sums}

    @_metaestimators.available_if(_means_only)
    @in_32_bits
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "WisardRegressor":
        """Add more rows to means. The first call also fits the encoder and the unit of the targets.

        Args:
          X: numbers ``[N, F]``.
          y: targets ``[N]``.
          sample_weight: the weight of each row, ``[N]``, whole numbers.

        Returns:
          The regressor itself.

        Raises:
          ValueError: a parameter, a row or a target is wrong, or a weight is no whole number.

        Source: docs/semantics/classify.md
        """
        if not hasattr(self, "sums_"):
            return self.fit(X, y, sample_weight)
        return self._added(X, y, sample_weight, 1)

    @_metaestimators.available_if(_means_only)
    @in_32_bits
    def forget(self, X: Any, y: Any, sample_weight: Any = None) -> "WisardRegressor":
        """Forget rows: the means become those of a regressor that was never shown them.

        Args:
          X: rows that were shown.
          y: their targets.
          sample_weight: the weights that they had, whole numbers.

        Returns:
          The regressor itself.

        Raises:
          ValueError: the rows were not shown, or a weight is no whole number.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        return self._added(X, y, sample_weight, -1)

    def _added(self, X: Any, y: Any, weight: Any, sign: int) -> "WisardRegressor":
        values, y, weight = self._given(X, y, weight, reset=False, numbers=True)
        whole = np.ones(len(y)) if weight is None else weight
        if (whole != np.rint(whole)).any():
            raise ValueError(
                f"sample_weight[{int(np.argmax(whole != np.rint(whole)))}] is no whole number: rows that are "
                "added or forgotten have whole weights"
            )
        amount = (sign * whole * self.sums_.unit).astype(np.int32)
        mapping = self.model_.mapping
        sums = regression.add(mapping, self.sums_, encoders.levels(self.encoder_, values), y, amount)
        self.__dict__.update(self._shown(self.encoder_, mapping, sums))
        return self

    @in_32_bits
    def predict(self, X: Any) -> np.ndarray:
        """Predict a number for each row.

        Args:
          X: numbers ``[N, F]``.

        Returns:
          ``float64 [N]``.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        levels = self._levels(X)
        return _read(self.model_, levels)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")


def _read(frozen: Regressor, levels: np.ndarray) -> np.ndarray:
    return frozen.offset + frozen.scale * model.level_scores(frozen, levels)[:, 0].astype(np.float64)
