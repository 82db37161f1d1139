"""The progress of commands, and the server that shows it as it comes."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading

import psutil
import pytest
from report_runs import BASELINES, shot, size, until, write

from experiments import report
from experiments.reporting import following, live, onepage
from experiments.shared import bars, running
from experiments.shared import tables as results
from experiments.shared.commandline import Command


def work(folder: pathlib.Path, steps: int, then=None) -> int:
    """Run a command that makes some steps in a workdir."""

    def main(options):
        results.make_workdir(str(folder))
        with bars.bar("model", "token") as step:
            for done in range(1, steps + 1):
                step("training", done, steps)
        if then:
            raise then

    return Command("made", "Made.", main).run([])


def followed(folder: pathlib.Path) -> following.Progress:
    progress = following.Progress(folder / running.PROGRESS)
    assert progress.update()
    return progress


@pytest.mark.parametrize(
    ("then", "state"),
    [(None, "ended"), (KeyboardInterrupt(), "stopped"), (ValueError("no"), "failed")],
)
def test_a_command_writes_its_steps_and_how_it_ended(tmp_path, then, state):
    work(tmp_path, 1000, then)
    progress, said = followed(tmp_path), "model, training; 1,000 of 1,000 token"
    assert progress.last() == {"state": state, "said": said, "percent": 100}
    assert 2 <= progress.count < 100, "steps that follow each other at once share a line"
    assert progress.new(0, False)[-1]["y"] == 100
    assert f">{state}</td>" in onepage.page([tmp_path])


def test_a_killed_command_is_shown_as_stopped(tmp_path):
    script = f"""
import pathlib, time
from experiments.shared import running
with running.command("made", []):
    running.work_in(pathlib.Path({str(tmp_path)!r}))
    running.lines().note("work", 1, 9, "step")
    print("begun", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        progress = followed(tmp_path)
        assert progress.state == "working"
        process.kill()
        process.wait()
    assert progress.state == "stopped"
    assert 'class="stopped">stopped' in onepage.page([tmp_path])


def test_progress_is_read_as_it_grows_and_half_a_line_waits(tmp_path):
    path = tmp_path / running.PROGRESS
    begun = json.dumps({"state": "working", "process": [0, 0], "time": "t"})
    about = {"work": "tabu", "done": 1, "total": 4, "unit": "gen", "seconds": 1}
    step = json.dumps(about | {"best": 2.0, "mean": 3.0})
    path.write_text(f"{begun}\n{{foreign\n{step}\n{step[:20]}")
    progress = followed(tmp_path)
    assert progress.count == 1
    assert [(point["line"], point["y"]) for point in progress.new(0, True)] == [("best", 2.0), ("mean", 3.0)]
    with path.open("a") as file:
        file.write(f"{step[20:]}\n")
    assert progress.update()
    assert (progress.count, len(progress.new(1, True))) == (2, 2)
    path.write_text(f"{begun}\n")  # begun anew
    assert progress.update()
    assert progress.count == 0


@pytest.fixture
def server(tmp_path):
    """A live server of a folder, in a thread."""
    (tmp_path / "secret.txt").write_text("secret")
    work(write(tmp_path / "runs" / "run", BASELINES), 3)
    made = live.Server([tmp_path / "runs"], "Live", "127.0.0.1", 0)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(server: live.Server, path: str, host: str | None = None, method: str = "GET"):
    """The response to a request, and its first bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or server.address[7:-1])
    connection.endheaders()
    response = connection.getresponse()
    endless = response.headers["Content-Type"] == "text/event-stream"
    body = response.fp.readline() + response.fp.readline() if endless else response.read()
    connection.close()
    return response, body


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/runs/../secret.txt",
        "/%2e%2e/secret.txt",
        "//etc/passwd",
        "/run/results.jsonl",
        "/?x",
        "*",
    ],
)
def test_the_server_serves_nothing_but_its_page_and_its_events(server, path):
    response, body = ask(server, path)
    assert response.status == 404
    assert b"secret" not in body.replace(path.encode(), b"")


def test_the_server_reads_only_and_refuses_other_hosts(server):
    assert ask(server, "/")[0].status == 200
    assert ask(server, "/", f"localhost:{server.server_address[1]}")[0].status == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1:1"):
        assert ask(server, "/", host)[0].status == ask(server, "/events", host)[0].status == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/", method=method)[0].status == 501
    assert server.server_address[0] == "127.0.0.1"


def test_the_server_pushes_what_is_new(server, tmp_path):
    response, body = ask(server, "/events")
    assert response.headers["Content-Type"] == "text/event-stream"
    name, data = body.decode().splitlines()
    assert name == "event: steps"
    (run,) = json.loads(data.removeprefix("data: "))
    assert (run["state"], run["percent"], run["points"][-1]["y"]) == ("ended", 100, 100)
    events = server.events()
    assert [next(events)[0], next(events)[0]] == ["steps", ""]
    write(tmp_path / "runs" / "other", BASELINES)
    assert next(name for name, _ in events if name) == "rows"


def test_a_port_that_is_taken_is_refused(server, tmp_path, capsys):
    code = report.COMMAND.run([str(tmp_path), "--live", f"--port={server.server_address[1]}"])
    assert code == 2
    assert "give another --port" in capsys.readouterr().err
    assert report.COMMAND.run(["--live"]) == 2
    assert "--live needs runs to show" in capsys.readouterr().err


def test_new_steps_come_into_the_open_page(server, tmp_path, browser):
    size(browser, 1280, 900)
    browser.get_log("browser")
    browser.get(server.address)
    shown = browser.find_element("id", "works")
    until(lambda: "ended: model, training; 3 of 3 token" in shown.text)
    process = [os.getpid(), psutil.Process().create_time()]
    lines = [{"state": "working", "process": process, "time": "later"}]
    lines += [{"work": "tabu", "done": 1, "total": 4, "unit": "gen", "seconds": 1, "best": 2.5, "mean": 3.0}]
    with (tmp_path / "runs" / "run" / running.PROGRESS).open("a") as file:
        for line in [*lines, lines[-1] | {"done": 2, "seconds": 2, "best": 2.25}]:
            file.write(json.dumps(line) + "\n")
            file.flush()
    until(lambda: "working: tabu; 2 of 4 gen; best 2.25, mean 3" in shown.text)
    until(lambda: len(shown.find_elements("css selector", "svg path[aria-roledescription=point]")) == 4)
    shot(browser, "live")
    assert browser.get_log("browser") == []
