"""The bitwise RAM language model: one cluster of RAM neurons for every bit of the next token.

The input bits are the codes of the last C tokens. Cluster k votes for bit k of the next token's code. The
probability of a token is the product of its bits' probabilities, normalised over the V ids:

    score(t) = sum_k log P(bit_k = code(t)_k)        P(t) = exp(score(t)) / sum_{u < V} exp(score(u))

The model takes the bits as independent given the context. So the normaliser is ``Pr[id < V]``, a sum over the
digits at which an id may first differ from V. The sum and the best id take O(B) work, not V x B
(`_first_differences`).

Source: docs/semantics/bitwise.md
"""

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.ram import bits, connectivity

Code = Literal["binary", "gray"]
CODES: tuple[Code, ...] = get_args(Code)
FLOOR = 1e-7


@dataclasses.dataclass(frozen=True)
class BitwiseConfig:
    """Configures a bitwise model. Hashable, so it may be a static argument of `jit`.

    Attributes:
      vocabulary: number of token ids, V.
      context: number of tokens that the model sees, C.
      neurons: number of neurons of each cluster, n; there is one cluster for each bit of a token.
      address_bits: number of input bits that a neuron reads, T.
      code: code that turns ids into bits, for input and output. In the Gray code the ids i and i + 1 differ
        in one bit.
      memory: the kind of cells.

    Raises:
      ValueError: the code is unknown, a size is out of range, or T exceeds the C * B input bits.

    Source: docs/semantics/bitwise.md
    """

    vocabulary: int
    context: int = 3
    neurons: int = 100
    address_bits: int = 20
    code: Code = "binary"
    memory: ram.RamConfig = ram.RamConfig()

    def __post_init__(self):
        checks.fields(
            self,
            vocabulary=Limits(least=1),
            context=Limits(least=1),
            neurons=Limits(least=1, most=ram.MAX_NEURONS),
            address_bits=Limits(least=1, most=ram.MAX_ADDRESS_BITS),
        )
        if self.address_bits > self.input_bits:
            raise ValueError(
                f"address_bits={self.address_bits} are more than the {self.input_bits} input bits of "
                f"{self.context} tokens of {self.clusters} bits: set a number up to {self.input_bits}"
            )

    @property
    def clusters(self) -> int:
        """K = B, because each bit of a token has one cluster."""
        return bits.code_length(self.vocabulary)

    @property
    def input_bits(self) -> int:
        """I = C * B, the number of bits of the context."""
        return self.context * self.clusters


class Scores(NamedTuple):
    """The scores of N tokens under a model.

    Attributes:
      nats: ``float32 [N]``, the negative log-probability of each token.
      best: ``int32 [N]``, the most probable id at each token's place; the lowest one on ties.

    Source: docs/semantics/bitwise.md
    """

    nats: jax.Array
    best: jax.Array


def init(key: jax.Array, config: BitwiseConfig) -> jax.Array:
    """Draw a random connectivity for a bitwise model.

    Args:
      key: draws the input bits.
      config: sizes of the model.

    Returns:
      ``int [B, n, T]``, distinct input bits for each neuron.

    Source: docs/semantics/bitwise.md
    """
    return connectivity.random(key, config.clusters, config.neurons, config.address_bits, config.input_bits)


def examples(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> ram.Examples:
    """Make an example of every position of a token stream that has a full context.

    Args:
      config: gives the vocabulary, the context and the code.
      tokens: ``int [N + C]``, token ids.

    Returns:
      N examples. Example i has the bits of tokens ``i .. i + C - 1`` as input and those of token ``i + C`` as
      targets.

    Raises:
      ValueError: the stream is not longer than the context, or an id is outside the vocabulary.

    Source: docs/semantics/bitwise.md
    """
    tokens = check_tokens(config, tokens)
    code_bits = bits.unpack_code(encode(config, jnp.asarray(tokens, jnp.int32)), config.clusters)
    words = bits.pack(bits.windows(code_bits, config.context))
    return ram.Examples(words, code_bits[:, config.context :])


def check_tokens(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> np.ndarray:
    """Check that a token stream is longer than the context, and that its ids lie in the vocabulary.

    Args:
      config: gives the vocabulary and the context.
      tokens: ``int [M]``, token ids.

    Returns:
      The ids as a NumPy array.

    Raises:
      ValueError: the stream is not longer than the context, or see `check_ids`.

    Source: docs/semantics/bitwise.md
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or len(tokens) <= config.context:
        raise ValueError(
            f"a context of {config.context} needs more than {config.context} tokens, got {tokens.size}: give "
            "a longer text"
        )
    return check_ids(config, tokens)


def check_ids(config: BitwiseConfig, tokens: jax.Array | np.ndarray) -> np.ndarray:
    """Check that token ids lie in the vocabulary.

    Args:
      config: gives the vocabulary.
      tokens: ``int [N]``, token ids.

    Returns:
      The ids as a NumPy array.

    Raises:
      ValueError: the ids are not integers ``[N]``, or one is below 0 or not below V.

    Source: docs/semantics/bitwise.md
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"tokens must be [N] integers, got {tokens.dtype} of shape {tokens.shape}: give a list of ids"
        )
    bad = np.flatnonzero((tokens < 0) | (tokens >= config.vocabulary))
    if bad.size:
        raise ValueError(
            f"token {tokens[bad[0]]} at position {bad[0]} is outside the vocabulary of "
            f"{config.vocabulary} ids ({bad.size} such tokens): use the tokenizer of this vocabulary"
        )
    return tokens


def encode(config: BitwiseConfig, ids: jax.Array) -> jax.Array:
    """Turn ids into codes, the integers whose bits the model reads and predicts.

    Args:
      config: gives the code, binary or Gray.
      ids: ``int32 [...]``.

    Returns:
      ``int32 [...]``; the ids themselves in the binary code.

    Source: docs/semantics/bitwise.md
    """
    return bits.gray(ids) if config.code == "gray" else ids


def log_probabilities(votes: jax.Array, connections: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turn votes into the log-probabilities of bit 1 and of bit 0.

    Args:
      votes: ``int32 [B, N]``.
      connections: ``int [B, n, T]``; the votes are divided by the number of neurons that are present.

    Returns:
      Two ``float32 [B, N]``, of probabilities that were clamped to ``[FLOOR, 1 - FLOOR]``.

    Source: docs/semantics/bitwise.md
    """
    one, zero = ram.probability(votes, connections)
    return log_clamped(one, zero)


def log_clamped(one: jax.Array, zero: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Clamp the probabilities of bit 1 and bit 0 to ``[FLOOR, 1 - FLOOR]``, and take their logarithms.

    Args:
      one: ``float32 [...]``, the probability of bit 1.
      zero: ``float32 [...]``, the probability of bit 0, which is ``1 - one`` without its rounding.

    Returns:
      Two ``float32 [...]``, the logarithms. A probability above 1/2 gets its logarithm from the other one, so
      that no digits are lost.

    Source: docs/semantics/bitwise.md
    """

    def log(p, q):
        return jnp.where(p > 0.5, jnp.log1p(-jnp.maximum(q, FLOOR)), jnp.log(jnp.maximum(p, FLOOR)))

    return log(one, zero), log(zero, one)


def score(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array, targets: jax.Array) -> Scores:
    """Score every token, normalised exactly over all V ids, in O(B) work.

    Args:
      config: gives the vocabulary and the code.
      log_one: ``float32 [B, N]``, from `log_probabilities`.
      log_zero: ``float32 [B, N]``, from `log_probabilities`.
      targets: ``bool [B, N]``, the code bits of the tokens.

    Returns:
      Nats and best ids, arrays ``[N]``; on ties the lowest id.

    Source: docs/semantics/bitwise.md
    """
    chosen = jnp.where(targets, log_one, log_zero).sum(axis=0)
    log_mass, best = _below_vocabulary(config, log_one, log_zero)
    return Scores(nats=log_mass - chosen, best=best)


def token_scores(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array, ids: jax.Array) -> jax.Array:
    """Compute the log-probabilities of some ids, not normalised over the V ids.

    Args:
      config: gives the code.
      log_one: ``float32 [B, N]``, from `log_probabilities`.
      log_zero: ``float32 [B, N]``, from `log_probabilities`.
      ids: ``int32 [k]``.

    Returns:
      ``float32 [k, N]``.

    Source: docs/semantics/bitwise.md
    """
    code = bits.unpack_code(encode(config, ids), config.clusters).astype(jnp.float32)
    return code.T @ log_one + (1.0 - code.T) @ log_zero


def cross_entropy(
    config: BitwiseConfig, connections: jax.Array, votes: jax.Array, targets: jax.Array
) -> jax.Array:
    """Compute the nats of every token from the votes of a layer.

    Args:
      config: gives the vocabulary and the code.
      connections: ``int [B, n, T]``.
      votes: ``int32 [B, N]``.
      targets: ``bool [B, N]``, the code bits of the tokens.

    Returns:
      ``float32 [N]``.

    Source: docs/semantics/bitwise.md
    """
    return score(config, *log_probabilities(votes, connections), targets).nats


class Rest(NamedTuple):
    """The normaliser of every token as a function of one bit: ``others + one * P(1) + zero * P(0)``.

    Each entry belongs to one bit of one token, and depends on all the other bits of that token.

    Attributes:
      others: ``float32 [B, N]``.
      one: ``float32 [B, N]``.
      zero: ``float32 [B, N]``.

    Source: docs/semantics/bitwise.md
    """

    others: jax.Array
    one: jax.Array
    zero: jax.Array


def rest(config: BitwiseConfig, one: jax.Array, zero: jax.Array) -> Rest:
    """Compute, for each bit, the normaliser as a function of this bit alone, in O(B) work.

    The normaliser is ``Pr[id < V]``, a sum over the digits at which an id may first differ from V. So it is
    linear in the probability of each bit, and a change of one cluster costs O(N).

    Args:
      config: gives the vocabulary and the code.
      one: ``float32 [B, N]``, the probability of bit 1, from `ram.probability`.
      zero: ``float32 [B, N]``, the probability of bit 0.

    Returns:
      The coefficients of the linear functions.

    Source: docs/semantics/bitwise.md
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
    """Compute the part of a token's nats that depends on one bit: the bit's own loss and the normaliser.

    If only the votes of this bit change, the change of this part is the change of the token's nats.

    Args:
      rest: coefficients of the normaliser, arrays ``[...]``, from `rest`.
      one: ``float32 [...]``, the probability that the bit is 1.
      zero: ``float32 [...]``, the probability that the bit is 0.
      targets: ``bool [...]``, the bit of the token.

    Returns:
      ``float32 [...]``; each entry belongs to one bit of one token.

    Source: docs/semantics/bitwise.md
    """
    one, zero = _clamped(one), _clamped(zero)
    mass = rest.others + rest.one * one + rest.zero * zero
    return jnp.log(jnp.maximum(mass, jnp.finfo(jnp.float32).tiny) / jnp.where(targets, one, zero))


def _clamped(p: jax.Array) -> jax.Array:
    return jnp.clip(p, FLOOR, 1.0 - FLOOR)


def _first_differences(config: BitwiseConfig) -> tuple[np.ndarray, list[int]]:
    """Return the code of V, and the digits at which an id below V may first differ from V.

    An id is below V exactly if V has a 1 at the first binary digit in which the two differ. Two Gray codes
    first differ at the same digit as the two binary numbers, so this holds for the Gray code too.
    """
    places = range(config.clusters - 1, -1, -1)
    limit = config.vocabulary
    digits = np.array([limit >> place & 1 for place in places], bool)
    code = bits.gray(limit) if config.code == "gray" else limit
    return np.array([code >> place & 1 for place in places], bool), np.flatnonzero(digits).tolist()


def _below_vocabulary(config: BitwiseConfig, log_one: jax.Array, log_zero: jax.Array):
    """Return the logarithm of the probability that the id is below V, and the most probable such id."""
    if config.vocabulary == 1 << config.clusters:
        best = _greedy(config, log_one, log_zero, 0, jnp.zeros(log_one.shape[1], jnp.int32))[1]
        return jnp.zeros(log_one.shape[1], dtype=jnp.float32), best
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
    # A later branch shares a longer prefix with V, so its ids are higher. Of equal maxima argmax takes the
    # first, which is the lowest id.
    best = jnp.take_along_axis(ids, totals.argmax(axis=0)[None], axis=0)[0]
    return jax.nn.logsumexp(branch, axis=0), best


def _greedy(config: BitwiseConfig, log_one, log_zero, first: int, ids: jax.Array):
    """Complete ids whose binary digits before ``first`` are given: return the best score and its ids.

    On a tie the binary digit is 0, which gives the lowest id.
    """
    total = jnp.zeros(log_one.shape[1], dtype=jnp.float32)
    for place in range(first, config.clusters):
        # A digit of the Gray code is the binary digit xor the binary digit above it.
        above = (ids & 1).astype(bool) if config.code == "gray" else jnp.zeros(ids.shape, bool)
        if_zero = jnp.where(above, log_one[place], log_zero[place])
        if_one = jnp.where(above, log_zero[place], log_one[place])
        total = total + jnp.maximum(if_zero, if_one)
        ids = 2 * ids + (if_one > if_zero)
    return total, ids
