"""The oracle: RAM neurons as Python dicts, one example at a time. Slow, and short enough to trust."""

import numpy as np

UNIT = 1 << 20


def address(bits, connections):
    """Return the address; connection 0 is the most significant bit, and an unused connection reads as 0."""
    value = 0
    for source in connections:
        value = 2 * value + (0 if source < 0 else int(bits[source]))
    return value


def fit(cells, connections, inputs, targets, keep=None):
    """Fit a dict for each neuron, address to cell: inputs [N, I], targets [N, K], keep [K, n, N] or None."""
    clusters, neurons, _ = connections.shape
    tables = [[{} for _ in range(neurons)] for _ in range(clusters)]
    for i, bits in enumerate(inputs):
        for k in range(clusters):
            for j in range(neurons):
                absent = (connections[k, j] < 0).all()
                if absent or (keep is not None and not keep[k, j, i]):
                    continue
                table, place = tables[k][j], address(bits, connections[k, j])
                one = bool(targets[i, k])
                if cells == "ternary":
                    table[place] = table.get(place, 0) + (1 if one else -1)
                elif cells == "count":
                    zeros, ones = table.get(place, (0, 0))
                    table[place] = (zeros + (not one), ones + one)
                elif cells == "true_wins":
                    table[place] = max(table.get(place, 0), 1 + one)
                else:
                    table[place] = min(3, max(0, table.get(place, 1) + (1 if one else -1)))
    return tables


def value(cells, cell, prior, empty_value):
    """Return the value of one cell, in [0, 1]; ``cell`` is None if nothing was written to it."""
    if cells == "ternary":
        vote = cell or 0
        return empty_value if vote == 0 else float(vote > 0)
    if cells == "count":
        zeros, ones = (np.float32(x) for x in (cell or (0, 0)))
        return (ones + np.float32(prior)) / (zeros + ones + np.float32(1))
    if cells == "true_wins":
        return (empty_value, 0.0, 1.0)[cell or 0]
    state = 1 if cell is None else cell
    return float(state >= 2) if cells == "quad_binary" else (0.0, 0.25, 0.75, 1.0)[state]


def votes(cells, tables, connections, inputs, priors, empty_value=0.0):
    """Return integer votes [K, N] in units of 1 / UNIT; a neuron without connections does not vote."""
    clusters, neurons, _ = connections.shape
    out = np.zeros((clusters, len(inputs)), np.int64)
    for i, bits in enumerate(inputs):
        for k in range(clusters):
            for j in range(neurons):
                if (connections[k, j] < 0).all():
                    continue
                cell = tables[k][j].get(address(bits, connections[k, j]))
                share = value(cells, cell, priors[k], empty_value)
                out[k, i] += int(np.rint(np.float32(share) * np.float32(UNIT)))
    return out


def brute_force(log_one, log_zero, codes):
    """Return the nats of every id and the best id, by scoring all V ids. Arrays [B, N]; codes bool [V, B]."""
    log_one, log_zero = np.asarray(log_one, np.float64), np.asarray(log_zero, np.float64)
    scores = codes @ log_one + ~codes @ log_zero
    top = scores.max(axis=0)
    normaliser = top + np.log(np.exp(scores - top).sum(axis=0))
    return normaliser - scores, scores.argmax(axis=0)
