"""The bitwise RAM language model: one cluster of RAM neurons for every bit of the next token.

The input is the codes of the last C tokens; cluster k votes for bit k of the next token's code.
The token's probability is the product of its bits' probabilities over the V valid ids:

    score(t) = sum_k log P(bit_k = code(t)_k)        P(t) = exp(score(t)) / sum_{u < V} exp(score(u))

The bits are independent given the context, so the normaliser is ``Pr[id < V]`` and both it and the
best id come from a B-step digit walk instead of V x B work (`_first_differences`).
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.ram import bits, connectivity

CODES = ("binary", "gray")
FLOOR = 1e-7


@dataclasses.dataclass(frozen=True)
class BitwiseConfig:
    """Sizes of a bitwise model. Hashable: static under `jit`.

    Attributes:
      vocabulary: V, the number of ids.
      context: C, the number of tokens seen.
      neurons: n, neurons of each of the B clusters.
      address_bits: T, input bits that a neuron observes.
      code: how ids become bits, input and output alike.
      memory: the cells.

    Raises:
      ValueError: a size is out of range, or T exceeds the C * B input bits.
    """

    vocabulary: int
    context: int = 3
    neurons: int = 100
    address_bits: int = 20
    code: Literal["binary", "gray"] = "binary"
    memory: ram.RamConfig = ram.RamConfig()

    def __post_init__(self):
        if self.code not in CODES:
            raise ValueError(f"unknown code {self.code!r}: choose one of {', '.join(CODES)}")
        if self.context < 1:
            raise ValueError(f"the model needs at least 1 context token, got {self.context}")
        if not 1 <= self.neurons <= ram.MAX_NEURONS:
            raise ValueError(f"a cluster takes 1 to {ram.MAX_NEURONS} neurons, got {self.neurons}")
        limit = min(ram.MAX_ADDRESS_BITS, self.input_bits)
        if not 1 <= self.address_bits <= limit:
            raise ValueError(
                f"address bits must be 1 to {limit} ({self.context} tokens of {self.clusters} bits "
                f"give {self.input_bits} input bits; dense tables stop at "
                f"{ram.MAX_ADDRESS_BITS}), got {self.address_bits}"
            )

    @property
    def clusters(self) -> int:
        """K = B: one cluster a bit of the token."""
        return bits.code_length(self.vocabulary)

    @property
    def input_bits(self) -> int:
        return self.context * self.clusters


class Scores(NamedTuple):
    """Scores of N tokens under a model.

    Attributes:
      nats: ``float32 [N]`` negative log-probability of the token that came.
      best: ``int32 [N]`` the most probable id; the lowest one on ties.
    """

    nats: jax.Array
    best: jax.Array


def init(key: jax.Array, config: BitwiseConfig) -> jax.Array:
    """A random connectivity ``[B, n, T]``."""
    return connectivity.random(key, config.clusters, config.neurons, config.address_bits, config.input_bits)


def examples(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> ram.Examples:
    """Every position of a token stream that has a full context, as inputs and target bits.

    Args:
      tokens: ``[N + C]`` ids.

    Returns:
      N examples; example i sees tokens ``i .. i + C - 1`` and is asked for token ``i + C``.

    Raises:
      ValueError: the stream is no longer than the context, or an id is not below V.
    """
    tokens = check_tokens(config, tokens)
    code_bits = bits.unpack_code(encode(config, jnp.asarray(tokens, jnp.int32)), config.clusters)
    words = bits.pack(bits.windows(code_bits, config.context))
    return ram.Examples(words, code_bits[:, config.context :])


def check_tokens(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> np.ndarray:
    """The ids as NumPy, or a ValueError that says which one is out of range or how many are missing."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or len(tokens) <= config.context:
        raise ValueError(
            f"a context of {config.context} needs more than {config.context} tokens, got {tokens.size}"
        )
    return check_ids(config, tokens)


def check_ids(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> np.ndarray:
    """The ids as NumPy.

    Raises:
      ValueError: they are no ``[N]`` integers, or one is not below V.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be [N] integers, got {tokens.dtype} of shape {tokens.shape}")
    bad = np.flatnonzero((tokens < 0) | (tokens >= config.vocabulary))
    if bad.size:
        raise ValueError(
            f"token {tokens[bad[0]]} at position {bad[0]} is outside the vocabulary of "
            f"{config.vocabulary} ids ({bad.size} such tokens)"
        )
    return tokens


def encode(config: BitwiseConfig, ids: jax.Array) -> jax.Array:
    """Ids to the integers whose bits the model reads and predicts."""
    return bits.gray(ids) if config.code == "gray" else ids


def log_probabilities(votes: jax.Array, connections: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities ``float32 [B, N]`` of bit 1 and of bit 0, clamped to ``[FLOOR, 1 - FLOOR]``."""
    one, zero = ram.probability(votes, connections)
    return log_clamped(one, zero)


def log_clamped(one: jax.Array, zero: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``log`` of both halves of a bit's probability after they were clamped to ``[FLOOR, 1 - FLOOR]``."""

    def log(p, q):
        return jnp.where(p > 0.5, jnp.log1p(-jnp.maximum(q, FLOOR)), jnp.log(jnp.maximum(p, FLOOR)))

    return log(one, zero), log(zero, one)


def score(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array, targets: jax.Array) -> Scores:
    """Exact categorical score of every token in O(B).

    Args:
      log_one, log_zero: ``float32 [B, N]``, see `log_probabilities`.
      targets: ``bool [B, N]`` code bits of the tokens that came.
    """
    chosen = jnp.where(targets, log_one, log_zero).sum(axis=0)
    log_mass, best = _below_vocabulary(config, log_one, log_zero)
    return Scores(nats=log_mass - chosen, best=best)


def token_scores(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array, ids: jax.Array) -> jax.Array:
    """Log-probabilities ``float32 [k, N]`` of some ids ``[k]``, before they are normalised over all V."""
    code = bits.unpack_code(encode(config, ids), config.clusters).astype(jnp.float32)
    return code.T @ log_one + (1.0 - code.T) @ log_zero


def cross_entropy(
    config: BitwiseConfig, connections: jax.Array, votes: jax.Array, targets: jax.Array
) -> jax.Array:
    """Nats ``float32 [N]`` of every token under the votes of a layer."""
    return score(config, *log_probabilities(votes, connections), targets).nats


class Rest(NamedTuple):
    """The normaliser of every token as a function of one bit: ``others + one * P(1) + zero * P(0)``.

    Attributes:
      others, one, zero: ``float32 [B, N]``, of each bit given all the other bits.
    """

    others: jax.Array
    one: jax.Array
    zero: jax.Array


def rest(config: BitwiseConfig, one: jax.Array, zero: jax.Array) -> Rest:
    """The normaliser as the other bits leave it, for each bit, in O(B).

    The normaliser is Pr[id < V], a sum over the digits at which an id may first differ from V, so it is
    linear in each bit's probability: changing one cluster costs O(N), not a new walk.

    Args:
      one, zero: ``float32 [B, N]``, see `ram.probability`.
    """
    places = one.shape[0]
    if config.vocabulary == 1 << config.clusters:
        nothing = jnp.zeros_like(one)
        return Rest(nothing, nothing + 1.0, nothing + 1.0)
    code, differences = _first_differences(config)
    differs = np.isin(np.arange(places), differences)
    one, zero = _clamped(one), _clamped(zero)
    same = jnp.where(code[:, None], one, zero)
    other = jnp.where(code[:, None], zero, one)
    before, below, after = [jnp.zeros_like(same[0])], [jnp.ones_like(same[0])], [jnp.zeros_like(same[0])]
    for k in range(places - 1):
        before.append(before[k] + differs[k] * below[k] * other[k])
        below.append(below[k] * same[k])
    for k in range(places - 1, 0, -1):
        after.append(same[k] * after[-1] + differs[k] * other[k])
    agrees = jnp.stack(below) * jnp.stack(after[::-1])
    departs = jnp.stack(below) * differs[:, None]
    where = code[:, None]
    return Rest(jnp.stack(before), jnp.where(where, agrees, departs), jnp.where(where, departs, agrees))


def bit_nats(rest: Rest, one: jax.Array, zero: jax.Array, targets: jax.Array) -> jax.Array:
    """Nats of every token but for the other bits' own: one bit's loss and the whole normaliser.

    Its change is the change of the token's nats when only that bit's votes change. One logarithm, of
    probabilities that `rest` was given too; all arguments of one shape, an entry one bit of one token.
    """
    one, zero = _clamped(one), _clamped(zero)
    mass = rest.others + rest.one * one + rest.zero * zero
    return jnp.log(jnp.maximum(mass, jnp.finfo(jnp.float32).tiny) / jnp.where(targets, one, zero))


def _clamped(p: jax.Array) -> jax.Array:
    return jnp.clip(p, FLOOR, 1.0 - FLOOR)


def _first_differences(config: BitwiseConfig) -> tuple[np.ndarray, list[int]]:
    """The code of V and the bits at which a valid id may first differ from it.

    An id is below V exactly if, at the first binary digit where they differ, V has a 1. Gray code
    keeps common prefixes and flips the first differing digit too, so the same holds for its digits.
    """
    places = range(config.clusters - 1, -1, -1)
    limit = config.vocabulary
    digits = np.array([limit >> place & 1 for place in places], bool)
    code = bits.gray(limit) if config.code == "gray" else limit
    return np.array([code >> place & 1 for place in places], bool), np.flatnonzero(digits).tolist()


def _below_vocabulary(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array):
    """Log of the probability that the id is below V, and the most probable such id."""
    if config.vocabulary == 1 << config.clusters:
        best = _greedy(config, log_one, log_zero, 0, jnp.zeros(log_one.shape[1], jnp.int32))[1]
        return jnp.zeros(log_one.shape[1]), best
    code, differences = _first_differences(config)
    same = jnp.where(code[:, None], log_one, log_zero)
    other = jnp.where(code[:, None], log_zero, log_one)
    prefix = jnp.concatenate([jnp.zeros_like(same[:1]), jnp.cumsum(same, axis=0)[:-1]])
    branch = jnp.stack([prefix[i] + other[i] for i in differences])

    candidates = []
    for row, i in enumerate(differences):
        kept = config.vocabulary >> (config.clusters - i) << 1
        start = jnp.full(log_one.shape[1], kept, jnp.int32)
        suffix, ids = _greedy(config, log_one, log_zero, i + 1, start)
        candidates.append((branch[row] + suffix, ids))
    totals = jnp.stack([total for total, _ in candidates])
    ids = jnp.stack([ids for _, ids in candidates])
    # Later branches share a longer prefix with V, so ids grow with the row and argmax's first
    # maximum is the lowest id.
    best = jnp.take_along_axis(ids, totals.argmax(axis=0)[None], axis=0)[0]
    return jax.nn.logsumexp(branch, axis=0), best


def _greedy(config: BitwiseConfig, log_one, log_zero, first: int, ids: jax.Array):
    """Best completion of ids whose binary digits before ``first`` are given: its score and the ids.

    On a tie the binary digit is 0, which is the lowest id.
    """
    total = jnp.zeros(log_one.shape[1])
    for place in range(first, config.clusters):
        # A Gray digit is the binary digit xor the one above it.
        above = (ids & 1).astype(bool) if config.code == "gray" else jnp.zeros(ids.shape, bool)
        if_zero = jnp.where(above, log_one[place], log_zero[place])
        if_one = jnp.where(above, log_zero[place], log_one[place])
        total = total + jnp.maximum(if_zero, if_one)
        ids = 2 * ids + (if_one > if_zero)
    return total, ids
