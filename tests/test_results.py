"""Every published number comes from a row, and a row can be run again."""

import json
import math
import pathlib
import re

import pytest

from experiments import reproduce
from experiments.reporting import pages, rows

KEPT = rows.Kept()


def run(**limits) -> rows.Run:
    return rows.Run("r", "s", "bitwise", **{"tolerance": 0.0, "factor": 0.0} | limits)


def test_every_page_is_what_its_template_and_rows_make():
    names = [path.relative_to(pages.ROOT).as_posix() for path in pages.stale(KEPT)]
    assert not names, "write them with python -m experiments.report --docs"


def test_no_number_is_typed():
    for name in pages.targets():
        if name.endswith(".md"):
            typed = pages.typed_numbers((pages.TEMPLATES / name).read_text(encoding="utf-8"))
            assert not typed, f"{name} holds typed numbers: take them from rows"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a CE of 6.278 nats", ["6.278"]),
        ("(.004)", [".004"]),
        ("217,565 tokens, 19.3 %", ["217,565", "19.3"]),
        ("half: 50 %", ["50 %"]),
        ("T = 20, seeds 0, 1, 2; `--rate=0.25`, {{ x | mean(3) }} and [a](b-1.2.md)", []),
    ],
)
def test_typed_numbers_are_found_in_words_and_not_in_code(text, found):
    assert pages.typed_numbers(text) == found


def test_every_run_has_its_rows_and_every_row_its_run():
    planned = rows.plan()
    assert set(KEPT.heads) == {*planned, "elsewhere"}
    for name, one in planned.items():
        head = KEPT.heads[name]
        assert head["command"] == one.line, f"{name} was measured with another command: keep it again"
        measured = {"versions", "device", "backend", "time", "command_seconds"}
        assert "printed" in head or measured <= set(head)
        assert KEPT.rows[name]
    assert all(row["source"] for row in KEPT.rows["elsewhere"])


def test_no_row_names_a_folder_of_the_machine_it_was_measured_on():
    for path in rows.FOLDER.glob("*.jsonl"):
        assert not re.search(r'"/(home|root|work|Users|tmp)/', path.read_text(encoding="utf-8")), path.name


def test_rows_that_are_kept_are_read_back(tmp_path, monkeypatch):
    """One changed digit of a kept row makes a page that uses it differ."""
    monkeypatch.setenv("WNN_JAX_DATA", "/a/folder")
    (tmp_path / "runs.toml").write_text(
        '[[run]]\nname = "r"\nsystem = "s"\ncommand = "bitwise"\nseeds = [0, 1]\n'
    )
    for seed, ce in ((1, 2.5), (0, 1.5)):
        common = {"config": {"corpus": "/a/folder/x.txt"}, "seed": seed, "device": "cpu"}
        lines = [json.dumps({"row": name, "ce": ce, **common}) for name in ("a", "b")]
        work = tmp_path / f"work{seed}"
        work.mkdir()
        (work / "results.jsonl").write_text("\n".join(lines))
        rows.record(rows.plan(tmp_path)[f"r@{seed}"], work, 3.0, tmp_path)
    kept = rows.Kept(tmp_path)
    assert list(kept.heads) == ["r@0", "r@1"]
    assert kept.heads["r@0"]["config"]["corpus"] == "$WNN_JAX_DATA/x.txt"
    chosen = pages.select(kept, "r", row="a")
    assert pages.each(chosen.ce, 1) == "1.5, 2.5"
    assert pages.spread(chosen.ce, 1) == "2.0 (1.0)"
    with pytest.raises(ValueError, match=r"no row 'c'.*its rows: a, b"):
        pages.select(kept, "r", row="c")
    assert pages.select_any(kept, "r", "nothing", row="a").ce.tolist() == [1.5, 2.5]
    assert not len(pages.select_any(kept, "r", row="c"))
    assert not len(pages.select_any(kept, "nothing"))
    with pytest.raises(ValueError, match="holds no run nothing"):
        pages.select(kept, "nothing")
    with pytest.raises(ValueError, match="has no 'accuracy', only"):
        _ = chosen.accuracy


@pytest.mark.parametrize(
    ("limits", "old", "new", "distance"),
    [
        ({}, {"ce": 1.5}, {"ce": 1.5}, 0),
        ({}, {"ce": 1.5}, {"ce": 1.5000001}, math.inf),
        ({"tolerance": 0.01}, {"ce": 2.0}, {"ce": 2.01}, 0.5),
        ({"tolerance": 0.01}, {"ce": 2.0}, {"ce": 2.03}, 1.5),
        ({"tolerance": 0.01}, {"ce": 2.0, "name": "a"}, {"ce": 2.0, "name": "b"}, math.inf),
        ({"tolerance": 0.01}, {"tiers": [{"ce": 1.0}]}, {"tiers": [{"ce": 1.0}, {"ce": 2.0}]}, math.inf),
        ({"tolerance": 0.01}, {"tiers": [{"ce": 1.0}]}, {"tiers": [{"ce": 1.02}]}, 2),
        ({"tolerance": 0.01}, {"ce": None}, {"ce": 1.0}, math.inf),
        ({"tolerance": 0.01}, {"ce": 1.0}, {"ce": 1.0, "accuracy": 0.5}, math.inf),
        ({}, {"ce": 1.0}, {"ce": 1.0, "word_ppl": 9.0}, 0),
        ({}, {"ce": 1.0, "word_ppl": 9.0}, {"ce": 1.0}, math.inf),
        ({"tolerance": 0.01}, {"share": 0.0001}, {"share": 0.0006}, 0.5),
        # The change of a loss: another processor's rounding moves it by as much as the loss.
        ({"tolerance": 0.01}, {"copy": -0.0003}, {"copy": 0.0047}, 0.5),
        ({"tolerance": 0.01}, {"a - b": {"nats": 0.002}}, {"a - b": {"nats": 0.022}}, 2),
        ({}, {"copy": -0.0003}, {"copy": -0.0004}, math.inf),
        ({}, {"ce": 1.0, "seconds": 2.0}, {"ce": 1.0, "seconds": 9.0}, 0),
        ({"factor": 3.0}, {"ns": 2.0}, {"ns": 5.0}, 0.5),
        ({"factor": 3.0}, {"ns": 2.0}, {"ns": 7.0}, math.inf),
    ],
)
def test_rows_are_compared_within_their_tolerance(limits, old, new, distance):
    ((name, apart),) = rows.differences(run(**limits), [{"row": "a", **old}], [{"row": "a", **new}])
    assert name == "a"
    assert apart == pytest.approx(distance)


def test_a_missing_row_differs_and_rows_of_one_name_are_compared_in_order():
    old = [{"row": "a", "ce": 1.0}, {"row": "a", "ce": 2.0}, {"row": "b", "ce": 3.0}]
    assert list(rows.differences(run(), old, old)) == [("a", 0), ("a", 0), ("b", 0)]
    assert list(rows.differences(run(), old, old[1:])) == [("a", math.inf), ("a", math.inf), ("b", 0)]


def test_a_program_without_a_seed_is_not_compared():
    old = [{"row": "a", "ce": 1.0}, {"row": "wisardpkg", "accuracy": 0.5}]
    assert list(rows.differences(run(), old, old[:1])) == [("a", 0)]


def test_of_printed_rows_only_what_was_printed_is_compared():
    printed = [{"row": "a", "ce": 2.0}]
    new = [{"row": "a", "ce": 2.001, "ppl": 7.0}, {"row": "b", "ce": 1.0}]
    assert rows.narrowed(printed, new) == [{"row": "a", "ce": 2.001}]


def test_reproduce_lists_every_run(capsys):
    assert reproduce.COMMAND.run([]) == 0
    said = capsys.readouterr().out
    for name, one in rows.plan().items():
        assert re.search(rf"^{re.escape(name)} .*{re.escape(one.line)}$", said, re.M)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--row=nothing"], "no run is named nothing"),
        (["--minutes=3"], "--minutes=3.0 limits --all"),
        (["--record"], "--record needs the runs to keep"),
    ],
)
def test_reproduce_refuses_what_it_cannot_do(flags, message, capsys, tmp_path):
    assert reproduce.COMMAND.run([*flags, f"--workdir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err


def test_reproduce_ends_with_1_where_a_row_differs(monkeypatch, capsys, tmp_path):
    """The run itself is left out: its workdir holds what it would write."""
    name, folder = "bitwise-count-c2@0", tmp_path / "bitwise-count-c2@0"
    head, kept = KEPT.heads[name], KEPT.rows[name]

    def again(run, workdir, resume):
        folder.mkdir(exist_ok=True)
        shared = {key: value for key, value in head.items() if key not in ("command", "command_seconds")}
        (folder / "results.jsonl").write_text("\n".join(json.dumps({**row, **shared}) for row in changed))
        return 1.0

    monkeypatch.setattr(reproduce, "_run", again)
    changed = kept
    assert reproduce.COMMAND.run([f"--row={name}", f"--workdir={tmp_path}"]) == 0
    assert f"{name}: equal, {len(kept)} rows" in capsys.readouterr().out
    changed = [{**kept[0], "ce": kept[0]["ce"] + 1e-3}, *kept[1:]]
    assert reproduce.COMMAND.run([f"--row={name}", f"--workdir={tmp_path}"]) == 1
    assert f"{name}: DIFFERS in 1 of {len(kept)} rows, first in {kept[0]['row']!r}" in capsys.readouterr().out


def test_with_minutes_the_shortest_runs_are_chosen():
    planned = rows.plan()
    within = reproduce._select(reproduce.Options(all=True, minutes=1.5), planned, KEPT)
    seconds = [KEPT.heads[one.name]["command_seconds"] for one in within]
    assert seconds == sorted(seconds)
    assert sum(seconds) <= 90
    assert len(within) < len(planned)


# One run of each system, the quickest; every published run is of this kind.
QUICK = ["bitwise-count-c2@0", "search-check", "builtin-chain", "tiered-check", "gates-check"]
QUICK += ["recommender-check", "eam-check", "vocab-check", "classify-iris"]


@pytest.mark.long
@pytest.mark.parametrize("name", QUICK)
def test_a_run_of_each_system_comes_back(name, tmp_path, data, gpt2, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # compiled as users compile it
    assert reproduce.COMMAND.run([f"--row={name}", f"--workdir={tmp_path}"]) == 0


def test_links_of_the_readme_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = pathlib.Path(pages.ROOT, page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert pathlib.Path(pages.ROOT, link).exists(), f"{page} links to {link}"


def test_the_readme_is_one_page():
    text = pathlib.Path(pages.ROOT, "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(text.encode()) <= 9_000
