"""The encoder as a transformer of scikit-learn, which the extra ``classify`` installs.

Source: docs/semantics/classify.md
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from wnn_jax.classify import encoders, frames
from wnn_jax.classify.encoders import EncoderConfig
from wnn_jax.optional import need

_base = need("sklearn.base", "classify")
_validation = need("sklearn.utils.validation", "classify")


class ThermometerEncoder(_base.TransformerMixin, _base.BaseEstimator):
    """Turn the features of a table into bits, as the models of this room read them.

    The fitted attributes are `encoder_`, an `encoders.Encoder`, `words_`, the words of the categories by the
    number of their feature, ``n_features_in_``, and ``feature_names_in_`` for data frames.

    Args:
      kind: ``quantile``, ``linear`` or ``gaussian``: see `encoders.EncoderConfig`.
      bits: the largest number of thresholds of a feature.
      widths: the same for each feature; 0 leaves a feature out.
      categories: the numbers or names of the features that are categories; ``auto`` takes the columns of a
        data frame that hold no numbers.
      shared: whether all features have the same thresholds.

    Source: docs/semantics/classify.md
    """

    def __init__(
        self,
        kind: Literal["quantile", "linear", "gaussian"] = "quantile",
        bits: int = 8,
        widths: Sequence[int] | None = None,
        categories: Sequence[int | str] | str = "auto",
        shared: bool = False,
    ):
        self.kind = kind
        self.bits = bits
        self.widths = widths
        self.categories = categories
        self.shared = shared

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "ThermometerEncoder":
        """Choose the thresholds and the codes.

        Args:
          X: numbers ``[N, F]``, or a data frame; NaN is a missing value.
          y: not used.
          sample_weight: the weight of each row, ``[N]``.

        Returns:
          The transformer itself.

        Raises:
          ValueError: a parameter is out of range, or the rows are not as `encoders.fit` needs them.

        Source: docs/semantics/classify.md
        """
        chosen = frames.categories(X, self.categories)
        self.words_ = frames.words(X, chosen)
        values = self._values(X, reset=True)
        widths = None if self.widths is None else tuple(self.widths)
        config = EncoderConfig(cast(Any, self.kind), self.bits, widths, chosen, self.shared)
        if sample_weight is not None:
            sample_weight = _validation._check_sample_weight(sample_weight, values, dtype=np.float64)
        self.encoder_ = encoders.fit(config, values, sample_weight)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows.

        Args:
          X: numbers ``[N, F]``, or a data frame, with the features of the fit.

        Returns:
          ``uint8 [N, B]``, the bits, 0 or 1; or what ``set_output`` asks for.

        Raises:
          ValueError: the features are others, or a value is missing where none was at the fit.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        return encoders.bits(self.encoder_, self._values(X, reset=False))

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """Name the bits.

        Args:
          input_features: the names of the features; None takes those of the fit.

        Returns:
          B strings, such as ``length>=2.5`` and ``colour=red``.

        Raises:
          ValueError: the names are not those of the fit.

        Source: docs/semantics/classify.md
        """
        _validation.check_is_fitted(self)
        known = _validation._check_feature_names_in(self, input_features)
        return np.array(encoders.names(self.encoder_, list(known), self.words_), object)

    def _values(self, X: Any, reset: bool) -> np.ndarray:
        X = frames.coded(X, self.words_)
        return _validation.validate_data(self, X, reset=reset, ensure_all_finite="allow-nan")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
