"""Imports optional packages: those that only a part of the library needs.

The extras of ``pyproject.toml`` install them.

Source: docs/architecture.md
"""

import importlib
from types import ModuleType


class MissingPackageError(ModuleNotFoundError, ValueError):
    """Says that an optional package is not installed, and how to install it.

    It is a ValueError too, so that a command ends with its message in one line.

    Source: docs/architecture.md
    """


def need(module: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
      module: the module's full name, such as ``sklearn.manifold``.
      extra: the extra of wnn_jax that installs the package.

    Returns:
      The module.

    Raises:
      MissingPackageError: the package is not installed. The message names it and says how to install it.
      ModuleNotFoundError: the package is installed, but lacks a package that it needs itself.

    Source: docs/architecture.md
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # The package is there, but a package that it needs is not: its own error says so.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{package} is not installed: run pip install 'wnn_jax[{extra}]'", name=error.name
        ) from error
