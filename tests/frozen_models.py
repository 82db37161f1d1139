"""Random frozen models of tables, of every kind that may be exported."""

from typing import NamedTuple

import numpy as np

from wnn_jax.classify import Classifier, encoders, layer


class Regressor(NamedTuple):
    encoder: encoders.Encoder
    mapping: layer.Mapping
    cells: np.ndarray
    scale: float
    offset: float


def values(rng, kind, rows, features=6):
    """Rows of one kind: bytes, images, whole, large or real numbers, with categories or missing values."""
    most = {"bytes": 256, "image": 256, "whole": 2000, "large": 3_000_000_000}.get(kind.split("+")[0])
    X = rng.normal(0, 3, (rows, features)) if most is None else rng.integers(0, most, (rows, features))
    X = X.astype(np.float32)
    if kind.startswith(("whole", "large")):
        X -= most // 3
    if "+categories" in kind:
        X[:, :2] = rng.integers(0, 5, (rows, 2))
    if "+missing" in kind:
        X[rng.random(X.shape) < 0.2] = np.nan
    if kind == "real":
        X[rng.random(X.shape) < 0.2] = rng.choice(
            [0.0, -0.0, 1e-40, -1e-40]
        )  # signed zeros, denormal numbers
    return X


def encoder(X, kind, bits=4):
    """The encoder of rows; it has not seen all categories."""
    if kind == "image":
        return encoders.given([41, 120, 151], X.shape[1])
    categories = (0, 1) if "+categories" in kind else ()
    if categories:
        X = X.copy()
        X[:, :2][X[:, :2] > 2] = 0
    return encoders.fit(encoders.EncoderConfig(bits=bits, categories=categories), X)


def mapping(rng, made, neurons, pins, reads=1, hashes=0, entries=16, mixed=False, slid=False):
    """Random pins. `reads` neurons share a table, with moved pins if `slid`; `mixed` ones differ in T."""
    column, level = encoders.places(made)
    chosen = rng.integers(0, len(column), (neurons, pins))
    column, level = column[chosen], level[chosen]
    if mixed:
        used = rng.integers(0, pins + 1, neurons)[:, None] > np.arange(pins)
        column, level = np.where(used, column, 0), np.where(used, level, layer.UNUSED).astype(np.uint8)
    table = rng.permutation(np.arange(neurons) // reads).astype(np.int32)
    if slid:
        table = np.repeat(np.arange(neurons // reads, dtype=np.int32), reads)
        moves = np.tile(rng.permutation(reads), neurons // reads)[:, None]
        level = np.repeat(level[::reads], reads, axis=0)
        column = np.repeat(column[::reads], reads, axis=0) % (len(made.source) - reads + 1) + moves
        column = np.where(level < layer.UNUSED, column, 0).astype(np.int32)
    h = rng.integers(0, entries, (hashes, pins)).astype(np.uint32) if hashes else layer.dense(pins)
    return layer.Mapping(column, level, table, h)


def cells(rng, kind, tables, entries, classes):
    """Cells of one kind; models of odd cells leave some classes out of some tables."""
    shape = (tables, entries, classes)
    if kind == "count":
        return rng.integers(0, 2, shape).astype(np.int8)
    if kind in ("binary", "int2", "int4", "int6"):
        one = 2 if kind == "binary" else 1 << int(kind[3])
        found = (2 * rng.integers(0, one, shape) - one + 1).astype(np.int8)
        return np.where(rng.random((tables, 1, classes)) < 0.8, found, 0).astype(np.int8)
    most = {"int8": 127, "int16": 30_000, "int32": 20_000_000}[kind]
    return rng.integers(-most, most + 1, shape).astype(np.int8 if kind == "int8" else np.int32)


def model(seed, data="bytes", cell="binary", neurons=12, pins=5, classes=3, rows=300, **settings):
    """A random model and rows that its encoder takes."""
    rng = np.random.default_rng(seed)
    X = values(rng, data, rows)
    made = encoder(X, data)
    wired = mapping(rng, made, neurons, pins, **settings)
    entries = settings.get("entries", 16) if settings.get("hashes") else 1 << pins
    found = cells(rng, cell, int(wired.table.max()) + 1, entries, classes)
    if cell in ("int16", "int32"):
        return Regressor(made, wired, found, 0.125, -3.5), X
    return Classifier(made, wired, found, 1.0, tuple(f'class "{k}" \\?é' for k in range(classes))), X
