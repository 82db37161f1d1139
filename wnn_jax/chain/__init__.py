"""The chain language model."""

from wnn_jax.chain.contexts import Model  # noqa: F401
from wnn_jax.chain.mixer import Memory  # noqa: F401
from wnn_jax.chain.model import (  # noqa: F401
    BYTES,
    WORDS,
    arrays,
    checked,
    distribution,
    drive,
    empty,
    from_arrays,
    log_slots_for,
    model,
    nats,
    read,
    sample,
    turns,
)
from wnn_jax.chain.reader import Reading, Settings  # noqa: F401
