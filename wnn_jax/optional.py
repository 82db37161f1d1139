"""Packages that only a part of the library needs; the extras of ``pyproject.toml`` install them."""

import importlib
from types import ModuleType


class MissingPackageError(ModuleNotFoundError, ValueError):
    """An optional package is not installed; a command ends with this message, as for a bad value."""


def need(module: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
      module: the module's full name, such as ``sklearn.manifold``.
      extra: the extra of wnn_jax that installs the package.

    Raises:
      MissingPackageError: the package is not installed; the message says which and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there but lacks one of its own needs reports that itself.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{package} is not installed: run pip install 'wnn_jax[{extra}]'", name=error.name
        ) from error
