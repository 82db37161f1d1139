"""Made-up runs for the tests of their page, and what those tests do in a browser."""

import json
import os
import pathlib
import time

TEXT = {"corpus": "a.txt", "tokenizer": "gpt2", "eval_corpus": None, "overlap": "refuse"}
COMMON = {"experiment": "bitwise", "train_tokens": 900, "eval_tokens": 100, "seed": 0}
COMMON |= {"config": {"text": TEXT}, "time": "2026-01-02T03:04:05+00:00", "versions": {"jax": "0.10.2"}}
COMMON |= {
    "device": "cpu: a processor",
    "backend": "XLA",
    "command": "python -m experiments.bitwise --seed=0",
}
BASELINES = {"uniform": 9.0, "unigram (add 0.1)": 7.0, "Kneser-Ney 5": 6.0}


def write(folder: pathlib.Path, losses: dict[str, float], **changed) -> pathlib.Path:
    """Write the rows of a run: the baselines and some systems."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"row": row, "ce": ce, **COMMON, **changed}) for row, ce in losses.items()]
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def until(found, seconds: float = 10.0):
    """Wait until a function gives something, and return that."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "the page did not come so far"
        time.sleep(0.05)
    return value


def shot(browser, name: str) -> None:
    """Keep a screenshot where CI asks for them."""
    if folder := os.environ.get("WNN_JAX_SCREENSHOTS"):
        browser.save_screenshot(str(pathlib.Path(folder) / f"{name}.png"))


def size(browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
