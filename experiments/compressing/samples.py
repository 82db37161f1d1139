"""Files of five kinds to compress, made on the spot: the same bytes wherever the versions are the same."""

import gzip
import importlib.util
import json
import os
import pathlib
import random
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from wnn_jax import files
from wnn_jax.data import spreadsheet

SIZE = 1_000_000  # bytes of a sample; the English text is whole
_MOST = 1 << 40  # bytes of a file
_SEED = 0


def make(name: str) -> bytes:
    """Make a sample, or read a file or a folder.

    Args:
      name: the name of a sample in `SAMPLES`; or a file; or a folder, whose files are joined in the order of
        their paths, those of gzip unpacked, and cut at `SIZE` bytes.

    Raises:
      ValueError: there is no such sample or file, or the data that a sample is made from is not there.
    """
    if name in SAMPLES:
        return SAMPLES[name]()
    path = pathlib.Path(name)
    if path.is_dir():
        inside = sorted(x for x in path.rglob("*") if x.is_file() and not x.is_symlink())
        return _joined(_unpacked(x) for x in inside)
    if not path.exists():
        raise ValueError(f"there is no sample or file {name}: give files, folders, or {', '.join(SAMPLES)}")
    return files.read(path, _MOST)


def text() -> bytes:
    """The raw test text of WikiText-2."""
    return files.read(_data("wikitext2") / "wiki.test.raw", _MOST)


def source() -> bytes:
    """The top-level modules of Python's standard library, in the order of their names."""
    folder = pathlib.Path(os.__file__).parent
    return _joined(files.read(path, _MOST) for path in sorted(folder.glob("*.py")))


def records() -> bytes:
    """The movies of MovieLens (ml-latest-small), each a line of JSON: title, genres, links, ratings, tags."""
    folder = _data("movielens") / "ml-latest-small"
    ratings: dict[str, list[float]] = {}
    for _, movie, rating, _ in _rows(folder / "ratings.csv"):
        ratings.setdefault(movie, []).append(float(rating))
    tags: dict[str, list[str]] = {}
    for _, movie, tag, _ in _rows(folder / "tags.csv"):
        tags.setdefault(movie, []).append(tag)
    links = {movie: rest for movie, *rest in _rows(folder / "links.csv")}
    lines = []
    for movie, title, genres in _rows(folder / "movies.csv"):
        given = ratings.get(movie, [])
        year = re.search(r"\((\d{4})\)$", title)
        record = {
            "id": int(movie),
            "title": title[: year.start()].strip() if year else title,
            "year": int(year[1]) if year else None,
            "genres": genres.split("|"),
            "links": dict(zip(("imdb", "tmdb"), links[movie], strict=True)),
            "ratings": {"count": len(given), "mean": round(sum(given) / max(len(given), 1), 3)},
            "tags": tags.get(movie, []),
        }
        lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return _joined(lines)


def logs() -> bytes:
    """The lines that a web server logs, drawn with a fixed seed: visitors who walk from page to page."""
    return _joined(_log_lines(random.Random(_SEED)))


def binary() -> bytes:
    """Machine code: the compiled core of NumPy, from its start.

    Raises:
      ValueError: this NumPy has no such file.
    """
    core = importlib.util.find_spec("numpy._core._multiarray_umath")
    if core is None or core.origin is None:
        raise ValueError(f"numpy {np.__version__} has no compiled core here: give a file instead of binary")
    return files.read(core.origin, _MOST)[:SIZE]


SAMPLES = {"text": text, "source": source, "json": records, "logs": logs, "binary": binary}


def _joined(parts: Iterable[bytes]) -> bytes:
    """Join parts until they have `SIZE` bytes."""
    out = bytearray()
    for part in parts:
        out += part
        if len(out) >= SIZE:
            break
    return bytes(out[:SIZE])


def _unpacked(path: pathlib.Path) -> bytes:
    data = files.read(path, _MOST)
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot unpack {path}: {error}; give another folder") from error


def _data(name: str) -> pathlib.Path:
    """Return a folder of `WNN_JAX_DATA`.

    Raises:
      ValueError: the variable is not set.
    """
    root = os.environ.get("WNN_JAX_DATA")
    if not root:
        raise ValueError(f"this sample is made from {name}: set WNN_JAX_DATA to the folder that holds it")
    return pathlib.Path(root) / name


def _rows(path: pathlib.Path) -> Iterator[Any]:
    return zip(*spreadsheet.read(path).cells, strict=True)


_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "curl/8.5.0",
)
_WORDS = (
    "shop",
    "news",
    "about",
    "help",
    "blog",
    "images",
    "static",
    "api",
    "users",
    "search",
    "cart",
    "docs",
)
_ENDINGS = (".html", ".html", "", "/", ".js", ".css", ".png", ".jpg")


def _log_lines(draw: random.Random) -> Iterator[bytes]:
    """Draw lines in the combined form of web servers, without an end."""
    pages = []
    for number in range(400):
        path = "/" + "/".join(draw.choices(_WORDS, k=draw.randint(1, 3)))
        pages.append((f"{path}-{number}{draw.choice(_ENDINGS)}", draw.randint(200, 90_000)))
    popular = np.cumsum(1 / np.arange(1, len(pages) + 1)).tolist()
    visitors: list[list[str]] = []
    clock = 0.0
    while True:
        if len(visitors) < 40 or draw.random() < 0.03:
            address = ".".join(str(draw.randint(1, 254)) for _ in range(4))
            visitors = [*visitors[-39:], [address, draw.choices(_AGENTS, (50, 20, 20, 7, 3))[0], "-"]]
        visitor = draw.choice(visitors)
        path, size = draw.choices(pages, cum_weights=popular)[0]
        status = draw.choices((200, 304, 404, 500), (90, 6, 3, 1))[0]
        size = {200: size, 304: 0, 404: 153, 500: 170}[status]
        clock += draw.expovariate(3.0)
        days, seconds = divmod(int(clock), 86_400)
        time = f"{1 + days:02}/Jun/2024:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} +0000"
        head = f'{visitor[0]} - - [{time}] "GET {path} HTTP/1.1" {status} {size}'
        yield f'{head} "{visitor[2]}" "{visitor[1]}"\n'.encode()
        visitor[2] = f"https://example.org{path}"
