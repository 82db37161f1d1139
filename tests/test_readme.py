"""The examples of the README run."""

import pathlib
import re
import shutil
import subprocess

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
    listed = (ROOT / "docs" / "commands.md").read_text()
    for module in (ROOT / "experiments").glob("*.py"):
        if "__main__" in module.read_text():
            assert f"python -m experiments.{module.stem}" in listed
    rooms = (ROOT / "docs" / "architecture.md").read_text()
    for room in (ROOT / "wnn_jax").iterdir():
        if room.stem not in ("__init__", "__pycache__", "py"):
            assert f"`{room.stem}`" in rooms


def test_without_a_compiler_the_kernels_are_left_out_and_said_so(tmp_path):
    done = subprocess.run(
        [shutil.which("sh"), ROOT / "metal_ext" / "install.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "no C++ compiler: the native kernels are left out, everything runs on XLA\n"
