"""A small oracle of the class-count layer in NumPy: loops over rows, neurons and pins."""

import numpy as np


def entries(mapping, row):
    """The entries ``[R, H]`` that the neurons read for one row of levels."""
    bits = row[mapping.column] >= mapping.level
    found = np.zeros((len(bits), len(mapping.hashes)), np.int64)
    for r, bit in enumerate(bits):
        for h, hashes in enumerate(mapping.hashes):
            for t in np.flatnonzero(bit):
                found[r, h] ^= int(hashes[t])
    return found


def moved(row, offset):
    """A row whose column j is column ``j + offset`` of the given one, or 0."""
    out = np.zeros_like(row)
    for j in range(len(row)):
        if 0 <= j + offset < len(row):
            out[j] = row[j + offset]
    return out


def read(mapping, cells, levels):
    scores = np.zeros((len(levels), cells.shape[2]), np.int64)
    for i, row in enumerate(levels):
        for r, found in enumerate(entries(mapping, row)):
            scores[i] += cells[mapping.table[r], found].min(axis=0)
    return scores


def sums(mapping, shape, levels, row, offset, values):
    out = np.zeros(shape, np.int64)
    for i, move, value in zip(row, offset, values, strict=True):
        for r, found in enumerate(entries(mapping, moved(levels[i], move))):
            out[mapping.table[r], np.unique(found)] += value
    return out


def count(mapping, counts, levels, labels, weight):
    out = counts.astype(np.int64)
    for row, label, amount in zip(levels, labels, weight, strict=True):
        for r, found in enumerate(entries(mapping, row)):
            out[mapping.table[r], np.unique(found), label] += amount
    return out


def train(mapping, weights, epoch, share, serves, batch, bits):
    """One pass of training; the words of `training` as loops."""
    weights, right = weights.astype(np.int64), 0
    drop, seed = (int(x) for x in epoch.drop)
    for first in range(0, len(epoch.row), batch):
        change, touched = np.zeros_like(weights), np.zeros(weights.shape, bool)
        for place in range(first, min(first + batch, len(epoch.row))):
            row = epoch.row[place]
            found = entries(mapping, moved(epoch.levels[row], epoch.offset[place]))[:, 0]
            kept = [r for r in range(len(found)) if mix(mix(seed + r * 0x9E3779B9) ^ place) >= drop]
            scores = np.zeros(weights.shape[2], np.int64)
            for r in kept:
                cell = (weights[mapping.table[r], found[r]] >> (17 - bits)) * 2 + 1
                scores += cell * (serves[mapping.table[r]] if len(serves) else 1)
            label = epoch.labels[row]
            right += int(scores.argmax() == label)
            far = scores.max() - scores
            part = np.array([int(share[d]) if d < len(share) else 0 for d in far])
            p = (part << 15) // part.sum()
            target = np.where(np.arange(len(scores)) == label, 1 << 15, 0)
            step = (int(epoch.rate) * (target - p) + (1 << 14)) >> 15
            for r in kept:
                change[mapping.table[r], found[r]] += step * (serves[mapping.table[r]] if len(serves) else 1)
                touched[mapping.table[r], found[r]] = True
        weights = np.where(touched, np.clip(weights + change, -(1 << 16), (1 << 16) - 1), weights)
    return weights, right


def mix(x):
    x &= 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16
