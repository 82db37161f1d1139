"""Native kernels of wnn_jax, as XLA FFI handlers.

`wnn_jax.ram.backend` registers them with JAX; it, `wnn_jax.chain.backend` and
`wnn_jax.classify.backend` call them.

Source: docs/architecture.md
"""

import ctypes
import pathlib

# Must be raised when the arguments of a target change, because wnn_jax uses only kernels of its own edition.
EDITION = 8

TARGETS = {
    "wnn_fit_and_read": "WnnFitAndRead",
    "wnn_write": "WnnWrite",
    "wnn_read": "WnnRead",
    "wnn_probe": "WnnProbe",
    "wnn_class_read": "WnnClassRead",
    "wnn_class_count": "WnnClassCount",
    "wnn_class_left_out": "WnnClassLeftOut",
    "wnn_class_sum": "WnnClassSum",
    "wnn_class_train": "WnnClassTrain",
    "wnn_chain_zeros": "WnnChainZeros",
    "wnn_chain_observe": "WnnChainObserve",
    "wnn_chain_followers": "WnnChainFollowers",
    "wnn_chain_lacking": "WnnChainLacking",
    "wnn_chain_audit": "WnnChainAudit",
    "wnn_chain_forget": "WnnChainForget",
    "wnn_chain_static_cells": "WnnChainStaticCells",
    "wnn_chain_read_static": "WnnChainReadStatic",
    "wnn_chain_learn_on": "WnnChainLearnOn",
    "wnn_chain_online_frozen": "WnnChainOnlineFrozen",
}


def library() -> ctypes.CDLL:
    """Load the shared library of the kernels.

    It lies beside this file or, in an editable install, in the folder of the build.

    Returns:
      The library.

    Raises:
      ImportError: there is no library.

    Source: docs/architecture.md
    """
    for folder in __path__:
        path = pathlib.Path(folder) / "wnn_kernels.so"
        if path.exists():
            return ctypes.CDLL(str(path))
    raise ImportError(
        "wnn_metal_ext has no file wnn_kernels.so, which it needs: run pip install ./metal_ext again"
    )
