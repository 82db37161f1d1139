"""Checks of what comes from outside: the settings of configs, and arrays from arguments and files.

A bad value is refused here, in Python, before a backend is chosen and before any work: with the same words
for every backend, in one line that names the value, its number and what to give instead.

Source: docs/architecture.md
"""

import dataclasses
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax.core
import numpy as np

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

MOST = 2**31 - 1  # the largest integer of a config, unless its limits say otherwise: JAX computes with int32
MOST_SEED = 2**32 - 1  # a key of JAX is made from 32 bits


class Limits(NamedTuple):
    """The numbers that a setting may have.

    Attributes:
      least: the smallest number.
      most: the largest number.
      above: every number must be larger than this one.
      below: every number must be smaller than this one.
      endless: whether infinity is one of the numbers too.

    Source: docs/architecture.md
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    endless: bool = False

    def accept(self, x: float) -> bool:
        """Say whether a number is within the limits; NaN never is."""
        return self.least <= x <= self.most and self.above < x < self.below

    def __str__(self) -> str:
        """Return the limits as words that follow a noun, or nothing."""
        low = f"at least {_short(self.least)}" if self.least > -math.inf else ""
        high = f"at most {_short(self.most)}" if self.most < math.inf else ""
        low = f"above {_short(self.above)}" if self.above > -math.inf else low
        high = f"below {_short(self.below)}" if self.below < math.inf else high
        said = " and ".join(x for x in (low, high) if x)
        return f"of {said}" if said.startswith("at") else said


def _short(x: float) -> float:
    return int(x) if float(x).is_integer() and abs(x) < 1e15 else x


SEED = Limits(least=0, most=MOST_SEED)


def fields(config: Any, **limits: Limits) -> None:
    """Check every field of a config by the type that its class states, and by its limits.

    An ``int`` must be a whole number, by default from -`MOST` to `MOST`; a ``float`` must be finite; a
    ``Literal`` must be one of its choices; a ``str``, a ``bool`` and a config must be one. Each entry of a
    tuple is checked alone, NumPy numbers become Python's, and None is accepted where the type says so. The
    fields named ``seed`` and ``seeds`` have the limits `SEED`.

    Args:
      config: a dataclass; call this from its ``__post_init__``.
      **limits: the limits of its fields, by name.

    Raises:
      ValueError: a field has another type, is not finite or is beyond its limits.

    Source: docs/architecture.md
    """
    hints = _hints(type(config))
    for name, hint in hints.items():
        bound = limits.get(name, SEED if name in ("seed", "seeds") else Limits())
        value = getattr(config, name)
        _value(name, value, hint, bound)
        plain = _plain(value)
        if plain is not value:
            # A NumPy number wraps around in later arithmetic, and json does not write it.
            object.__setattr__(config, name, plain)


def made(kind: type[C], data: Any, name: str) -> C:
    """Make a config from JSON data, as `dataclasses.asdict` and a file give it back.

    Args:
      kind: the class of the config; fields that are configs are made from their own data, and lists become
        tuples.
      data: a dictionary of its fields; fields with a default may be missing.
      name: what the data comes from, for the message.

    Raises:
      ValueError: the data is no dictionary, a field is unknown or missing, or a value is refused.

    Source: docs/architecture.md
    """
    hints = _hints(kind)
    if not isinstance(data, dict):
        raise ValueError(f"{name} holds no settings of a {kind.__name__}: give another copy")
    if unknown := sorted({str(one) for one in data} - set(hints)):
        raise ValueError(f"{name} has an unknown setting {unknown[0][:40]!r}: use the version that wrote it")
    missing = [
        one.name
        for one in dataclasses.fields(typing.cast(Any, kind))
        if _needed(one) and one.name not in data
    ]
    if missing:
        raise ValueError(f"{name} lacks the setting {missing[0]!r}: give another copy")
    values = {}
    for key, x in data.items():
        inner = next((one for one in (hints[key], *typing.get_args(hints[key])) if _is_config(one)), None)
        values[key] = made(typing.cast(type, inner), x, name) if inner and x is not None else _tuples(x)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{name} has a bad setting: {error}") from error


def classes(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a function whose hints are classes of this library, such as configs and models.

    Args:
      function: a function; the one that is returned does the same, but raises ValueError where such an
        argument is of another class.

    Source: docs/architecture.md
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        kinds = _classes_of(function)
        for name, x in signature.bind(*args, **kwargs).arguments.items():
            if name in kinds and not isinstance(x, kinds[name]):
                wanted = " or ".join(kind.__name__ for kind in kinds[name] if kind is not type(None))
                raise ValueError(f"{name} is of type {type(x).__name__}: give a {wanted}")
        return function(*args, **kwargs)

    return checked


@functools.cache
def _classes_of(function: Callable) -> dict[str, tuple[type, ...]]:
    """Return the parameters whose hints are classes of this library, or None, and the classes."""
    found = {}
    for name, hint in typing.get_type_hints(function).items():
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        kinds = typing.get_args(hint) if union else (hint,)
        own = [isinstance(x, type) and x.__module__.startswith("wnn_jax.") for x in kinds]
        if any(own) and all(yes or x is type(None) for yes, x in zip(own, kinds, strict=True)):
            found[name] = kinds
    found.pop("return", None)
    return found


def integer(name: str, x: Any, limits: Limits = Limits()) -> int:
    """Return a whole number as an ``int``.

    Args:
      name: the name of the value, for the message.
      x: the value, an ``int`` or a NumPy integer, and no ``bool``.
      limits: the numbers that it may have; -`MOST` to `MOST` where they leave a side open.

    Raises:
      ValueError: the value is not a whole number, or is beyond its limits.

    Source: docs/architecture.md
    """
    _value(name, x, int, limits)
    return int(x)


def number(name: str, x: Any, limits: Limits = Limits()) -> float:
    """Return a finite number as a ``float``.

    Args:
      name: the name of the value, for the message.
      x: the value, a real number, and no ``bool``.
      limits: the numbers that it may have.

    Raises:
      ValueError: the value is not a number, is NaN or infinite, or is beyond its limits.

    Source: docs/architecture.md
    """
    _value(name, x, float, limits)
    return float(x)


_KINDS = {
    "booleans": lambda dtype: dtype == np.bool_,
    "integers": lambda dtype: np.issubdtype(dtype, np.integer),
    "numbers": lambda dtype: np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer),
}


def array(
    name: str,
    x: Any,
    kind: str,
    shape: Mapping[str, int | None] | None = None,
    limits: Limits = Limits(),
) -> None:
    """Check an array: its type, its shape and its entries.

    Inside a transformation of JAX the entries are not known, and only the type and the shape are checked.
    The kernels therefore mask or clamp every index that they take from an array.

    Args:
      name: the name of the array, for the message.
      x: an array of NumPy or JAX.
      kind: ``booleans``, ``integers``, ``numbers`` (finite ones), or the name of a dtype.
      shape: the length of each axis by its letter, in order; None takes any length.
      limits: the numbers that its entries may have.

    Raises:
      ValueError: the type, a length or an entry is another.

    Source: docs/architecture.md
    """
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise ValueError(f"{name} is of type {type(x).__name__}: give an array of {kind}")
    plain = isinstance(x.dtype, np.dtype)  # the keys of JAX have another one, which NumPy does not know
    right = plain and (_KINDS[kind](x.dtype) if kind in _KINDS else x.dtype == np.dtype(kind))
    if not right:
        raise ValueError(f"{name} has dtype {x.dtype}: give {kind}")
    if shape is not None:
        lengths = tuple(shape.values())
        same = len(lengths) == len(x.shape)
        if not same or any(want not in (None, n) for want, n in zip(lengths, x.shape, strict=True)):
            wanted = ", ".join(axis if n is None else f"{axis}={n}" for axis, n in shape.items())
            raise ValueError(f"{name} has shape {list(x.shape)}: give [{wanted}]")
    if isinstance(x, jax.core.Tracer) or not x.size:
        return
    if x.dtype == np.bool_:
        # A view of other bytes as booleans holds more than 0 and 1, and neither XLA nor C++ expects that.
        entries(name, np.asarray(x).view(np.uint8), Limits(0, 1))
    elif limits != Limits() or not np.issubdtype(x.dtype, np.integer):
        entries(name, np.asarray(x), limits)


def entries(name: str, x: np.ndarray, limits: Limits = Limits()) -> None:
    """Check the entries of a NumPy array of numbers: they must be finite and within the limits.

    Args:
      name: the name of the array, for the message.
      x: the array, of any shape.
      limits: the numbers that its entries may have.

    Raises:
      ValueError: an entry is NaN, infinite or beyond the limits; the message names the first one.

    Source: docs/architecture.md
    """
    if not x.size:
        return
    # NaN spreads to both ends, and no comparison with it is true.
    low, high = float(x.min()), float(x.max())
    if limits.accept(low) and limits.accept(high) and math.isfinite(low) and math.isfinite(high):
        return
    fine = np.isfinite(x) & (x >= limits.least) & (x <= limits.most) & (x > limits.above) & (x < limits.below)
    if fine.all():
        return
    place = tuple(int(i) for i in np.argwhere(~fine)[0])
    where = f"{name}[{', '.join(map(str, place))}]" if place else name
    kind = "integers" if np.issubdtype(x.dtype, np.integer) else "finite numbers"
    raise ValueError(f"{where}={x[place]} is out of range: give {f'{kind} {limits}'.strip()}")


def _brief(x: Any) -> str:
    """Return a value as a few words of one line."""
    words = " ".join(repr(x).split())
    return words if len(words) <= 60 else f"{words[:57]}..."


def _needed(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _tuples(x: Any) -> Any:
    return tuple(map(_tuples, x)) if isinstance(x, list) else x


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(name: str, x: Any, hint: Any, limits: Limits) -> None:
    """Check one value by the type of its field.

    Raises:
      ValueError: the value has another type, is not finite or is beyond its limits.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if x is None and type(None) in arguments:
            return
        rest = [one for one in arguments if one is not type(None)]
        if len(rest) == 1:
            _value(name, x, rest[0], limits)
    elif origin is tuple:
        if not isinstance(x, tuple):
            raise ValueError(f"{name}={_brief(x)} is of type {type(x).__name__}: give a tuple")
        each = arguments[:1] * len(x) if arguments[-1] is Ellipsis else arguments
        if len(each) != len(x):
            raise ValueError(f"{name}={_brief(x)} has {len(x)} entries: give {len(each)}")
        for one, kind in zip(x, each, strict=True):
            _value(name, one, kind, limits)
    elif origin is typing.Literal:
        if not any(x == one and type(x) is type(one) for one in arguments):
            raise ValueError(f"unknown {name} {_brief(x)}: choose one of {', '.join(map(str, arguments))}")
    elif hint is bool or hint is str:
        if not isinstance(x, (bool, np.bool_) if hint is bool else str):
            raise ValueError(f"{name}={_brief(x)} is of type {type(x).__name__}: give a {hint.__name__}")
    elif hint is int or hint is float:
        _number(name, x, hint, limits)
    elif _is_config(hint) and not isinstance(x, hint):
        raise ValueError(f"{name} is of type {type(x).__name__}: give a {hint.__name__}")


def _plain(x: Any) -> Any:
    """Turn NumPy numbers into Python's, also the entries of a tuple."""
    if isinstance(x, tuple) and any(isinstance(one, np.generic) for one in x):
        return tuple(_plain(one) for one in x)
    return x.item() if isinstance(x, np.generic) else x


def _number(name: str, x: Any, kind: type, limits: Limits) -> None:
    """Check one number.

    Raises:
      ValueError: the value is not a number of the kind, is not finite or is beyond its limits.
    """
    real = _is_number(x, kind)
    said = limits
    if kind is int:
        least = -MOST if limits.least == limits.above == -math.inf else limits.least
        most = MOST if limits.most == limits.below == math.inf else limits.most
        limits = limits._replace(least=least, most=most)
        # The ends that every integer has are said only to who passed them.
        said = limits if real and abs(x) > MOST else said
    if not real:
        raise ValueError(f"{name}={_brief(x)} is not {_noun(kind)}: give {_noun(kind)} {said}".strip())
    if x == math.inf and limits.endless:
        return
    if not math.isfinite(x) or not limits.accept(x):
        raise ValueError(f"{name}={x} is out of range: give {_noun(kind)} {said}".strip())


def _is_number(x: Any, kind: type) -> bool:
    right = numbers.Integral if kind is int else numbers.Real
    return isinstance(x, right) and not isinstance(x, (bool, np.bool_))


def _noun(kind: type) -> str:
    return "a whole number" if kind is int else "a finite number"
