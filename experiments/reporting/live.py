"""A page of runs that is served while they work, and the new steps that are pushed to it.

The server answers two paths, the page and its events, and reads no file that a request names. It only reads.
"""

import http
import http.server
import json
import pathlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.reporting import charts, onepage, reading, searches
from experiments.reporting.following import Progress
from experiments.shared import views
from experiments.shared.running import PROGRESS

_PAUSE = 1.0  # seconds between two looks at the files
_SILENCE = 15.0  # seconds after which an empty message keeps the connection
_READERS = 16  # pages that may listen at once
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Server(http.server.ThreadingHTTPServer):
    """A server of the page of some runs and of their progress.

    Args:
      paths: folders of runs, as `reading.read` takes them.
      title: the title of the page.
      host: the address to listen at. At an address of this machine alone, requests to any other name are
        refused.
      port: the port; 0 takes a free one.

    Raises:
      OSError: nothing can listen there.
    """

    daemon_threads = True

    def __init__(self, paths: Sequence[str | pathlib.Path], title: str, host: str, port: int):
        self.paths, self.title, self.host = paths, title, host
        self.readers = threading.BoundedSemaphore(_READERS)
        self.stopped = threading.Event()
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return f"http://{self.host}:{self.server_address[1]}/"

    def knows(self, host: str | None) -> bool:
        """Whether a request asks for a name of this machine.

        A page of others can give this machine a name of its own, and would then read what is served here.
        """
        if self.host not in _LOOPBACK:
            return True
        return host in {f"{name}:{self.server_address[1]}" for name in _LOOPBACK}

    def page(self) -> str:
        """The page as it is now."""
        runs, problems = reading.read(self.paths)
        return onepage.render(runs, problems, self.title, live=True)

    def events(self) -> Iterator[tuple[str, Any]]:
        """The names and data of what happens, until the server stops; an empty name where nothing does."""
        followed: dict[pathlib.Path, Progress] = {}
        sent: dict[pathlib.Path, tuple[int, str, str]] = {}
        rows = self._rows()
        while not self.stopped.is_set():
            for folder in self._workdirs():
                followed.setdefault(folder, Progress(folder / PROGRESS))
            news = [new for folder, one in followed.items() if (new := _news(folder, one, sent))]
            if news:
                yield "steps", news
            now = self._rows()
            if now != rows:
                rows = now
                yield "rows", len(now)
            yield "", None
            self.stopped.wait(_PAUSE)

    def shutdown(self) -> None:
        """Stop, and end what is being sent."""
        self.stopped.set()
        super().shutdown()

    def _workdirs(self) -> list[pathlib.Path]:
        return [folder for path in self.paths for folder in reading.workdirs(pathlib.Path(path))]

    def _rows(self) -> dict[pathlib.Path, int]:
        """The sizes of all files of rows."""
        files = [folder / "results.jsonl" for folder in self._workdirs()]
        return {path: path.stat().st_size for path in files if path.is_file()}


def _news(
    folder: pathlib.Path, progress: Progress, sent: dict[pathlib.Path, tuple[int, str, str]]
) -> dict[str, Any] | None:
    """The news of a workdir since it was sent; None where nothing is."""
    if not progress.update():
        return None
    seen, state, began = sent.get(folder, (0, "", ""))
    begins = began != progress.began
    last = progress.last()
    if not begins and (seen, state) == (progress.count, last["state"]):
        return None
    losses = progress.losses
    points = progress.new(0 if begins else seen, losses)
    sent[folder] = progress.count, last["state"], progress.began
    population = searches.frame(progress)
    return {
        "name": str(folder),
        "begins": begins,
        **last,
        "points": views.plain(points[-2000:]),
        "spec": charts.live(losses) if points else None,
        "population": views.plain(population),
        "scatter": searches.scatter([], 1) if population else None,
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "wnn_jax", ""

    def do_GET(self) -> None:
        if not self.server.knows(self.headers.get("Host")):
            self.send_error(http.HTTPStatus.FORBIDDEN, "this server answers to names of this machine only")
        elif self.path == "/":
            self._page()
        elif self.path == "/events":
            self._events()
        else:
            self.send_error(http.HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal shows the address."""

    def _page(self) -> None:
        try:
            body = self.server.page().encode()
        except ValueError as error:  # a folder went away
            self.send_error(http.HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
            return
        self._head("text/html; charset=utf-8", {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, kind: str, more: dict[str, str]) -> None:
        self.send_response(http.HTTPStatus.OK)
        fixed = {"Content-Type": kind, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        for name, value in (fixed | {"Referrer-Policy": "no-referrer"} | more).items():
            self.send_header(name, value)
        self.end_headers()

    def _events(self) -> None:
        if not self.server.readers.acquire(blocking=False):
            self.send_error(
                http.HTTPStatus.SERVICE_UNAVAILABLE, f"{_READERS} pages listen already: close one"
            )
            return
        try:
            self.close_connection = True
            self._head("text/event-stream", {"Connection": "close"})
            spoke = 0.0
            for name, data in self.server.events():
                if name:
                    self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                elif time.monotonic() - spoke > _SILENCE:
                    self.wfile.write(b": still here\n\n")
                else:
                    continue
                spoke = time.monotonic()
        except OSError:  # the page was closed
            pass
        finally:
            self.server.readers.release()


def serve(paths: Sequence[str | pathlib.Path], title: str, host: str, port: int) -> None:
    """Serve the page of some runs until an interrupt.

    Args:
      paths: folders of runs, as `reading.read` takes them.
      title: the title of the page.
      host: the address to listen at.
      port: the port; 0 takes a free one.

    Raises:
      ValueError: a path is not a folder, or nothing can listen at the address.
    """
    reading.read(paths)
    try:
        server = Server(paths, title, host, port)
    except OSError as error:
        raise ValueError(f"cannot listen at {host}:{port}: {error.strerror}; give another --port") from error
    with server:
        print(f"{server.address} shows the runs; Ctrl-C ends it", flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        finally:
            server.stopped.set()
