"""Command lines: flags, their help and the recorded settings, all made from config dataclasses.

A command is a `Command` of groups. A group is a frozen dataclass, and its fields are flags:

    COMMAND = Command("chain", __doc__, main, text=Group(TextConfig), model=Group(ChainConfig))

    def main(options): corpus = text.load(options.text)

The default of a field is the default of its flag. The entry of the field under ``Attributes`` in the
docstring of the class is the help of the flag. The class refuses bad values when it is made. Two groups may
share a flag, which then sets the fields of both.
"""

import dataclasses
import functools
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags, logging

from experiments.shared import running
from wnn_jax import checks

_WIDTH = 110


@dataclasses.dataclass(frozen=True)
class Common:
    """Settings of every command.

    Attributes:
      seed: seed of all random choices.
      workdir: folder for ``results.jsonl`` and the pictures.

    Raises:
      ValueError: a value is out of range.
    """

    seed: int = 0
    workdir: str | None = None

    def __post_init__(self):
        checks.fields(self)


@dataclasses.dataclass(frozen=True)
class Group:
    """A config class whose fields are flags.

    Attributes:
      config: a frozen dataclass, or an instance of one, whose values are then the defaults. A field that is a
        dataclass itself is replaced by the fields of that dataclass.
      names: the names of flags that differ from the names of their fields, by field.
      given: fields without a flag, because they follow from the data. The option is then not the config but a
        function that makes the config from these fields.
      repeats: fields of many values whose flag may be given several times, and then takes the values of all.
        Of any other flag the last occurrence counts.
      over: words for the origin of the defaults, if the command chooses a config itself, such as a preset.
        The option is then a function that gets this config and returns it with the values of the given flags.
      words: the field of many values that takes the arguments without a flag; it has no flag of its own.
    """

    config: Any
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    given: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    over: str = ""
    words: str = ""


@dataclasses.dataclass(frozen=True)
class _Flag:
    """One flag: the field that it sets, and all that `absl.flags` must know of it."""

    name: str
    path: tuple[str, ...]  # the name of the field, or of a field of a field
    default: Any
    help: str
    kind: type  # the type of one value
    many: bool
    optional: bool
    choices: tuple[Any, ...]
    config: type  # the class of the field
    repeats: bool = False
    over: str = ""  # the origin of the default, where there is none

    @property
    def form(self) -> tuple[Any, ...]:
        """The properties in which the flags of two groups must agree to be one flag."""
        return self.default, self.kind, self.many, self.choices

    def define(self, values: flags.FlagValues) -> None:
        """Add the flag to the flags of a command."""
        if self.many:
            default = None if self.default is None else ",".join(map(str, self.default))
            flags.DEFINE_multi_string(self.name, default, self.help, flag_values=values)
        elif self.choices:
            flags.DEFINE_enum(self.name, self.default, list(self.choices), self.help, flag_values=values)
        else:
            define = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
            define.get(self.kind, flags.DEFINE_string)(self.name, self.default, self.help, flag_values=values)

    def parse(self, value: Any) -> Any:
        """Turn the value of the flag into the value of the field.

        Raises:
          ValueError: an entry of a list has the wrong type or is not one of the choices.
        """
        if not self.many or value is None:
            return value
        given = [x.strip() for part in (value if self.repeats else value[-1:]) for x in part.split(",")]
        try:
            entries = tuple(self.kind(x) for x in given if x)
        except ValueError as error:
            raise ValueError(f"--{self.name} takes {self.kind.__name__}s between commas: {error}") from error
        wrong = [x for x in entries if self.choices and x not in self.choices]
        if wrong:
            raise ValueError(
                f"--{self.name} has no {wrong[0]!r}: choose from {', '.join(map(str, self.choices))}"
            )
        return entries

    def usage(self) -> str:
        """Return the lines of the help about this flag."""
        if self.kind is bool and not self.many:
            head = f"--[no]{self.name}"
            value = "" if self.default is None else str(self.default).lower()
        else:
            head = f"--{self.name}"
            value = ",".join(map(str, self.default or ())) if self.many else self.default
        value = self.over or value
        default = "" if value in (None, "") else f" [{value}]"
        choices = f" ({', '.join(map(str, self.choices))})" if self.choices else ""
        body = textwrap.wrap(f"{self.help}{choices}{default}", _WIDTH - 26)
        if len(head) > 22:
            return "\n".join([f"  {head}", *(" " * 26 + line for line in body)])
        return "\n".join([f"  {head:<24}{body[0]}", *(" " * 26 + line for line in body[1:])])


class Command:
    """A command: its groups of flags and its ``main``.

    Args:
      name: the name of the module in ``experiments``.
      about: the docstring of the module.
      main: the function to call with the options: one attribute for each group, which is the config, or a
        function that makes it if the group has fields that are ``given``. ``main`` may return an exit code.
      groups: the groups, by the names of their attributes; the group ``common`` is there by default, and may
        be given with other defaults.
    """

    def __init__(self, name: str, about: str | None, main: Callable[[Any], int | None], /, **groups: Group):
        self.name, self._about, self._main = name, about or "", main
        common = Group(dataclasses.replace(Common(), workdir=f"runs/{name}"))
        self._groups = {**groups, "common": groups.get("common", common)}
        self.flags = {title: tuple(_flags(group)) for title, group in self._groups.items()}
        self._distinct: dict[str, _Flag] = {}
        for flag in (flag for found in self.flags.values() for flag in found):
            if self._distinct.setdefault(flag.name, flag).form != flag.form:
                raise ValueError(
                    f"two groups of experiments.{name} have different flags --{flag.name}: rename one"
                )

    def help(self) -> str:
        """Return the help: all flags, by group, with their defaults."""
        words = "".join(f" [{group.words.upper()} ...]" for group in self._groups.values() if group.words)
        usage = f"python -m experiments.{self.name}{words} [--flag=value ...]"
        lines = [usage, "", self._about.strip(), ""]
        for title, found in self.flags.items():
            source = None
            for flag in sorted(
                found, key=lambda flag: len(flag.path)
            ):  # nested configs after the group's own
                if flag.config != source:
                    source = flag.config
                    module = source.__module__.replace("__main__", f"experiments.{self.name}")
                    lines.append(f"{'.'.join((title, *flag.path[:-1]))} ({module}.{source.__qualname__})")
                lines.append(flag.usage())
            lines.append("")
        return "\n".join(lines).rstrip() + "\n"

    def _values(self) -> flags.FlagValues:
        values = flags.FlagValues()
        for flag in self._distinct.values():
            flag.define(values)
        return values

    def accepted(self) -> list[str]:
        """Return the names of all flags that `absl.flags` would accept."""
        return list(self._values())

    def parse(self, arguments: Sequence[str]) -> types.SimpleNamespace:
        """Make the options from the arguments.

        Raises:
          ValueError: a flag is unknown, or a value is refused.
        """
        values = self._values()
        try:
            rest = values([self.name, *arguments])
        except flags.Error as error:
            raise ValueError(str(error)) from error
        if len(rest) > 1 and not any(group.words for group in self._groups.values()):
            raise ValueError(f"unexpected argument {rest[1]!r}: give every option as --flag=value")
        parsed = {}
        for title, group in self._groups.items():
            chosen = {flag.path: flag.parse(values[flag.name].value) for flag in self.flags[title]}
            if group.words:
                chosen[group.words,] = tuple(rest[1:])
            make = functools.partial(_make_group, group, chosen)
            parsed[title] = make if group.given or group.over else make()
        return types.SimpleNamespace(**parsed)

    def run(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command. After a bad flag or input, it prints one line to stderr and ends.

        Args:
          arguments: the flags; None means the arguments of the process.

        Returns:
          The exit code: the one that ``main`` returned, or 0; 2 after a bad flag or input; 130 after an
          interrupt.
        """
        arguments = sys.argv[1:] if arguments is None else list(arguments)
        if {"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(arguments):
            print(self.help(), end="")
            return 0
        # jax and orbax log much at INFO and WARNING; the output of a command is its table.
        logging.set_verbosity(logging.ERROR)
        try:
            with running.command(self.name, arguments):
                return self._main(self.parse(arguments)) or 0
        except (ValueError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):  # JAX's words
                raise
            print("error: there is not enough memory: give a smaller text or model", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130


def plain(options: types.SimpleNamespace, *titles: str) -> dict[str, Any]:
    """Return groups of options as JSON data, by the names of their fields; rows and progress record it."""
    return {title: dataclasses.asdict(getattr(options, title)) for title in titles}


def documented(config: type) -> dict[str, str]:
    """Return the text about each field in the docstring of a config class, by the name of the field.

    Raises:
      ValueError: the docstring says nothing about a field.
    """
    text = inspect.cleandoc(config.__doc__ or "")
    section = re.search(r"^Attributes:\n(.*?)(?=^\w|\Z)", text, re.S | re.M)
    found: dict[str, str] = {}
    for entry in re.findall(r"^  (\w[\w, ]*): (.*?)(?=^  \w|\Z)", section[1] if section else "", re.S | re.M):
        for name in entry[0].split(", "):
            found[name] = " ".join(entry[1].split()).replace("``", "").replace("`", "")
    missing = [field.name for field in dataclasses.fields(config) if field.name not in found]
    if missing:
        raise ValueError(f"the docstring of {config.__name__} says nothing about its field {missing[0]!r}")
    return found


def _flags(group: Group):
    config = group.config if isinstance(group.config, type) else type(group.config)
    said, hints = documented(config), typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if field.name in group.given or field.name == group.words:
            continue
        default = _default(group.config, field)
        if dataclasses.is_dataclass(default):
            for inner in _flags(dataclasses.replace(group, config=default)):
                yield dataclasses.replace(inner, path=(field.name, *inner.path))
            continue
        name = group.names.get(field.name, field.name)
        repeats = field.name in group.repeats
        form = _form(hints[field.name])
        if group.over:
            default = None
        flag = _Flag(name, (field.name,), default, said[field.name], *form, config=config, repeats=repeats)
        yield dataclasses.replace(flag, over=group.over)


def _default(config: Any, field: dataclasses.Field) -> Any:
    if not isinstance(config, type):
        return getattr(config, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _form(hint: Any) -> tuple[type, bool, bool, tuple[Any, ...]]:
    """Return the type of one value, whether there are many, whether there may be none, and the choices."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (x for x in arguments if x is not type(None))
        kind, many, _, choices = _form(inner)
        return kind, many, True, choices
    if typing.get_origin(hint) is tuple:
        kind, _, optional, choices = _form(arguments[0])
        return kind, True, optional, choices
    if typing.get_origin(hint) is typing.Literal:
        return type(arguments[0]), False, False, arguments
    return hint, False, False, ()


def _make_group(group: Group, chosen: Mapping[tuple[str, ...], Any], config: Any = None, **given: Any) -> Any:
    """Make the config of a group, or change the given one if the group has no defaults of its own.

    Raises:
      ValueError: a value is refused; the message begins with the name of the flag where it has another name
        than the field.
    """
    try:
        if group.over:
            return _changed(config, {path: x for path, x in chosen.items() if x is not None})
        return _make(group.config, chosen, **given)
    except ValueError as error:
        field, separator, rest = str(error).partition("=")
        if separator and field in group.names:
            raise ValueError(f"{group.names[field]}={rest}") from error
        raise


def _changed(config: Any, chosen: Mapping[tuple[str, ...], Any]) -> Any:
    """Return a config with other values in the fields that flags chose."""
    values = {}
    for name in {path[0] for path in chosen}:
        inner = {path[1:]: x for path, x in chosen.items() if path[0] == name}
        values[name] = inner[()] if () in inner else _changed(getattr(config, name), inner)
    return dataclasses.replace(config, **values)


def _make(config: Any, chosen: Mapping[tuple[str, ...], Any], **given: Any) -> Any:
    """Make the config from the fields that flags chose and the fields that are given."""
    kind = config if isinstance(config, type) else type(config)
    values = dict(given)
    for field in dataclasses.fields(kind):
        inner = {path[1:]: x for path, x in chosen.items() if path[0] == field.name}
        if () in inner:
            values[field.name] = inner[()]
        elif inner:
            values[field.name] = _make(_default(config, field), inner)
    return kind(**values)
