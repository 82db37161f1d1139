"""The views of a page: pictures that commands drew, and the population and the winner of a search."""

import json
import xml.etree.ElementTree

import numpy as np
import pytest
from report_runs import BASELINES, until, write

from experiments import report
from experiments.classifying import pictures as class_pictures
from experiments.compressing import pictures as compress_pictures
from experiments.compressing.programs import Packed
from experiments.reporting import drawings, live, onepage, reading, searches
from experiments.shared import plots, running, views
from experiments.shared.plots import plt


def charts(folder) -> list:
    runs, problems = reading.read([folder])
    assert not problems
    return onepage.layout(runs).charts


def chart(folder, word: str):
    (found,) = [one for one in charts(folder) if word in one.title]
    return found


def values(chart) -> list:
    return chart.spec["data"]["values"]


def test_the_lines_of_a_picture_come_back_with_their_bars_and_names(tmp_path):
    write(tmp_path, BASELINES)
    figure, axes = plt.subplots()
    axes.plot([1, 10, 100], [3.0, 2.0, 1.5], label="model")
    axes.errorbar([1, 10], [4.0, 3.0], yerr=[[0.5, 0.25], [1.0, 0.0]], label="seeds", color="0.5")
    axes.plot([2, 4], [1.0, np.nan], label="with a hole")
    axes.axvline(5)
    axes.set(xscale="log", xlabel="tokens", ylabel="nats", title="Loss")
    plots.save(figure, tmp_path / "loss.png")
    made = chart(tmp_path, "Loss")
    found = [(point["line"], point["x"], point["y"], point["low"], point["high"]) for point in values(made)]
    assert found == [
        ("model", 1, 3, 3, 3),
        ("model", 10, 2, 2, 2),
        ("model", 100, 1.5, 1.5, 1.5),
        ("seeds", 1, 4, 3.5, 5),
        ("seeds", 10, 3, 2.75, 3),
        ("with a hole", 2, 1, 1, 1),
    ]
    assert made.spec["encoding"]["x"]["scale"]["type"] == "log"
    (rule,) = [layer for layer in made.spec["layer"] if layer["mark"]["type"] == "rule" and "data" in layer]
    assert rule["encoding"]["x"]["datum"] == 5
    assert made.alt == "nats against tokens: model, seeds, with a hole; 6 points."


def test_dots_come_back_with_the_words_beside_them_and_empty_panels_do_not(tmp_path):
    write(tmp_path, BASELINES)
    packed = {"chain": Packed(10, 2.0, 1.0), "gzip": Packed(20, 0.5, 0.1)}
    compress_pictures.size_and_speed(
        tmp_path / "c.png", {"text": packed, "logs": packed}, {"text": 80, "logs": 40}
    )
    assert sorted((dot["line"], dot["x"], dot["y"]) for dot in values(chart(tmp_path, "Text"))) == [
        ("chain", 40, 1),
        ("gzip", 160, 2),
    ]
    assert len([one for one in charts(tmp_path) if "bits a byte" in one.title]) == 2


def test_bars_come_back_in_their_groups_and_baselines_stay_grey(tmp_path):
    write(tmp_path, BASELINES)
    plots.bit_accuracy(tmp_path / "bits.png", np.array([0.9, 0.8]), np.array([0.7, 0.6]), "model")
    plots.bars(tmp_path / "bars.png", {"counts": [3.0], "model": [1.0, 2.0]}, "a loss", gray=["counts"])
    bits, bars = chart(tmp_path, "Accuracy of each bit"), chart(tmp_path, "A loss")
    assert [(bar["line"], bar["at"], bar["end"]) for bar in values(bits)] == [
        ("always the commoner value", "0", 0.7),
        ("always the commoner value", "1", 0.6),
        ("model", "0", 0.9),
        ("model", "1", 0.8),
    ]
    assert [(bar["at"], bar["line"], bar["low"], bar["end"], bar["high"]) for bar in values(bars)] == [
        ("counts", "baseline", 3, 3, 3),
        ("model", "values", 1, 1.5, 2),
    ]


def test_maps_come_back_cell_by_cell_with_their_words(tmp_path):
    write(tmp_path, BASELINES)
    before, after = np.array([[[0, 1], [1, -1]]]), np.array([[[2, 2], [0, 2]]])
    plots.connections(tmp_path / "connections.png", before, after, 1)
    plots.hops(tmp_path / "hops.png", ["a ", "b"], np.array([["x", "y"], ["z", " w"]], object), np.eye(2))
    class_pictures.confusion(tmp_path / "c.png", np.array([0, 1, 1]), np.array([0, 0, 1]), ["no", "yes"])
    assert values(chart(tmp_path, "cluster, before")) == [1, 2, 0]
    assert values(chart(tmp_path, "cluster, after")) == [1, 0, 3]
    hops = chart(tmp_path, "next word after each hop")
    assert [(one["row"], one["column"], one["word"]) for one in hops.spec["layer"][1]["data"]["values"]] == [
        (0, 0, "x"),
        (0, 1, "y"),
        (1, 0, "z"),
        (1, 1, "\u2423w"),
    ]
    assert '"0": "a\\u2423", "1": "b"' in hops.spec["layer"][0]["encoding"]["x"]["axis"]["labelExpr"]
    assert values(chart(tmp_path, "true and predicted class")) == [1, 0, 0.5, 0.5]


def test_mental_images_become_one_map_with_a_gap_between_two_of_them(tmp_path):
    write(tmp_path, BASELINES)
    images = np.arange(24, dtype=float).reshape(6, 4)
    class_pictures.mental_images(tmp_path / "images.png", images, list("abcdef"), [], (2, 2))
    made = chart(tmp_path, "What each class was written with")
    cells = np.array(values(made), object).reshape(5, 14)
    assert cells[:2, 3:5].tolist() == [[4, 5], [6, 7]]
    assert cells[3:, :2].tolist() == [[20, 21], [22, 23]]
    assert not cells[2].any()
    assert cells[3, 3] is False
    assert made.note == "In the order of reading: a, b, c, d, e, f."


def test_the_newest_numbers_of_a_picture_count_and_what_is_no_picture_is_named(tmp_path):
    write(tmp_path, BASELINES)
    for end in (2.0, 3.0):
        figure, axes = plt.subplots()
        axes.plot([1, 2], [1.0, end])
        axes.set_title("Twice")
        plots.save(figure, tmp_path / "twice.png")
    with (tmp_path / views.FILE).open("a") as file:
        file.write('{half\n[]\n{"other": 1}\n')
        lines = [[], [5], [{"lines": 7}], [{"title": "", "map": {"rows": 2, "columns": 2, "values": [1]}}]]
        for i, panels in enumerate(lines):
            file.write(json.dumps({"picture": f"{i}.png", "title": "", "panels": panels}) + "\n")
    runs, problems = reading.read([tmp_path])
    assert [line.split(" line ")[1][0] for line in problems] == ["3", "4", "5"]
    made = onepage.layout(runs)
    assert [point["y"] for point in values(made.charts[-1])] == [1, 3]
    assert made.problems == [f"{runs[0].name}: the numbers of {i}.png cannot be drawn" for i in (1, 2, 3)]
    assert "the numbers of 1.png cannot be drawn" in onepage.page([tmp_path])


def test_a_page_with_too_many_large_maps_leaves_some_out_and_says_so(tmp_path):
    write(tmp_path, BASELINES)
    cells = {"rows": 100, "columns": 900, "values": [0.333333] * 90_000, "low": 0, "high": 1, "words": {}}
    axis = {"title": "bit", "scale": "linear", "ticks": None}
    panel = {"title": "map", "lines": [], "bars": [], "rules": [], "x": axis, "y": axis}
    panel["map"] = cells | {"up": False, "unit": ""}
    with (tmp_path / views.FILE).open("w") as file:
        for i in range(12):
            file.write(json.dumps({"picture": f"{i}.png", "title": "", "panels": [panel]}) + "\n")
    page = onepage.page([tmp_path])
    assert len(page.encode()) <= onepage.MOST
    assert "8 more pictures are not drawn" in page


def searched(folder, steps: int = 3):
    """Write the progress and the genome of a search of three genomes."""
    write(folder, BASELINES)
    begun = {"state": "working", "process": [0, 0], "time": "t", "command": None}
    about = {"work": "tabu", "total": steps, "unit": "gen", "best": 2.0, "mean": 3.0, "candidates": 10}
    lines = [begun]
    for i in range(steps):
        population = [[2.0 - i / 10, 1.0], [3.0, 1.5 + i], [float("nan"), 1.0]]
        lines.append(about | {"done": i + 1, "seconds": i, "searched": i * 2.0, "accepted": i})
        lines[-1]["population"] = population
    (folder / running.PROGRESS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    genome = np.array([[[3, 1], [2, -1]], [[0, 5], [-1, -1]]], np.int16)
    views.keep_genome(folder, genome)
    return genome


def test_the_population_of_a_search_moves_and_its_acceptance_and_speed_are_shown(tmp_path):
    searched(tmp_path)
    population, accepted = (chart(tmp_path, word) for word in ("Population", "Acceptance"))
    assert [(dot["frame"], dot["size"], dot["loss"]) for dot in values(population)] == [
        (0, 1.0, 2.0),
        (0, 1.5, 3.0),
        (1, 1.0, 1.9),
        (1, 2.5, 3.0),
        (2, 1.0, 1.8),
        (2, 3.5, 3.0),
    ]
    assert population.spec["params"][0]["bind"]["max"] == 2
    assert population.note.startswith("tabu: 5 genomes a second")
    assert [point["y"] for point in values(accepted)] == [0, 10, 20]


def test_the_winner_of_a_search_can_be_copied_back_into_python(tmp_path):
    genome = searched(tmp_path)
    runs, _ = reading.read([tmp_path])
    winner = searches.winner(runs[0])
    assert winner
    assert winner["lines"] == [
        {"neurons": 2, "bits": "1.5", "inputs": 3, "first": "3, 1"},
        {"neurons": 1, "bits": "2.0", "inputs": 2, "first": "0, 5"},
    ]
    made: dict = {}
    exec(winner["code"], made)
    np.testing.assert_array_equal(made["genome"], genome)
    assert made["genome"].dtype == genome.dtype
    views.keep_genome(tmp_path, np.zeros((1, 400, 400), np.int16))
    assert "too many numbers for a page" in onepage.page([tmp_path])


def test_a_search_is_watched_with_its_newest_population(tmp_path):
    searched(tmp_path)
    server = live.Server([tmp_path], "Runs", "127.0.0.1", 0)
    with server:
        ((run,),) = (data for name, data in [next(server.events())] if name == "steps")
    assert [(dot["loss"], dot["size"]) for dot in run["population"]] == [(1.8, 1.0), (3.0, 3.5)]
    assert run["scatter"]["encoding"]["x"]["field"] == "size"


def test_each_picture_is_written_as_a_file_of_its_own(tmp_path):
    searched(tmp_path / "run")
    plots.hops(tmp_path / "run" / "hops.png", ["<a>", "&"], np.array([["x", "y"]], object), np.ones((1, 2)))
    write(tmp_path / "run2", {"a": 5.0, "b": 6.0}, eval_tokens=7)
    arguments = [
        str(tmp_path),
        f"--output={tmp_path / 'report.html'}",
        f"--pictures={tmp_path / 'new' / 'own'}",
    ]
    assert report.COMMAND.run(arguments) == 0
    written = sorted((tmp_path / "new" / "own").iterdir())
    assert len(written) == len(charts(tmp_path))
    for path in written:
        assert xml.etree.ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "var(--" not in path.read_text()
    assert report.COMMAND.run(["--pictures=x"]) == 2
    (tmp_path / "file").write_text("")
    arguments[2] = f"--pictures={tmp_path / 'file' / 'x'}"
    assert report.COMMAND.run(arguments) == 2


def test_the_colours_of_a_picture_are_those_of_the_light_page():
    light = (onepage.FOLDER / "page.css").read_text().partition("}")[0]
    for number in range(7):
        assert f"--hue{number}:{drawings._plain_colours(f'var(--hue{number})')}" in light


def test_a_population_plays_and_a_genome_is_copied_in_a_browser(tmp_path, browser):
    searched(tmp_path)
    path = tmp_path / "report.html"
    path.write_text(onepage.page([tmp_path]))
    browser.get(path.as_uri())
    browser.execute_script("for (const one of document.querySelectorAll('.chart')) one.scrollIntoView()")
    play = until(lambda: browser.find_elements("css selector", "button.play"))[0]
    slider = until(lambda: browser.find_elements("css selector", ".vega-bind input"))[0]
    assert slider.get_attribute("value") == "2"
    browser.execute_script("arguments[0].click()", play)
    assert play.text == "Stop"
    until(lambda: slider.get_attribute("value") == "0")
    until(lambda: play.text == "Play" and slider.get_attribute("value") == "2")
    summary = browser.find_element("css selector", "#genomes summary")
    browser.execute_script("arguments[0].click()", summary)
    assert (
        "np.array([[[3,1],[2,-1]],[[0,5],[-1,-1]]], np.int16)" in browser.find_element("id", "genomes").text
    )
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


@pytest.mark.parametrize("unit", ["gen", "token"])
def test_numbers_of_steps_reach_the_page_and_unknown_ones_do_not(tmp_path, unit):
    lines = running.Lines(tmp_path)
    lines.note("work", 1, 2, unit, loss=1.5, mean=None, best=float("nan"), population=[[1.0, 2.0]])
    record = json.loads((tmp_path / running.PROGRESS).read_text().splitlines()[-1])
    assert (record["loss"], record["population"]) == (1.5, [[1.0, 2.0]])
    assert not {"mean", "best"} & record.keys()
