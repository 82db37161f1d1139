"""The oracle of the chain model: it reads one bit at a time, in float64, from dicts keyed by the contexts."""

import math

import numpy as np
from fields_reference import Text, mix

from wnn_jax.chain import constants

STEPS = (1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 100)


def step(count):
    return sum(count >= edge for edge in STEPS)


class Oracle:
    """An online chain model with unlimited tables."""

    def __init__(self, tree, pieces, described, rate):
        self.tree, self.described, self.rate = tree, described, rate
        self.text = Text(pieces, tree.codes, tree.rank)
        self.cells = [{} for _ in described]
        self.inputs = 2 * len(described)
        self.weights, self.sums = {}, {}
        self.refined = [{}, {}]
        self.match_share, self.match_gain = {}, {}
        self.followed, self.at, self.length = {}, 0, 0

    def weight(self, row, i):
        first = 0.4 / self.inputs if row[0] in ("hits", "kind", "state") else 0.0
        return self.weights.get((row, i), first)

    def adapt(self, row, i, gradient):
        key, value = (row, i), self.weight(row, i)
        self.sums[key] = self.sums.get(key, 0.0) + gradient**2
        self.weights[key] = value + self.rate * gradient / math.sqrt(self.sums[key] + 1)

    def find_match(self):
        tokens = self.text.tokens
        if len(tokens) > 3:
            key = tuple(tokens[-3:])
            last = self.followed.get(key, 0)
            if not self.length and last > 0:
                run = 0
                while run < 31 and run < last and tokens[last - 1 - run] == tokens[-1 - run]:
                    run += 1
                self.at, self.length = last, run if run >= 2 else 0
            self.followed[key] = len(tokens)
        return tokens[self.at] if self.length else None

    def read(self, token):
        """Return P(bit = 1) at every turn of a token, and then learn the token."""
        guess, ones = self.find_match(), []
        seen = [tuple(self.text.field(name) for name in fields.split()) for _, fields in self.described]
        classes = [self.text.field(name) for name in ("class6_1", "class6_2")]
        tree, first = self.tree, self.tree.start[token]
        for depth in range(tree.start[token + 1] - first):
            node, bit = int(tree.node[first + depth]), int(tree.bit[first + depth])
            ones.append(self.turn(node, depth, bit, seen, classes, guess))
        if self.length:
            right = self.text.tokens[self.at] == token if self.at < len(self.text.tokens) else guess == token
            self.length = self.length + 1 if right else 0
            self.at += 1
        self.text.add(token)
        return ones

    def turn(self, node, depth, bit, seen, classes, guess):
        tree, zone = self.tree, int(self.tree.spelled[node])
        cells = []
        for table, key, (view, _) in zip(self.cells, seen, self.described, strict=True):
            name = int(tree.names[constants.VIEWS.index(view), node])
            cells.append(table.setdefault((key, name), [0, 0, 0, 0]))
        pairs = [(c[0], c[1]) for c in cells] + [(c[2], c[3]) for c in cells]
        odds = [math.log((n1 + 0.4) / (n0 + 0.4)) for n0, n1 in pairs]
        hits = tuple(sum(pair) > 0 for pair in pairs[: len(cells)][:6])
        rows = [("hits", zone, hits), ("kind", int(tree.kind[node]))]
        rows += [("class", place, one) for place, one in enumerate(classes)]
        states = [(zone, step(n0), step(n1)) for n0, n1 in pairs]
        dot = 0.0
        for i, (x, state) in enumerate(zip(odds, states, strict=True)):
            gain = sum(self.weight(row, i) for row in rows) + self.weight(("state", state), i)
            dot += self.weight(("offset", state), i) + gain * x
        matched = None
        if guess is not None:
            entry = tree.start[guess] + depth
            if entry < tree.start[guess + 1] and tree.node[entry] == node:
                matched = int(tree.bit[entry])
        row = zone, min(self.length, 31)
        if matched is not None:
            share = self.match_share.get(row, 0.8)
            sign = math.log(share / (1 - share)) * (1 if matched else -1)
            dot += self.match_gain.get(row, 0.3) * sign
        dot = min(max(dot, -13.0), 13.0)
        mixed = 1 / (1 + math.exp(-dot))
        z = min(max(dot / 0.75, -15.99), 15.99) + 16
        below, part = int(z), z - int(z)
        # These maps are small and have no tags: contexts may collide, so the oracle must use the same hash.
        last = self.text.tokens[-1] + 1 if self.text.tokens else 0
        name = int(tree.names[0, node])
        maps = []
        for k, key in enumerate((name >> 16, mix(last, name) >> 16)):
            cell = self.refined[k].setdefault(key, [1 / (1 + math.exp(-(i - 16) * 0.75)) for i in range(33)])
            maps.append((cell, cell[below] * (1 - part) + cell[below + 1] * part))
        one = 0.5 * mixed + 0.25 * maps[0][1] + 0.25 * maps[1][1]

        error = bit - mixed
        for cell, _ in maps:
            cell[below + (part > 0.5)] += (bit - cell[below + (part > 0.5)]) * 0.02
        if matched is not None:
            moved = share + ((matched == bit) - share) * 0.005
            self.match_share[row] = min(max(moved, 0.001), 0.9999)
            self.match_gain[row] = self.match_gain.get(row, 0.3) + 0.002 * error * sign
        for i, (x, state) in enumerate(zip(odds, states, strict=True)):
            for name in [*rows, ("state", state)]:
                self.adapt(name, i, error * x)
            self.adapt(("offset", state), i, error)
        for cell in cells:
            cell[bit] += 1
            cell[2 + bit] += 1
            if cell[3 - bit] > 2:
                cell[3 - bit] = cell[3 - bit] // 2 + 1
        return float(np.clip(one, 2e-6, 1 - 2e-6))
