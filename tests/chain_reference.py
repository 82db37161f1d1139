"""The oracle of the chain model that learns: one bit at a time, in float64, from dicts keyed by the contexts.

Its tables are unlimited, so no cell is ever replaced. Only the tables in which contexts share entries, or
push each other out (the lists and the refining maps), use the library's hash.
"""

import math

import numpy as np
from fields_reference import Text, mix

from wnn_jax.chain import constants as c


def log_odds(ones, zeros):
    return math.log(ones / zeros)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def clip(x, low, high):
    return min(max(x, low), high)


def step(number, edges):
    return sum(number >= edge for edge in edges)


def left(steps):
    """Return 2^(-steps / 256); the fraction of the exponent is rounded to 16 bits."""
    whole, part = divmod(steps, 256)
    return round(2**16 * 2 ** (-part / 256)) / 2 ** (16 + whole)


def faded(count, ticks):
    return math.floor(count * left(ticks))


class Cell:
    """How often each bit came, also fading and fast; the last bit, and when it was written, in ticks."""

    def __init__(self, tick):
        self.count, self.fading, self.fast, self.last, self.tick = [0, 0], [0, 0], [0, 0], 0, tick

    def age(self, tick):
        return (tick - self.tick) % 2**16

    def write(self, bit, tick):
        age, other = self.age(tick), 1 - bit
        self.count[bit] = min(self.count[bit] + 1, 65535)
        self.fading[other] = faded(self.fading[other], age)
        self.fading[bit] = min(faded(self.fading[bit], age), c.FADING_MOST) + 256
        self.fast[bit] = min(self.fast[bit] + 1, 255)
        if self.fast[other] > 2:
            self.fast[other] = self.fast[other] // 2 + 1
        self.last, self.tick = bit, tick

    def odds(self, tick):
        fading = [faded(count, self.age(tick)) + c.FADING_SMOOTH for count in self.fading]
        return [
            log_odds(self.count[1] + c.SMOOTH, self.count[0] + c.SMOOTH),
            log_odds(fading[1], fading[0]),
        ]

    def state(self, tick, zone, depth):
        """Return the fast counts, the last bit, the age, whether it is old, the branch and the depth."""
        fast = [step(count, c.FAST_EDGES) for count in self.fast]
        old = sum(self.count) > sum(self.fast) + 2
        return (*fast, self.last, step(self.age(tick), c.AGE_EDGES), int(old), zone, min(depth // 2, 7))

    def run(self, zone, depth):
        """Return the only bit that ever came, how often, the branch and the depth; None if both came."""
        if all(self.count):
            return None
        return int(self.count[1] > 0), min(sum(self.count), c.RUN_MOST), zone, min(depth // 2, 7)


def state_prior(state):
    """Return P(1) of a state that was never met, from the middle of the counts that its steps stand for."""
    ends = [0, *c.FAST_EDGES, 2 * c.FAST_EDGES[-1]]
    zeros, ones = (((ends[k] + max(ends[k + 1] - 1, ends[k])) / 2 + c.SMOOTH) ** 0.8 for k in state[:2])
    return ones / (zeros + ones)


def run_prior(run):
    right = (run[1] + c.SMOOTH) / (run[1] + 2 * c.SMOOTH)
    return right if run[0] else 1 - right


class AdaptiveMap:
    """How often the bit was 1 in each state, and how often the state was met."""

    def __init__(self, prior):
        self.prior, self.known = prior, {}

    def entry(self, state):
        return self.known.setdefault(state, [self.prior(state), 0])

    def odds(self, state):
        share = self.entry(state)[0]
        return log_odds(share, 1 - share)

    def learn(self, state, bit):
        entry = self.entry(state)
        share = entry[0] + (bit - entry[0]) / (entry[1] + 1.5)
        entry[:] = clip(share, c.MAP_LEAST, 1 - c.MAP_LEAST), min(entry[1] + 1, c.MAP_LIMIT)


def mapped(maps, states):
    return [known.odds(state) if state else 0.0 for known, state in zip(maps, states, strict=True)]


class Recent:
    """Three pairs of counts at a node, which fade in three speeds."""

    def __init__(self):
        self.counts, self.now = [[0.0, 0.0] for _ in range(3)], 0

    def faded(self, now):
        steps = [(now - self.now) * 2, (now - self.now) // 2, (now - self.now) // 16]
        return [[left(k) * x for x in pair] for k, pair in zip(steps, self.counts, strict=True)]

    def odds(self, now):
        return [log_odds(one + c.RECENT_SMOOTH, zero + c.RECENT_SMOOTH) for zero, one in self.faded(now)]

    def learn(self, bit, now):
        self.counts, self.now = self.faded(now), now
        for pair in self.counts:
            pair[bit] += 1


def to_front(listed, token):
    """Move a token to the front of a list of (token, count), newest first."""
    count = next((n for one, n in listed if one == token), 0)
    others = [one for one in listed if one[0] != token]
    return [(token, min(count + 1, 255)), *others][:7]


class Lists:
    """A neuron's lists, one for each value of a hash: a context pushes out another one."""

    def __init__(self, neuron, log_lists):
        self.neuron, self.log_lists, self.held = neuron, log_lists, {}

    def place(self, context):
        h = self.neuron + 1
        for field in context:
            h = mix(h, field)
        return mix(h, c.LIST_KEY) >> 32 - self.log_lists

    def get(self, context):
        held, listed = self.held.get(self.place(context), (None, []))
        return listed if held == context else []

    def add(self, context, token):
        self.held[self.place(context)] = context, to_front(self.get(context), token)


def list_odds(listed, tree, node, depth):
    """Return the log-odds of a bit among the tokens of a list whose paths pass a node."""
    counts = [c.LIST_SMOOTH, c.LIST_SMOOTH]
    for token, count in listed:
        bit = turn_at(tree, token, node, depth)
        if bit is not None:
            counts[bit] += count
    return log_odds(counts[1], counts[0])


def turn_at(tree, token, node, depth):
    """Return the bit that the path of a token takes at a node; None if it does not pass it."""
    entry = tree.start[token] + depth
    if entry < tree.start[token + 1] and tree.node[entry] == node:
        return int(tree.bit[entry])
    return None


class Match:
    """The latest earlier place after the same last tokens; it goes on while it expects the right token."""

    def __init__(self, order, room):
        self.order, self.room, self.places = order, room, {}
        self.at, self.length = 0, 0

    def begin(self, tokens):
        """Return the expected token, or None."""
        now = len(tokens)
        if now >= self.order:
            key = tuple(tokens[-self.order :])
            place = self.places.get(key)
            if not self.length and place and now - place < self.room:
                longest = min(c.MATCH_LONGEST, place, self.room - 1 - (now - place))
                run = 0
                while run < longest and tokens[place - 1 - run] == tokens[now - 1 - run]:
                    run += 1
                self.at, self.length = place, run if run >= self.order else 0
            self.places[key] = now
        return tokens[self.at] if self.length else None

    def end(self, tokens):
        """Go on after the last of the tokens."""
        if self.length:
            self.length = self.length + 1 if tokens[self.at] == tokens[-1] else 0
            self.at += 1


class MatchMap:
    """How often matches of a length were right, for one of the three matches."""

    def __init__(self):
        self.known = {}

    def entry(self, state):
        return self.known.setdefault(state, [c.MATCH_TRUST, 0])

    def learn(self, state, right):
        entry = self.entry(state)
        rate = max(1 / (entry[1] + 5), c.MATCH_SLOWEST)
        share = clip(entry[0] + (right - entry[0]) * rate, c.MATCH_LEAST, c.MATCH_PROBABLE)
        entry[:] = share, min(entry[1] + 1, 1000)


class Layer:
    """The first layer: for each set a row of weights for each choice, trained by Adagrad.

    A row that was never trained is as the row of its parent.
    """

    def __init__(self, sets, first):
        self.sets = sets
        self.weights, self.sums = {("one", 0): first}, {}

    def row(self, name, choice):
        """Return a row's weights, which may be those of its parent."""
        if (name, choice[name]) in self.weights:
            return self.weights[name, choice[name]]
        before = self.sets[: self.sets.index(name)]
        parent = "kind" if name == "kind_class" and "kind" in before else "one"
        return self.row(parent, choice)

    def logits(self, inputs, choice):
        return [clip(float(self.row(name, choice) @ inputs), -c.RANGE, c.RANGE) for name in self.sets]

    def learn(self, inputs, choice, bit):
        rows = [self.row(name, choice) for name in self.sets]
        for name, row, logit in zip(self.sets, rows, self.logits(inputs, choice), strict=True):
            key, gradient = (name, choice[name]), (bit - sigmoid(logit)) * inputs
            self.sums[key] = self.sums.get(key, 0.0) + gradient**2
            self.weights[key] = row + c.RATE * gradient / np.sqrt(self.sums[key] + 1)


class SecondLayer:
    """The second layer: eight rows are chosen, and each mixes the sets' log-odds."""

    def __init__(self, sets):
        self.names = [c.WeightSet(k).name.lower() for k in c.FINAL_SETS]
        self.sets, self.weights, self.visits = sets, {}, {}

    def row(self, key):
        return self.weights.get(key, np.full(len(self.sets), 1 / len(self.sets)))

    def each(self, logits, choice):
        rows = [self.row((name, choice[name])) for name in self.names]
        return [clip(float(row @ logits), -c.RANGE, c.RANGE) for row in rows]

    def odds(self, logits, choice):
        return sum(self.each(logits, choice)) / len(self.names)

    def learn(self, logits, choice, bit):
        for name, logit in zip(self.names, self.each(logits, choice), strict=True):
            key = name, choice[name]
            visits = self.visits.get(key, 0)
            rate = c.FINAL_RATE_LEAST + c.FINAL_RATE_MORE * c.FINAL_RATE_HALF / (c.FINAL_RATE_HALF + visits)
            self.weights[key] = self.row(key) + (bit - sigmoid(logit)) * rate * np.array(logits)
            self.visits[key] = min(visits + 1, c.COUNT_MOST)


class Refinement:
    """Five maps with 33 steps of the mixed log-odds for each of their contexts."""

    def __init__(self):
        self.maps = [{} for _ in range(5)]

    def cells(self, places):
        first = [sigmoid((k - 16) * c.REFINE_WIDTH) for k in range(33)]
        return [known.setdefault(at, list(first)) for known, at in zip(self.maps, places, strict=True)]

    @staticmethod
    def steps(odds):
        z = clip(odds / c.REFINE_WIDTH, -c.REFINE_EDGE, c.REFINE_EDGE) + 16
        return int(z), z - int(z)

    def one(self, odds, places):
        below, part = self.steps(odds)
        found = [cell[below] * (1 - part) + cell[below + 1] * part for cell in self.cells(places)]
        return c.MIXED_SHARE * sigmoid(odds) + (1 - c.MIXED_SHARE) * sum(found) / 5

    def learn(self, odds, places, bit):
        below, part = self.steps(odds)
        nearer = below + (part > 0.5)
        for cell in self.cells(places):
            cell[nearer] += (bit - cell[nearer]) * c.REFINE_RATE


class Oracle:
    """An online chain model with unlimited cells, and ``2^log_lists`` lists for each neuron, or none."""

    def __init__(self, tree, pieces, described, sets, room, log_lists, runs=True):
        lists = log_lists is not None
        self.tree, self.lists = tree, [Lists(k, log_lists) for k in range(len(described)) if lists]
        self.neurons = [(one.split()[0], one.split()[1:]) for one in described]
        self.text = Text(pieces, tree.codes, tree.rank)
        n = len(described)
        self.cells = [{} for _ in described]
        self.maps = [AdaptiveMap(state_prior) for _ in described]
        self.runs = [AdaptiveMap(run_prior) for _ in described] if runs else []
        self.recent = {}
        self.matches = [Match(order, room) for order in c.MATCH_ORDERS]
        self.match_maps = [MatchMap() for _ in c.MATCH_ORDERS]
        sources = (3 + lists + runs) * n
        matched = [c.MATCH_WEIGHT] * 3
        self.layer = Layer(sets, np.array([1 / sources] * sources + matched + [0.0] * 3 + matched + [0.0]))
        self.second, self.refinement = SecondLayer(sets), Refinement()

    def read(self, token):
        """Return P(bit = 1) at every turn of a token, and then learn the token."""
        self.now = len(self.text.tokens)
        self.guesses = [match.begin(self.text.tokens) for match in self.matches]
        self.text.matched = self.longest()
        self.seen = [tuple(map(self.text.field, fields)) for _, fields in self.neurons]
        first, after = self.tree.start[token], self.tree.start[token + 1]
        ones = [
            self.turn(int(self.tree.node[first + depth]), depth, int(self.tree.bit[first + depth]))
            for depth in range(after - first)
        ]
        for known, seen in zip(self.lists, self.seen, strict=bool(self.lists)):
            known.add(seen, token)
        self.text.add(token)
        for match in self.matches:
            match.end(self.text.tokens)
        return ones

    def longest(self):
        """Return the token that the longest match expects, as its id plus 1, and the step of its length."""
        steps = [step(match.length, c.MATCH_EDGES) for match in self.matches]
        m = steps.index(max(steps))
        return (self.guesses[m] + 1, steps[m]) if steps[m] else (0, 0)

    def turn(self, node, depth, bit):
        zone, tick = int(self.tree.spelled[node]), self.now // 4
        keys = [
            (seen, int(self.tree.names[c.VIEWS.index(view), node]))
            for seen, (view, _) in zip(self.seen, self.neurons, strict=True)
        ]
        cells = [known.get(key) for known, key in zip(self.cells, keys, strict=True)]
        states = [cell and cell.state(tick, zone, depth) for cell in cells]
        runs = [cell and cell.run(zone, depth) for cell in cells] if self.runs else []
        recent = self.recent.setdefault(node, Recent())
        expected, match_states, matched, centred = self.expect(node, depth, zone)
        longest = max(
            (m for m in range(3) if expected[m] is not None),
            key=lambda m: step(self.matches[m].length, c.MATCH_EDGES),
            default=None,
        )
        inputs = [cell.odds(tick)[k] if cell else 0.0 for k in (0, 1) for cell in cells]
        inputs += mapped(self.maps, states)
        for known, seen in zip(self.lists, self.seen, strict=bool(self.lists)):
            inputs.append(list_odds(known.get(seen), self.tree, node, depth))
        inputs += mapped(self.runs, runs)
        inputs = np.array([*inputs, *matched, *recent.odds(self.now), *centred, c.BIAS])
        choice = self.choose(node, zone, depth, cells, longest, expected)
        logits = self.layer.logits(inputs, choice)
        odds = self.second.odds(logits, choice)
        places = self.places(node, longest)
        one = self.refinement.one(odds, places)

        self.refinement.learn(odds, places, bit)
        self.second.learn(logits, choice, bit)
        self.layer.learn(inputs, choice, bit)
        recent.learn(bit, self.now)
        for known, state, guess in zip(self.match_maps, match_states, expected, strict=True):
            if guess is not None:
                known.learn(state, guess == bit)
        for known, state in zip([*self.maps, *self.runs], [*states, *runs], strict=True):
            if state:
                known.learn(state, bit)
        for known, key in zip(self.cells, keys, strict=True):
            known.setdefault(key, Cell(tick)).write(bit, tick)
        return clip(one, c.LEAST, 1 - c.LEAST)

    def expect(self, node, depth, zone):
        """Return the bits that the matches expect, their states, and the inputs that they make."""
        expected, states, matched, centred = [], [], [], []
        for guess, match, known in zip(self.guesses, self.matches, self.match_maps, strict=True):
            bit = None if guess is None else turn_at(self.tree, guess, node, depth)
            state = step(match.length, c.MATCH_EDGES), zone, min(depth, 15)
            share, sign = known.entry(state)[0], {None: 0, 0: -1, 1: 1}[bit]
            expected.append(bit)
            states.append(state)
            matched.append(sign * log_odds(share, 1 - share))
            centred.append(sign * 4 * (share - 0.5))
        return expected, states, matched, centred

    def choose(self, node, zone, depth, cells, longest, expected):
        """Return what chooses a row of each set."""
        field, known, kind = self.text.field, [cell is not None for cell in cells], int(self.tree.kind[node])
        class1 = field("class6_1")
        class4 = max(class1 - 1, 0) // 4
        match = (zone,)
        if longest is not None:
            match = zone, expected[longest], step(self.matches[longest].length, c.MATCH_EDGES)
        return {
            "one": 0,
            "hits": (zone, *known[:6]),
            "kind": kind,
            "class1": (zone, class1),
            "class2": (zone, field("class6_2")),
            "match": match,
            "depth": (zone, min(depth, 31)),
            "seen": (zone, min(depth // 2, 7), sum(known) * c.SEEN_STEPS // (len(known) + 1)),
            "class9": field("class9_1"),
            "shape": (zone, field("shape1")),
            "token": field("token1") * 0x9E3779B1 % 2**32 >> 21,
            "byte": (zone, field("bytes1")),
            "byte_before": field("bytes2") >> 8,
            "shape_depth": (zone, field("shape1"), min(depth, 31)),
            "kind_class": (kind, class4) if kind < c.TOP_KINDS else (zone, class4, "rare"),
        }

    def places(self, node, longest):
        """Return the contexts of the five maps."""
        name, spelled = int(self.tree.names[0, node]), int(self.tree.names[2, node])
        token1, token2 = (self.text.field(one) for one in ("token1", "token2"))
        guess = 0 if longest is None else self.guesses[longest] + 1
        hashes = name, mix(token1, name), mix(mix(token1, token2), name), mix(guess, name)
        return [h >> 16 for h in (*hashes, mix(self.text.field("word"), spelled))]
