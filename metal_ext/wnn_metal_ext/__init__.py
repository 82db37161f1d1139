"""Native kernels of wnn_jax, as XLA FFI handlers. `wnn_jax.ram.backend` registers them; it and
`wnn_jax.chain.backend` call them."""

import ctypes
import pathlib

# Raised whenever a target's arguments change: wnn_jax uses kernels of its own edition only.
EDITION = 2

TARGETS = {
    "wnn_fit_and_read": "WnnFitAndRead",
    "wnn_write": "WnnWrite",
    "wnn_read": "WnnRead",
    "wnn_probe": "WnnProbe",
    "wnn_chain_zeros": "WnnChainZeros",
    "wnn_chain_count": "WnnChainCount",
    "wnn_chain_read": "WnnChainRead",
    "wnn_chain_read_on": "WnnChainReadOn",
    "wnn_chain_read_frozen": "WnnChainReadFrozen",
}


def library() -> ctypes.CDLL:
    """The shared library, beside this file or, in an editable install, wherever it was built to."""
    for folder in __path__:
        path = pathlib.Path(folder) / "wnn_kernels.so"
        if path.exists():
            return ctypes.CDLL(str(path))
    raise ImportError("wnn_metal_ext is installed without its library: run pip install ./metal_ext")
