"""Flags made from configs: the help lists all flags that are accepted, and flags make the right configs."""

import dataclasses
import importlib
import pathlib
import re
from typing import Literal

import pytest
from commands import call

from experiments.shared import commandline
from experiments.shared.commandline import Command, Group

NAMES = [
    path.stem
    for path in sorted((pathlib.Path(__file__).parents[1] / "experiments").glob("*.py"))
    if "COMMAND = Command(" in path.read_text()
]


@dataclasses.dataclass(frozen=True)
class Inner:
    """Inside.

    Attributes:
      depth: how deep it is.
    """

    depth: float = 0.5


@dataclasses.dataclass(frozen=True)
class Outer:
    """Outside.

    Attributes:
      size: how large it is.
      kinds: which kinds, over
        two lines.
      numbers: some numbers.
      name: a name, or none.
      loud: whether it is loud.
      inner: what is inside.
    """

    size: int
    kinds: tuple[Literal["a", "b"], ...] = ("a",)
    numbers: tuple[int, ...] = (1, 2)
    name: str | None = None
    loud: bool = True
    inner: Inner = Inner()


def parse(*flags, **how):
    return Command("made", "Made.", print, outer=Group(Outer, **how)).parse(flags)


def test_flags_make_configs():
    assert parse("--size=3").outer == Outer(3)
    flags = ("--size=3", "--kinds=a,b", "--numbers=4", "--numbers=5,6", "--name=x", "--noloud", "--depth=2")
    made = parse(*flags)
    assert made.outer == Outer(3, ("a", "b"), (5, 6), "x", False, Inner(2.0))
    assert parse(*flags, repeats=("numbers",)).outer.numbers == (4, 5, 6)
    assert parse("--seed=4").common == commandline.Common(4, "runs/made")
    assert commandline.plain(made, "outer")["outer"]["inner"] == {"depth": 2.0}


def test_fields_may_be_renamed_or_given():
    made = parse("--deep=1", names={"depth": "deep"}, given=("size",))
    assert made.outer(size=7) == Outer(7, inner=Inner(1.0))
    with pytest.raises(ValueError, match="Unknown command line flag 'size'"):
        parse("--size=1", given=("size",))


def test_flags_change_a_config_that_the_command_chooses():
    preset = Outer(5, ("b",), name="x", inner=Inner(3.0))
    assert parse(over="as in the preset").outer(preset) == preset
    change = parse("--noloud", "--depth=2", "--kinds=a", over="as in the preset").outer
    assert change(preset) == Outer(5, ("a",), name="x", loud=False, inner=Inner(2.0))
    assert change(Outer(6)) == Outer(6, loud=False, inner=Inner(2.0))
    shown = Command("made", "Made.", print, outer=Group(Outer, over="as in the preset")).help()
    assert "how large it is. [as in the preset]" in shown
    assert "whether it is loud. [as in the preset]" in shown


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--kinds=c", "--kinds has no 'c': choose from a, b"),
        ("--numbers=x", "--numbers takes ints between commas"),
        ("--size=x", "--size=x"),
        ("extra", "unexpected argument 'extra': give every option as --flag=value"),
    ],
)
def test_bad_flags_are_refused(flag, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(flag)


def test_a_flag_of_two_groups_sets_both_or_is_refused():
    both = Command("made", "", print, one=Group(Inner), two=Group(Inner)).parse(["--depth=3"])
    assert both.one == both.two == Inner(3.0)
    with pytest.raises(ValueError, match="different flags --depth"):
        Command("made", "", print, one=Group(Inner), two=Group(Inner(1.0)))


def test_a_field_without_a_word_of_help_is_refused():
    silent = dataclasses.make_dataclass("Silent", [("x", int, 1)], frozen=True)
    with pytest.raises(ValueError, match="says nothing about its field 'x'"):
        Command("made", "", print, one=Group(silent))


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_every_flag_that_is_accepted(name):
    command = importlib.import_module(f"experiments.{name}").COMMAND
    shown = call(name, "--help")
    assert shown.returncode == 0
    listed = set(re.findall(r"^  --(?:\[no\])?(\w+)", shown.stdout, re.M))
    assert listed == set(command.accepted())
    assert {"seed", "workdir"} <= listed
    for found in command.flags.values():
        for flag in found:
            assert len(flag.help) > 3
    assert max(map(len, shown.stdout.splitlines())) <= 120
    # Flags of absl itself, and flags that are not listed, are refused.
    for foreign in ("--verbosity=1", "--logtostderr", "--only_check_args"):
        refused = call(name, foreign)
        assert refused.returncode == 2
        assert "Unknown command line flag" in refused.stderr


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_want_of_memory_is_one_line(error, capsys, tmp_path):
    def main(options):
        raise error

    assert Command("toy", "about", main).run([f"--workdir={tmp_path}"]) == 2
    assert capsys.readouterr().err == "error: there is not enough memory: give a smaller text or model\n"
