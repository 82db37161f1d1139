"""A frozen model as an Arduino sketch that answers the rows that come over its serial line.

Source: docs/semantics/export.md
"""

import os
import pathlib
from typing import Any

from wnn_jax import files
from wnn_jax.export import header, kernels, plan
from wnn_jax.export import inputs as types

_SKETCH = """\
#include <stdlib.h>
#include "model.h"

static wnn_input x[WNN_FEATURES];
static wnn_score scores[WNN_SCORES];

void setup() {
  Serial.begin(115200);
  Serial.println(F(WNN_ABOUT));
  if (wnn_selftest(x, scores)) Serial.println(F("self-test passed"));
  else Serial.println(F("self-test FAILED"));
}

// A row is a line of values with commas between them; a missing value is left out. The answer is a line, too.
void loop() {
  static char word[24];
  static uint8_t length = 0;
  static uint16_t feature = 0;
  if (!Serial.available()) return;
  const char c = (char)Serial.read();
  if (c != ',' && c != '\\n') {
    if (c != '\\r' && length < sizeof word - 1) word[length++] = c;
    return;
  }
  word[length] = 0;
WHOLE  if (feature < WNN_FEATURES) x[feature++] = VALUE;
  length = 0;
  if (c != '\\n') return;
  feature = 0;
  ANSWER
}
"""
_LABEL = "Serial.println((const __FlashStringHelper *)wnn_labels[wnn_predict(x, scores)]);"


def write(model: Any, folder: str | os.PathLike, tests: Any, inputs: types.Inputs = "auto") -> None:
    """Write a folder that the Arduino program opens: a sketch and the header of the model.

    The sketch tests itself when it starts. It then reads rows from the serial line at 115,200 baud and
    answers each with the name of its class, or with the value of a regression.

    Args:
      model: a frozen classifier or regressor.
      folder: the place of the folder; it must not exist. The sketch has its name.
      tests: one or a few rows ``[n, F]`` for the self-test.
      inputs: the type of an input value; see `inputs.chosen`.

    Raises:
      ValueError: the model is too large for an AVR, does not fit the type, or the folder cannot be written.

    Source: docs/semantics/export.md
    """
    folder = pathlib.Path(folder)
    text = header.text(model, tests, inputs, "avr")
    made = plan.make(model, inputs)
    missing, kind = any(one.missing for one in made.columns), made.input
    least = kernels.literal(kind.least + bool(kind.least and missing))
    limited = f"(wnn_input)(whole < {least} ? {least} : whole > {kind.most} ? {kind.most} : whole)"
    value = limited if kind.whole else "(float)atof(word)"
    if missing:
        value = f"length ? {value} : {'WNN_MISSING' if kind.whole else '(0.0f / 0.0f)'}"
    whole = "  const long whole = atol(word);\n" if kind.whole else ""
    answer = _LABEL if made.labels else "Serial.println(wnn_predict(x, scores), 6);"
    sketch = _SKETCH.replace("VALUE", value).replace("WHOLE", whole).replace("ANSWER", answer)
    with files.writing_folder(folder) as place:
        files.write(place / f"{folder.name}.ino", sketch.encode())
        files.write(place / "model.h", text.encode())
