"""Docstrings: every public name has one, the errors it raises stand in it, and the sources it names exist."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted((ROOT / "wnn_jax").rglob("*.py"))
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def public(tree):
    """The public functions, classes and methods of a module, with their names."""
    for node in tree.body:
        if isinstance(node, FUNCTIONS) and any(ast.unparse(x) == "overload" for x in node.decorator_list):
            continue  # the function that follows the overloads has the docstring
        if isinstance(node, FUNCTIONS | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, FUNCTIONS) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


def raised(node):
    """Whether a function raises a ValueError itself, outside of functions in it."""
    inside = [node]
    while inside:
        for child in ast.iter_child_nodes(inside.pop()):
            if isinstance(child, ast.Raise) and child.exc and "ValueError" in ast.unparse(child.exc):
                return True
            if not isinstance(child, FUNCTIONS | ast.ClassDef | ast.Lambda):
                inside.append(child)
    return False


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_public_name_has_a_docstring_with_its_errors(path):
    tree, lacking = parsed(path), []
    if path.stat().st_size and not ast.get_docstring(tree):
        lacking.append("the module has no docstring")
    for name, node in public(tree):
        text = ast.get_docstring(node) or ""
        if not text:
            lacking.append(f"{name} has no docstring")
        elif isinstance(node, FUNCTIONS) and raised(node) and "Raises:" not in text:
            lacking.append(f"{name} raises a ValueError that its docstring does not name")
        elif text.startswith("What "):
            lacking.append(f"the docstring of {name} opens with What")
    assert not lacking


def test_sources_that_docstrings_and_comments_name_exist():
    missing, named = [], 0
    code = [x for room in ("wnn_jax", "experiments", "metal_ext", "tests") for x in (ROOT / room).rglob("*")]
    for path in code:
        if path.suffix in (".py", ".h", ".cc", ".mm", ".metal") and path != pathlib.Path(__file__):
            text = path.read_text(encoding="utf-8")
            for page in re.findall(r"\bdocs/[\w/]+\.\w+", text):
                named += 1
                if not (ROOT / page).exists():
                    missing.append(f"{path.relative_to(ROOT)} names {page}")
            if re.search(r"\bspec(ification)? \w+_lm|shared/spec|so many\b", text):
                missing.append(f"{path.relative_to(ROOT)} cites what is not here, or counts in so many")
    assert not missing
    assert named > 20


def test_every_module_is_in_the_reference():
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", pages, re.M))
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    assert listed == {name.removesuffix(".__init__") for name in modules}
