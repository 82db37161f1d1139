"""The methods of a classifier that say why, how surely and how new, and that set its threshold.

Source: docs/semantics/classify.md
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wnn_jax.classify import calibration, explain
from wnn_jax.classify.calibration import Operating
from wnn_jax.classify.estimator import TableEstimator
from wnn_jax.classify.incremental import counting_only
from wnn_jax.narrow import in_32_bits
from wnn_jax.optional import need

_metaestimators = need("sklearn.utils.metaestimators", "classify")
_validation = need("sklearn.utils.validation", "classify")


class InsightfulClassifier(TableEstimator):
    """A classifier that explains its scores.

    Source: docs/semantics/classify.md
    """

    def _abnormality(self, scores: np.ndarray, normal: int) -> np.ndarray:
        """Compute the log-odds against the normal class, in units of the scores."""
        others = np.delete(scores, normal, axis=1)
        best, factor = others.max(axis=1), self._temperature()
        more = np.log(np.exp(factor * (others - best[:, None])).sum(axis=1)) / factor
        return best + more - scores[:, normal]

    def calibrate_threshold(self, X_val: Any, y_val: Any, fpr: float, normal: Any = None) -> Operating:
        """Choose the threshold of `predict` for a wanted false-positive rate.

        Args:
          X_val: validation rows that the classifier was not fitted on.
          y_val: their labels.
          fpr: the largest share of normal rows that may get another class.
          normal: the label of normal rows; None takes the first class.

        Returns:
          The threshold, and the rates on these rows. On rows of another time the rates may be others.

        Raises:
          ValueError: a row is wrong, no row is normal, or the classifier has one class.

        Source: docs/semantics/classify.md
        """
        scores, y = self._scores(X_val), np.asarray(y_val)
        label = self.classes_[0] if normal is None else normal
        if label not in self.classes_ or len(self.classes_) < 2:
            raise ValueError(
                f"normal={label!r} with the classes {self.classes_.tolist()}: give one of two or more classes"
            )
        place = int(np.flatnonzero(self.classes_ == label)[0])
        found = calibration.threshold(self._abnormality(scores, place), y != label, fpr)
        self.threshold_, self.normal_ = found.threshold, place
        return found

    def tie_share(self, X: Any) -> float:
        """Compute the share of rows whose largest score several classes have.

        Args:
          X: numbers ``[N, F]``.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        return calibration.tie_share(self._scores(X))

    @_metaestimators.available_if(counting_only)
    def mental_images(self) -> np.ndarray:
        """Project the counts back to the features; see `explain.mental_images`.

        Returns:
          ``float64 [K, F]``.

        Raises:
          ValueError: the tables are hashed.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        memory = self.memory_
        return explain.mental_images(memory.mapping, memory.counts, self.encoder_.source, self.n_features_in_)

    @in_32_bits
    def contributions(self, X: Any) -> np.ndarray:
        """Compute what the bits of each feature add to the scores; see `explain.contributions`.

        Args:
          X: numbers ``[N, F]``.

        Returns:
          ``int32 [N, F, K]``.

        Raises:
          ValueError: the rows are not like those of the fit, or bleaching is dynamic.

        Source: docs/semantics/classify.md
        """
        levels, frozen = self._levels(X), self._frozen()
        return explain.contributions(
            frozen.mapping, frozen.cells, levels, self.encoder_.source, self.n_features_in_
        )

    @in_32_bits
    def novelty(self, X: Any, normal: Sequence[Any] | None = None) -> np.ndarray:
        """Compute the share of neurons whose address no normal training row showed.

        Args:
          X: numbers ``[N, F]``.
          normal: the labels of normal rows; None takes all classes.

        Returns:
          ``float64 [N]``, from 0 to 1.

        Raises:
          ValueError: the rows are not like those of the fit.

        Source: docs/semantics/classify.md
        """
        levels = self._levels(X)
        chosen = np.isin(self.classes_, self.classes_ if normal is None else np.asarray(normal))
        seen = self.presence_ if self.cells_ != "count" else self.memory_.counts > 0
        present = seen[:, :, chosen].any(axis=2, keepdims=True).astype(np.int8)
        mapping = self.memory_.mapping if self.cells_ == "count" else self.model_.mapping
        return explain.novelty(mapping, present, levels)
