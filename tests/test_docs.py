"""Every Python block of a tutorial runs, in one namespace, and prints what the page shows."""

import contextlib
import io
import pathlib
import re
import tempfile

import numpy as np
import pytest

TUTORIALS = pathlib.Path(__file__).parent.parent / "docs" / "tutorials"
NAMES = sorted(path.stem for path in TUTORIALS.glob("*.md"))
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?:\n(?:<!-- (?P<kind>example|drawn) output -->\n)?```text\n(?P<text>.*?)^```$)?",
    re.M | re.S,
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_MOST_APART = 0.2


def same(printed: str, shown: str, kind: str | None) -> bool:
    """Whether a block printed what its page shows.

    Of an example the numbers may lie a fifth apart. Of a text that a model draws, only the length and the
    first words are compared: a draw follows from the last digit of a float, and that differs
    between processors.
    """
    if kind is None:
        return printed == shown
    if kind == "drawn":
        return printed.split()[:3] == shown.split()[:3] and len(printed) == len(shown)
    numbers = [[float(x.replace(",", "")) for x in _NUMBER.findall(text)] for text in (printed, shown)]
    words = [[_NUMBER.sub("0", line).split() for line in text.splitlines()] for text in (printed, shown)]
    return words[0] == words[1] and np.allclose(*numbers, rtol=_MOST_APART)


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs_and_prints_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = TUTORIALS / f"{name}.md"
    page, space = path.read_text(), {"__name__": name}
    blocks = list(_BLOCK.finditer(page))
    assert len(blocks) == page.count("```python")
    for block in blocks:
        # A failing line is named by its place in the page.
        lines_before = page.count("\n", 0, block.start("code"))
        code = compile("\n" * lines_before + block["code"], path, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, space)
        printed, shown = out.getvalue(), block["text"] or ""
        assert same(printed, shown, block["kind"]), (
            f"{path.name}, line {lines_before}: the block prints\n{printed}\nand the page shows\n{shown}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_is_short_and_leads_on(name):
    page = (TUTORIALS / f"{name}.md").read_text()
    assert 60 <= len(page.splitlines()) <= 160
    assert page.count("\n## Where to go next\n") == 1
    assert "\n## " not in page.split("\n## Where to go next\n")[1]


def test_an_example_is_compared_by_its_shape_and_a_drawn_text_by_its_prompt():
    shown = "chain 2.00 bits/byte, Kneser-Ney 3.0\nboth of 1,000 bytes\n"
    assert same(shown, shown, None)
    assert not same(shown.replace("2.00", "2.01"), shown, None)
    assert same(shown.replace("2.00", "2.30").replace("1,000", "900"), shown, "example")
    for other in (shown.replace("2.00", "2.60"), shown.replace("both", "all"), shown.replace("\n", " ")):
        assert not same(other, shown, "example")
    assert same(shown.replace("both", "each"), shown, "drawn")
    assert not same(shown.replace("chain", "chaos"), shown, "drawn")
    assert not same(shown[:-1], shown, "drawn")
