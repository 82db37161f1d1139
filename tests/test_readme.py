"""What the README says can be done, can be done."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    spaces: list[dict] = [{}, {}]
    for block, space in zip(blocks, spaces, strict=True):
        assert len([line for line in block.splitlines() if line.strip()]) <= 20
        exec(compile(block, "README.md", "exec"), space)
    right = {name: x.mean() for name, x in spaces[0]["right"].items()}
    assert right["searched"] > 0.95 > right["random"]
    assert spaces[1]["nats"].mean() < 8 * 0.6931 / 2, "a model of bytes must be far below uniform"
    assert "The for statement" in capsys.readouterr().out


def test_every_command_and_every_room_is_named():
    for module in (ROOT / "experiments").glob("*.py"):
        if "__main__" in module.read_text():
            assert f"python -m experiments.{module.stem}" in README
    for room in (ROOT / "wnn_jax").iterdir():
        if room.stem not in ("__init__", "__pycache__", "py"):
            assert f"`{room.name}{'/' * room.is_dir()}`" in README
