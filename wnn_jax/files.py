"""One way to write files, and one way to read them back.

A file is written beside its place and renamed when it is complete and on the disk, so that a reader never
meets half of it, and what was there before stays until then. A sealed file begins with a line that holds its
kind, its schema and the digest of everything after that line: the digest is compared before anything is
decoded.

Source: docs/architecture.md
"""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

_MAGIC = b"wnn_jax"
_LINE = 200  # longest first line of a sealed file, in bytes


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
    path = pathlib.Path(path).absolute()
    above = next(one for one in path.parents if one.exists() or not folders)
    if not above.exists():
        raise ValueError(f"cannot write {path}: there is no folder {above}; make it, or choose another place")
    if not above.is_dir():
        raise ValueError(f"cannot write {path}: {above} is not a folder; choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write {path}: the folder {above} may not be written; choose another place")


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
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


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
        with open(path, "ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            joint = b"\n" if size and file.read(1) != b"\n" else b""
            try:
                file.write(joint + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def read(path: str | os.PathLike, most: int) -> bytes:
    """Read a whole file.

    Args:
      path: the file.
      most: the largest number of bytes that it may have.

    Raises:
      ValueError: the file is missing, cannot be read or is larger.

    Source: docs/architecture.md
    """
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > most:
        raise ValueError(f"{path} has more than {most} bytes: give a file that wnn_jax wrote")
    return data


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
