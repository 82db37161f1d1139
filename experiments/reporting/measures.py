"""The meaning of the numbers of rows: titles, units, the better direction, and how they are written."""

import dataclasses
import math
from typing import Any

DASH = "-"  # in place of an unknown number
_LONG = 1e9  # larger numbers are written with an exponent


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number that rows hold.

    Attributes:
      key: its key in a row.
      title: the head of its column and the title of its axis.
      form: how it is written, in the words of `format`.
      unit: the unit, as the title of an axis names it.
      lower: whether a lower number is better.
      factor: what the number is multiplied by before it is written.
    """

    key: str
    title: str
    form: str = ",.4g"
    unit: str = ""
    lower: bool = False
    factor: float = 1.0

    @property
    def axis(self) -> str:
        """The title of an axis, with the unit and the better direction."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{unit}, {'lower' if self.lower else 'higher'} is better"

    def write(self, value: Any) -> str:
        """The number as text; a dash where it is unknown."""
        if not is_number(value):
            return DASH
        form = self.form if abs(value) < _LONG else ".3e"
        return format(self.factor * value, form) + (" %" if self.factor == 100 else "")


# Measures of quality, the first that a row has ranks it.
RANKED = (
    Measure("ce", "cross-entropy", ".4f", "nats a token", lower=True),
    Measure("r2", "R²", ".4f"),
    Measure("accuracy", "accuracy", ".2f", "%", factor=100),
    Measure("within_one", "within one star", ".1f", "%", factor=100),
    Measure("bits_per_byte", "bits a byte", ".4f", lower=True),
)
# All columns of tables of results, in their order.
COLUMNS = (
    *RANKED[:1],
    Measure("ppl", "perplexity", ",.1f", lower=True),
    RANKED[4],
    Measure("word_ppl", "perplexity of a word", ",.1f", lower=True),
    *RANKED[1:4],
    Measure("macro_f1", "macro F1", ".4f"),
    Measure("mean_error", "mean error", ".4f", lower=True),
    Measure("balanced", "balanced", ".3f"),
    Measure("auc", "AUC", ".3f"),
    Measure("rmse", "RMSE", ".3f", lower=True),
    Measure("gap", "gap to training text", "+.3f", "nats a token"),
    Measure("kib", "KiB", ",.1f", lower=True),
    Measure("parameters", "parameters", ",.0f", lower=True),
    Measure("microseconds", "microseconds a token", ",.1f", lower=True),
    Measure("rows_per_second", "rows a second", ",.0f"),
    Measure("train_seconds", "training seconds", ",.2f", lower=True),
    Measure("seconds", "seconds", ",.1f", lower=True),
)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def ranking(row: dict[str, Any]) -> Measure | None:
    """The measure that ranks a row; None where it has none."""
    found = next((measure for measure in RANKED if is_number(row.get(measure.key))), None)
    # Bits a byte follow from a cross-entropy; alone they rank nothing but compressed files.
    return None if found is RANKED[4] and "file" not in row else found


def write(value: Any) -> str:
    """Any value of a row as text: numbers with four digits, the rest as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 1 << 63 else "a number too large to show"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return DASH if value is None else str(value)
