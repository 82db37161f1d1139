"""The page of runs: what it shows, what it does not compare, what it survives, how it works in a browser."""

import json
import pathlib
import re

import pytest
from report_runs import BASELINES, COMMON, TEXT, shot, size, until, write

from experiments import report
from experiments.reporting import charts, comparing, onepage, reading, rows
from experiments.shared import tables as results
from experiments.shared.commandline import Command


def tables(*folders: pathlib.Path) -> list[comparing.Table]:
    return comparing.tables(reading.read(folders)[0])[0]


def names(table: comparing.Table) -> list[str]:
    return [system.name for system in table.systems]


def test_baselines_stand_first_and_the_best_honest_row_is_marked(tmp_path):
    losses = {"model, worse": 6.5, "model, oracle: not a model": 1.0, "model": 5.0}
    (table,) = tables(write(tmp_path / "run", BASELINES | losses))
    best = ["model, oracle: not a model", "model", "model, worse"]
    assert names(table) == ["Kneser-Ney 5", "unigram (add 0.1)", "uniform", *best]
    assert table.best is not None
    assert table.systems[table.best].name == "model"
    page = onepage.page([tmp_path])
    assert re.search(r'<tr class="best">\s*<th scope="row"><span class="star"[^>]*>★</span> model\s', page)
    assert "not a model</span>" in page


def test_a_verdict_says_how_far_a_system_is_from_its_start_and_from_the_baselines(tmp_path):
    made = tables(write(tmp_path / "run", BASELINES | {"model, random": 8.0, "model, tabu": 7.72}))
    lines = {system.name: line for system, line in comparing.verdicts(made[0], made)}
    assert lines["model, tabu"] == (
        "3.5 % below its start, 0.72 nats above unigram (add 0.1), 1.72 nats above Kneser-Ney 5"
    )
    assert lines["model, random"] == "1.00 nats above unigram (add 0.1), 2.00 nats above Kneser-Ney 5"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"config": {"text": TEXT | {"corpus": "b.txt"}}}, "another test text: here a.txt, there b.txt"),
        ({"eval_tokens": 50}, "another scored tokens: here 100 scored tokens, there 50 scored tokens"),
        ({"train_tokens": 50}, "another training tokens: here 900 training tokens, there 50"),
        ({"kind": "online"}, "another kind: here static, there online"),
        ({"kind": "in_context"}, "another kind: here static, there in_context"),
        ({"config": {"text": TEXT | {"tokenizer": "bytes"}}}, "another tokenizer: here tokenizer gpt2"),
    ],
)
def test_rows_that_may_not_be_compared_stand_in_two_tables_and_the_page_says_why(tmp_path, changed, reason):
    one = write(tmp_path / "one", BASELINES | {"a": 5.0, "c": 5.5})
    two = write(tmp_path / "two", {"b": 4.0}, **changed)
    made = tables(one, two)
    assert [names(table)[-1] for table in made] == ["c", "b"]
    assert reason in made[0].why
    assert reason in onepage.page([tmp_path])


def test_systems_of_other_numbers_of_seeds_are_ranked_apart(tmp_path):
    folders = [write(tmp_path / f"run{i}", BASELINES | {"a": 5.0 + i}, seed=i) for i in range(3)]
    folders.append(write(tmp_path / "single", BASELINES | {"b": 4.0}, config={"text": TEXT, "other": 1}))
    three, one = sorted(tables(*folders), key=lambda table: -len(table.systems[-1].seeds))
    assert (names(three)[-1], names(one)[-1]) == ("a", "b")
    system = three.systems[-1]
    assert (system.mean("ce"), min(system.values("ce")), max(system.values("ce"))) == (6.0, 5.0, 7.0)
    assert "number of seeds: here 3 seeds, there 1 seed" in three.why
    assert len(three.systems) == len(one.systems) == 4  # the baselines have no seed and stand in both


def test_no_row_is_the_best_if_a_baseline_tells_of_two_texts(tmp_path):
    one = write(tmp_path / "one", BASELINES | {"a": 5.0})
    two = write(tmp_path / "two", BASELINES | {"unigram (add 0.1)": 7.5, "b": 4.0}, seed=1)
    (table,) = tables(one, two)
    assert table.best is None
    assert "unigram (add 0.1) has values from 7.0000 to 7.5000" in table.warnings[0]


def test_no_row_is_the_best_if_the_scored_tokens_differ_under_one_name(tmp_path):
    one = write(tmp_path / "one", {"a": 5.0}, scored_sha256="aa")
    two = write(tmp_path / "two", {"b": 4.0}, scored_sha256="bb")
    old = write(tmp_path / "old", {"c": 6.0})
    (table,) = tables(one, two, old)
    assert table.best is None
    assert "two (bb) and one (aa) scored other tokens" in table.warnings[0]
    (alike,) = tables(one, old)
    assert alike.best == 0


def test_names_and_values_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    folder = write(tmp_path / "<script>", {evil: 5.0, 'x" onmouseover="y': 6.0, "</script><b>": 7.0})
    with (folder / "results.jsonl").open("a") as file:
        lines = {"row": "curve", "note": evil, "curve": [1, 2, 3], **COMMON, "device": evil, "command": evil}
        file.write(json.dumps(lines | {"config": {evil: evil}}))
    page = onepage.page([tmp_path], title=evil)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert 'x" onmouseover' not in page
    assert len(re.findall("<script", page)) == len(re.findall("</script", page)) == 3


def test_bad_lines_are_named_and_the_rest_is_shown(tmp_path):
    folder = write(tmp_path / "run", BASELINES | {"model": 5.0})
    bad = [b"{half a row", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b'{"no": "name"}', b"x" * (1 << 20)]
    bad += [b'{"row": 5}', b"9" * 5000, b""]
    with (folder / "results.jsonl").open("ab") as file:
        file.write(b"\n".join([*bad, json.dumps({"row": "last", "ce": 4.0, **COMMON}).encode()[:-9]]))
    write(tmp_path / "empty", {})
    (tmp_path / "empty" / "results.jsonl").write_bytes(b"")
    runs, problems = reading.read([tmp_path])
    assert [row["row"] for row in runs[0].rows] == [*BASELINES, "model"]
    named = sorted(int(re.findall(r"line (\d+)", line)[0]) for line in problems if " line " in line)
    assert named == [5, 6, 7, 8, 9, 10, 11, 12, 14]
    page = onepage.page([tmp_path])
    assert "results.jsonl line 5 is not a whole row: it is left out" in page
    assert "empty holds no rows" in page
    assert "model" in page


def test_foreign_rows_of_any_shape_are_shown(tmp_path):
    strange = [
        {"row": "a", "ce": True, "config": [1], "seed": {"x": 1}, "versions": "v", "time": 5, "command": 7},
        {"row": "b", "ce": 1e400, "config": {"text": 5}, "seeds": [{}], "device": None, "kind": [1]},
        {"row": "c", "ce": 5, "tokens": [0, 1, 2], "microseconds": [1, None, 3], "curve": [[1], 2, 3]},
        {"row": "d", "ce": 10**400, "data": 5, "file": {}, "bits_per_byte": 1, "size": []},
        {"row": "e", "accuracy": 0.5, "data": "set", "protocol": None, "shown": {}, "seed": [1]},
        {"row": "\ud800", "ce": float("nan"), "\ud800": float("inf"), "seconds": "long", "tokens": 7},
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, strange)))
    page = onepage.page([tmp_path])
    assert page.encode()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert sum(len(run["rows"]) for run in data["runs"]) == len(strange)


def test_a_large_file_makes_a_small_page_that_counts_what_it_leaves_out(tmp_path):
    line = json.dumps(
        {"row": "model", "ce": 5.0, "curve": [0.5] * 200, **COMMON, "config": {"x": "y" * 9000}}
    )
    count = 50_000_000 // len(line)
    (tmp_path / "results.jsonl").write_text("\n".join([line] * count))
    page = onepage.page([tmp_path])
    assert len(page.encode()) <= onepage.MOST
    assert f"{count - 1000:,} rows after the first 1,000 are not shown" in page


def test_runs_that_used_one_folder_one_after_the_other_are_told_apart(tmp_path):
    folder = write(tmp_path / "run", {"a": 5.0})
    more = json.dumps({"row": "b", "ce": 4.0, **COMMON, "time": "2026-02-02T00:00:00+00:00"})
    with (folder / "results.jsonl").open("a") as file:
        file.write(more)
    assert [run.name for run in reading.read([folder])[0]] == ["run", "run (2)"]


def test_every_picture_is_a_specification_that_vega_lite_draws(tmp_path):
    import vl_convert

    folder = write(tmp_path / "run", BASELINES | {"a": 5.0})
    lists = [
        {"row": "cost", "tokens": [10, 20, 30], "microseconds": [3.0, 2.0, 1.0]},
        {"row": "drift", "curve": [0.1, 0.2, 0.3], "seed": 0},
        {"row": "drift", "curve": [0.2, 0.3, 0.4], "seed": 1},
        {"row": "by tier", "tiers": {"a": [{"ce": 4.0}, {"ce": 5.0}, {"ce": 6.0}]}},
        *({"row": f"chain, {size}", "ce": 9.0 - size / 10, "tokens": size} for size in (10, 20)),
    ]
    with (folder / "results.jsonl").open("a") as file:
        file.writelines(json.dumps(COMMON | one) + "\n" for one in lists)
    runs = reading.read([folder])[0]
    made = [*charts.growth(runs), *charts.curves(runs)]
    made += [chart for table in comparing.tables(runs)[0] if (chart := charts.dots(table))]
    assert len(made) == 5
    for chart in made:
        svg = vl_convert.vegalite_to_svg(chart.spec | {"width": 300})
        assert svg.startswith("<svg")
        assert chart.alt.endswith(".")
    drift = next(chart for chart in made if "stream" in chart.title)
    first = drift.spec["data"]["values"][0]
    assert (first["low"], first["high"]) == (0.1, 0.2)


def test_the_page_of_the_kept_results_covers_every_system_and_needs_no_network(tmp_path):
    page = onepage.page([rows.FOLDER])
    assert len(page.encode()) < onepage.MOST
    for name in rows.Kept().heads:
        assert f'<th scope="row">{name}</th>' in page
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page.partition('id="data"')[0])


def test_the_command_writes_the_page_and_refuses_what_is_no_folder(tmp_path, capsys):
    folder = write(tmp_path / "run", BASELINES)
    output = tmp_path / "page.html"
    assert report.COMMAND.run([str(folder), f"--output={output}"]) == 0
    assert "uniform" in output.read_text()
    assert report.COMMAND.run([str(tmp_path / "none")]) == 2
    assert "is not a folder: give folders that hold a results.jsonl" in capsys.readouterr().err
    assert report.COMMAND.run([str(folder), "--docs"]) == 2
    assert "--docs takes no runs" in capsys.readouterr().err


def column(browser, table: str, number: int) -> list[str]:
    """The cells of a column that are shown, from the top."""
    script = """return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].filter(r => !r.hidden)
        .map(r => [...r.cells[arguments[1]].childNodes].filter(n => n.className !== "badge")
            .map(n => n.textContent).join("").trim())"""
    return browser.execute_script(script, table, number)


def opened(browser, tmp_path: pathlib.Path) -> None:
    """Open the page of two runs from the disk, on a wide screen."""
    losses = {"<script>": 6.5, "model": 5.0, "model, other": 5.5}
    for seed in range(2):
        write(
            tmp_path / "runs" / f"run{seed}",
            BASELINES | losses,
            seed=seed,
            config={"text": TEXT, "seed": seed},
        )
    page = tmp_path / "page.html"
    page.write_text(onepage.page([tmp_path]))
    size(browser, 1280, 900)
    browser.get(page.as_uri())


def test_a_table_is_sorted_by_the_keyboard_and_filtered(tmp_path, browser):
    opened(browser, tmp_path)
    heads = browser.find_elements("css selector", "#t1 thead button")
    assert column(browser, "t1", 0)[:3] == ["Kneser-Ney 5", "unigram (add 0.1)", "uniform"]
    heads[1].send_keys("\n")  # by the keyboard
    assert column(browser, "t1", 1) == ["5.0000", "5.5000", "6.0000", "6.5000", "7.0000", "9.0000"]
    assert browser.execute_script("return document.querySelectorAll('#t1 th')[1].ariaSort") == "ascending"
    heads[1].click()
    assert column(browser, "t1", 1)[0] == "9.0000"
    heads[1].click()
    assert column(browser, "t1", 0)[0] == "Kneser-Ney 5"

    browser.find_element("id", "filter-t1").send_keys("MODEL")
    assert column(browser, "t1", 0) == ["★ model", "model, other"]
    assert browser.find_element("css selector", "output[for=filter-t1]").text == "2 of 6 rows"

    assert browser.get_log("browser") == []


def test_pictures_settings_dark_pages_and_narrow_screens_work(tmp_path, browser):
    opened(browser, tmp_path)
    browser.execute_script("document.querySelector('.chart').scrollIntoView()")
    point = until(
        lambda: browser.find_elements("css selector", ".chart svg path[aria-roledescription=point]")
    )
    assert len(point) == 6
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(point[3]).perform()
    assert "model" in until(lambda: browser.find_element("id", "vg-tooltip-element").text)
    shot(browser, "light")

    assert "The settings of run0 and run1" not in browser.find_element("id", "differences").text
    assert browser.find_element("css selector", "#differences tbody").text == "seed 0 1"

    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(paper)
    browser.execute_script("scrollTo(0, 0)")
    browser.find_element("id", "theme").click()
    assert light == "rgb(255, 255, 255)" != browser.execute_script(paper)
    shot(browser, "dark")

    size(browser, 390, 844)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    shot(browser, "phone")
    assert browser.get_log("browser") == []


def test_a_page_of_200_runs_opens_within_two_seconds(tmp_path, browser):
    lists = {"bit_accuracy": [0.9, 0.8, 0.7, 0.6]}
    for run in range(200):
        losses = BASELINES | {f"model {i}": 5.0 + i for i in range(5)}
        write(
            tmp_path / f"run{run:03}",
            losses,
            eval_tokens=100 + run // 4,
            config={"text": TEXT, "x": run},
            **lists,
        )
    page = tmp_path / "page.html"
    page.write_text(onepage.page([tmp_path]))
    size(browser, 1280, 900)
    browser.get(page.as_uri())
    timing = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    assert 0 < until(lambda: browser.execute_script(timing)) < 2000
    assert len(column(browser, "overview", 0)) == 200


def test_rows_hold_the_command_line_and_kept_rows_do_not(tmp_path):
    def main(options):
        folder = results.make_workdir(options.common.workdir)
        results.Results(folder, {"experiment": "made"}).add("row", ce=1.0)

    command = Command("made", "Made.", main)
    assert command.run([f"--workdir={tmp_path}/a b", "--seed=3"]) == 0
    (run,) = reading.read([tmp_path / "a b"])[0]
    assert run.head["command"] == f"python -m experiments.made '--workdir={tmp_path}/a b' --seed=3"
    assert comparing.flags(run.head["command"])["seed"] == "3"
    head, kept = rows.read_workdir(tmp_path / "a b")
    assert not any("command" in record for record in (head, *kept))
