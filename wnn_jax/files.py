"""One way to write files, and one way to read them back.

A file is written beside its place and renamed when it is complete and on the disk, so that a reader never
meets half of it, and what was there before stays until then. A sealed file begins with a line that holds its
kind, its schema and the digest of everything after that line: the digest is compared before anything is
decoded. A sealed folder has a sealed file with the digests of all its other files.

Reading goes through four steps, each of which must hold before the next begins: kind and schema, the digest,
limits on the sizes that the contents ask for, and then the contents themselves (`contents`).

Source: docs/architecture.md
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import stat
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

SEAL = "about.sealed"  # the file of a sealed folder that holds the digests of the others
_MAGIC = b"wnn_jax"
_LINE = 200  # longest first line of a sealed file, in bytes
_MOST_ABOUT = 1 << 28  # largest SEAL in bytes; a long search's history has tens of millions
_CHUNK = 1 << 20


class Damaged(ValueError):
    """A file is not what was written: its digest, its schema or its contents are wrong."""


def check_place(path: str | os.PathLike, folders: bool = False) -> None:
    """Check that a file, or a folder, can be made at a place. Call it before long work.

    Args:
      path: the place.
      folders: whether folders that are missing above it will be made too.

    Raises:
      ValueError: the folder above it is missing, is a file, or may not be written.

    Source: docs/architecture.md
    """
    path = pathlib.Path(os.path.realpath(path))
    with reaching(path, "write"):
        above = next(one for one in path.parents if one.exists() or not folders)
        there, folder = above.exists(), above.is_dir()
        if there and len(os.fsencode(path.name)) > os.pathconf(above, "PC_NAME_MAX"):
            raise ValueError(f"cannot write {path}: its name is too long for {above}; choose a shorter one")
        str(path).encode() if folders else None  # orbax writes only where the path is UTF-8
    if not there:
        raise ValueError(f"cannot write {path}: there is no folder {above}; make it, or choose another place")
    if not folder:
        raise ValueError(f"cannot write {path}: {above} is not a folder; choose another place")
    probe = above / f".{os.getpid()}.partial"
    try:  # only a real file shows whether the system takes one there
        probe.touch()
        probe.unlink()
    except OSError as error:
        said = error.strerror or error
        raise ValueError(f"cannot write to the folder {above}: {said}; choose another place") from error


@contextlib.contextmanager
def reaching(path: str | os.PathLike, verb: str) -> Iterator[None]:
    """Look at a place on the disk, and turn what the system refuses into one kind of error.

    Args:
      path: the place.
      verb: ``read`` or ``write``, for the message.

    Raises:
      ValueError: the place may not be looked at, or its name is too long or has no encoding.

    Source: docs/architecture.md
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "its name is not UTF-8"
        raise ValueError(f"cannot {verb} {str(path)!r:.300}: {said}; choose another place") from error


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place when it is complete, and only then.

    The file has the permissions that the user's umask gives. If the body raises, or is interrupted, nothing
    is left.

    Args:
      path: the place of the file; its folder must exist.

    Raises:
      ValueError: the file cannot be written.

    Source: docs/architecture.md
    """
    path = pathlib.Path(os.path.realpath(path))  # a link stays, and the file that it names is written
    partial = _partial(path)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Make a folder that takes its place when it is complete, and only then.

    Args:
      path: the place of the folder; it must not exist, and the folder around it must.

    Yields:
      The folder to fill. If the body raises, or is interrupted, it is removed.

    Raises:
      ValueError: the folder cannot be written.

    Source: docs/architecture.md
    """
    path = pathlib.Path(path)
    partial = _partial(path)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        os.rename(partial, path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: pathlib.Path) -> pathlib.Path:
    # Not from the name itself, which may be as long as the disk allows.
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{mark}.{os.getpid()}.partial")


def left_over(path: pathlib.Path) -> bool:
    """Whether a file or folder is what a program that was killed while it wrote has left: nobody reads it.

    Source: docs/architecture.md
    """
    # The second is the name under which orbax wrote the versions of schema 1.
    return (path.name[0] == "." and path.suffix == ".partial") or ".orbax-checkpoint-tmp" in path.name


def occupied(folder: pathlib.Path, ignored: str) -> bool:
    """Whether something is at a place where a folder is to be made: a file, or a folder with contents.

    What a killed program has left does not count.

    Args:
      folder: the place.
      ignored: the name of a file in the folder that does not count either.

    Source: docs/architecture.md
    """
    if not folder.is_dir():
        return folder.exists()
    return not all(left_over(x) or x.name == ignored for x in folder.iterdir())


def write(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file, as `writing` does.

    Args:
      path: the place of the file; its folder must exist.
      data: all its bytes.

    Raises:
      ValueError: the file cannot be written.

    Source: docs/architecture.md
    """
    with writing(path) as file:
        file.write(data)


def append(path: str | os.PathLike, line: str) -> None:
    """Add one line to a text file, whole or not at all; a file that is missing is made.

    A last line without an end, as a killed program leaves it, gets its end first.

    Args:
      path: the file; its folder must exist.
      line: the text of the line, without its end.

    Raises:
      ValueError: the file cannot be written; it then has the bytes that it had before.

    Source: docs/architecture.md
    """
    try:
        # Without a buffer: what it still held would be written when the file is closed.
        with open(path, "ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            joint = b"\n" if size and file.read(1) != b"\n" else b""
            rest = memoryview(joint + line.encode() + b"\n")
            try:
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def read(path: str | os.PathLike, most: int, pipes: bool = False) -> bytes:
    """Read a whole file.

    Args:
      path: the file.
      most: the largest number of bytes that it may have.
      pipes: whether it may be something else than a file, such as a pipe, which is read to its end.

    Raises:
      ValueError: the file is missing, cannot be read, is larger, or is no file.

    Source: docs/architecture.md
    """
    try:
        if not pipes and not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError(f"cannot read {path}: it is not a file; give a file that wnn_jax wrote")
        with open(path, "rb") as file:
            large = os.fstat(file.fileno()).st_size > most
            # In pieces: a pipe has no size, and `read` makes room for all that it is asked for.
            data = bytearray()
            while not large and (some := file.read(_CHUNK)):
                data += some
                large = len(data) > most
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    if large:
        raise ValueError(f"{path} has more than {most} bytes: give a file that wnn_jax wrote")
    return bytes(data)


def seal(kind: str, schema: int, body: bytes) -> bytes:
    """Return the bytes of a sealed file.

    Args:
      kind: one word: the kind of the contents.
      schema: the edition of the contents.
      body: the contents.

    Source: docs/architecture.md
    """
    return b"%s %s %d %s\n" % (_MAGIC, kind.encode(), schema, digest(kind, schema, body).encode()) + body


def opened(kind: str, schema: int, data: bytes, name: str) -> bytes:
    """Return the contents of a sealed file.

    Args:
      kind: the kind that it must have.
      schema: the edition that it must have.
      data: what `seal` returned.
      name: what the bytes are, for the message: a path, or a phrase.

    Raises:
      Damaged: the bytes were not sealed, are of another kind or schema, or are not what was sealed.

    Source: docs/architecture.md
    """
    end = data.find(b"\n", 0, _LINE)
    head = data[:end].split(b" ") if end >= 0 else []
    if len(head) != 4 or head[0] != _MAGIC:
        raise Damaged(f"{name} was not written by wnn_jax, or is damaged at its start: give another copy")
    if head[1] != kind.encode():
        raise Damaged(f"{name} holds a {head[1].decode('ascii', 'replace')}: give a {kind}")
    if head[2] != b"%d" % schema:
        found = head[2].decode("ascii", "replace")[:20]
        raise Damaged(f"{name} has schema {found}, and this wnn_jax reads schema {schema}: write it anew")
    body = data[end + 1 :]
    if head[3] != digest(kind, schema, body).encode():
        raise Damaged(f"{name} is damaged: its digest does not fit its contents; give another copy")
    return body


def digest(kind: str, schema: int, body: bytes) -> str:
    """Return the SHA-256 of contents together with their kind and schema, as hexadecimal digits.

    Source: docs/architecture.md
    """
    return hashlib.sha256(f"{kind} {schema}\n".encode() + body).hexdigest()


@contextlib.contextmanager
def contents(name: str) -> Iterator[None]:
    """Read contents whose digest was right, and turn whatever fails into one kind of error.

    A right digest proves that nothing was damaged, not that a friend wrote it: fields may be missing, have
    other types, or ask for more memory than there is.

    Args:
      name: what is read, for the message: a path, or a phrase.

    Raises:
      Damaged: the body raised an exception; its text is in the message.

    Source: docs/architecture.md
    """
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        kind = "" if isinstance(error, ValueError) and said else f"{type(error).__name__} "
        raise Damaged(f"{name} does not hold what it should ({kind}{said}): give another copy") from error


def seal_folder(folder: pathlib.Path, kind: str, schema: int, about: Mapping[str, Any]) -> None:
    """Write the file `SEAL` into a folder: what it is, and the digests of all files in it.

    Args:
      folder: the folder, with all its other files.
      kind: one word: the kind of the folder.
      schema: the edition of its contents.
      about: JSON data to keep with it.

    Raises:
      ValueError: a file cannot be read or written.

    Source: docs/architecture.md
    """
    try:
        listed = {name: [path.stat().st_size, _digest_of(path)] for name, path in _files(folder).items()}
    except OSError as error:
        raise ValueError(f"cannot read {folder}: {error.strerror or error}") from error
    body = json.dumps({"about": about, "files": listed}).encode()
    write(folder / SEAL, seal(kind, schema, body))


def opened_folder(folder: pathlib.Path, kind: str, schema: int, more: bool = False) -> dict[str, Any]:
    """Compare all files of a sealed folder with their digests, and return the JSON data of `seal_folder`.

    Args:
      folder: the folder.
      kind: the kind that it must have.
      schema: the edition that it must have.
      more: whether it may have more files than it had when it was sealed.

    Raises:
      Damaged: the folder is not sealed, is of another kind or schema, or a file in it is not what was sealed,
        is missing, or came later.

    Source: docs/architecture.md
    """
    about, listed = _opened_seal(folder, kind, schema)
    try:
        there = _files(folder)
        apart = sorted(listed.keys() - there.keys() if more else listed.keys() ^ there.keys())
        if not apart:
            apart = [name for name, about_it in listed.items() if not _same(there[name], *about_it)]
    except OSError as error:
        raise Damaged(f"cannot read {folder}: {error.strerror or error}") from error
    if apart:
        what = "was not there when it was written" if apart[0] not in listed else "is damaged or missing"
        raise Damaged(f"{folder} is damaged: {apart[0]} in it {what}; give another copy")
    return about


def opened_about(folder: pathlib.Path, kind: str, schema: int) -> dict[str, Any]:
    """Return the JSON data of `seal_folder` alone; no other file of the folder is looked at.

    Args:
      folder: the folder.
      kind: the kind that it must have.
      schema: the edition that it must have.

    Raises:
      Damaged: the folder is not sealed, its seal is damaged, or it is of another kind or schema.

    Source: docs/architecture.md
    """
    return _opened_seal(folder, kind, schema)[0]


def _opened_seal(folder: pathlib.Path, kind: str, schema: int) -> tuple[dict[str, Any], dict[str, tuple]]:
    """Return the JSON data of a seal, and the size and digest of each file.

    Raises:
      Damaged: see `opened_about`.
    """
    try:
        data = read(folder / SEAL, _MOST_ABOUT)
    except ValueError as error:
        raise Damaged(str(error)) from error
    body = opened(kind, schema, data, str(folder / SEAL))
    with contents(str(folder / SEAL)):
        found = json.loads(body)
        return dict(found["about"]), {name: tuple(x) for name, x in found["files"].items()}


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the files below a folder by their names in it, except its seal."""
    paths = (pathlib.Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths) if path != folder / SEAL}


def _same(path: pathlib.Path, size: Any, expected: Any) -> bool:
    return path.stat().st_size == size and _digest_of(path) == expected


def _digest_of(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
