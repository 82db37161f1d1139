"""The methods of an estimator that counts: it learns on, forgets, and lets old rows fade.

Source: docs/semantics/classify.md
"""

import warnings
from typing import Any

import numpy as np

from wnn_jax.classify import counting, encoders
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.estimator import TableEstimator
from wnn_jax.narrow import in_32_bits
from wnn_jax.optional import need

_metaestimators = need("sklearn.utils.metaestimators", "classify")
_validation = need("sklearn.utils.validation", "classify")

_OUTSIDE = 0.05  # the share of values beyond the encoder from which on partial_fit warns


def counting_only(estimator) -> bool:
    """Say whether an estimator counts; scikit-learn asks before it shows a method."""
    if estimator.cells == "count":
        return True
    raise AttributeError(f"cells={estimator.cells!r} are trained on all rows at once: use cells='count'")


class IncrementalClassifier(TableEstimator):
    """A classifier that can learn on, of count cells.

    Source: docs/semantics/classify.md
    """

    @_metaestimators.available_if(counting_only)
    @in_32_bits
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "IncrementalClassifier":
        """Count more rows. The first call also fits the encoder, which stays as it is from then on.

        The counts do not depend on the order of the rows. A static threshold is chosen by the rows of the
        last call: give some hundred at a time, or set ``bleaching`` to ``dynamic`` or a number.

        Args:
          X: numbers ``[N, F]``.
          y: labels ``[N]``.
          classes: all labels that will come, at the first call; None takes those of the first rows.
          sample_weight: the weight of each row, ``[N]``, where 1 is one row.

        Returns:
          The classifier itself.

        Raises:
          ValueError: a row or a parameter is wrong, or a label is new.

        Source: docs/semantics/classify.md
        """
        first = not hasattr(self, "memory_")
        if first:
            self._check()
        values, y, weight = self._given(X, y, sample_weight, reset=first, numbers=False)
        if first:
            self._learn_classes(y if classes is None else np.asarray(classes))
            self.cells_, self.rows_since_ = self.cells, 0
            encoder = self._fit_encoder(values, X, weight)
            size, mapping = self._drawn(
                pins.generator(self._key()), self._sizes("count", len(self.classes_)), encoder
            )
            memory = counting.start(mapping, size, len(self.classes_))
        else:
            encoder, memory = self.encoder_, self.memory_
        numbers = self._class_numbers(y)
        if not first:
            beyond = encoders.outside(encoder, values)
            if beyond > _OUTSIDE:
                warnings.warn(
                    f"{beyond:.0%} of the values lie outside of those that the encoder was fitted on: fit "
                    "again on rows like these",
                    stacklevel=2,
                )
        levels = encoders.levels(encoder, values)
        for part in self._parts(len(levels)):
            if self.half_life is not None and self.rows_since_ >= self.half_life:
                memory, self.rows_since_ = counting.halve(memory), 0
            share = None if weight is None else weight[part]
            memory = self._counted(memory, levels[part], numbers[part], share, relative=False)
            self.rows_since_ += len(levels[part])
        self.__dict__.update(self._shown(encoder, memory))
        return self

    def _parts(self, rows: int) -> list[slice]:
        """Cut rows where the counts are to be halved between them."""
        if self.half_life is None:
            return [slice(0, rows)]
        ends = [*range(max(self.half_life - self.rows_since_, 0), rows, self.half_life), rows]
        starts = [0, *ends[:-1]]
        return [slice(a, b) for a, b in zip(starts, ends, strict=True) if a < b]

    def _class_numbers(self, y: Any) -> np.ndarray:
        known = np.isin(y, self.classes_)
        if not known.all():
            place = int(np.argmin(known))
            raise ValueError(
                f"y[{place}]={y.tolist()[place]!r} is a new label: name all labels in "
                "classes at the first call"
            )
        return np.searchsorted(self.classes_, y).astype(np.int32)

    @_metaestimators.available_if(counting_only)
    @in_32_bits
    def forget(self, X: Any, y: Any, sample_weight: Any = None) -> "IncrementalClassifier":
        """Forget rows: the counts become those of a classifier that was never shown them.

        Encoder and threshold stay as they are.

        Args:
          X: rows that were shown.
          y: their labels.
          sample_weight: the weights that they had.

        Returns:
          The classifier itself.

        Raises:
          ValueError: the rows were not shown, or the counts were halved or are conservative.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        values, y, weight = self._given(X, y, sample_weight, reset=False, numbers=False)
        levels = encoders.levels(self.encoder_, values)
        memory = counting.forget(self.memory_, levels, self._class_numbers(y), weight)
        self.__dict__.update(self._shown(self.encoder_, memory))
        return self
