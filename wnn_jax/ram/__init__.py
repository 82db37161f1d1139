"""RAM neurons: bits, connectivity, cells, and the layer that is fitted and read."""

from wnn_jax.ram.layer import (  # noqa: F401
    CELLS,
    MAX_ADDRESS_BITS,
    MAX_NEURONS,
    UNIT,
    Examples,
    RamConfig,
    Table,
    addresses,
    empty_votes,
    fit_and_read,
    fit_and_read_groups,
    fused_bytes,
    init,
    probability,
    read,
    row_bytes,
    seeds,
    shares,
    write,
)
