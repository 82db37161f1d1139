"""What the README says can be done, can be done."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 20
    space: dict = {}
    exec(compile(blocks[0], "README.md", "exec"), space)
    assert space["losses"].shape == (32,)
    assert float(space["losses"].min()) < 8 * 0.6931, "a model of bytes must beat uniform"
    assert str(space["losses"].min()) in capsys.readouterr().out


def test_every_command_and_every_room_is_named():
    for module in (ROOT / "experiments").glob("*.py"):
        if "__main__" in module.read_text():
            assert f"python -m experiments.{module.stem}" in README
    for room in (ROOT / "wnn_jax").iterdir():
        if room.stem not in ("__init__", "__pycache__", "py"):
            assert f"`{room.name}{'/' * room.is_dir()}`" in README
