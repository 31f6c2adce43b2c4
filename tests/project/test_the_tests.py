"""What every test of this suite has to be: something that can fail."""

import ast
import pathlib
import textwrap

import pytest

TESTS = sorted(pathlib.Path(__file__).parents[1].rglob("*.py"))
# Calls that fail by themselves: what torch checks operators with, and context managers of pytest.
FAILS = {"raises", "warns", "fail", "opcheck", "assert_allclose", "assert_array_equal"}


def programs(tree):
    """The module, and the programs in its strings that tests run in other processes."""
    yield tree
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and "assert " in text:
            try:
                yield ast.parse(textwrap.dedent(text))
            except SyntaxError:
                continue


def called(node):
    """The name of what a call calls, without its module or object."""
    return ast.unparse(node.func).rsplit(".", 1)[-1]


def can_fail(function):
    """Whether a function asserts, itself or in a program that it has as a string."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        if isinstance(node, ast.Call) and called(node) in FAILS:
            return True
        if isinstance(node, ast.Constant) and "assert " in str(node.value):
            return True
    return False


def idle_tests(tree, helpers):
    """Names of tests that neither assert nor call one of the helpers that do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            calls = {called(n) for n in ast.walk(node) if isinstance(n, ast.Call)}
            if not can_fail(node) and not calls & helpers:
                yield node.name


def swapped_messages(tree):
    """Lines of `assert a, b == c`, where `assert (a, b) == c` was meant."""
    for program in programs(tree):
        for node in ast.walk(program):
            if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Compare | ast.BoolOp):
                yield ast.unparse(node)


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in TESTS}


def test_messages_of_assertions_are_no_comparisons(trees):
    for path, tree in trees.items():
        assert not list(swapped_messages(tree)), path
    planted = ", ".join(["assert layer.a", "layer.b == (256, 64)"])
    assert list(swapped_messages(ast.parse(planted))) == [planted]
    assert list(swapped_messages(ast.parse(f'run("""{planted}""")'))) == [planted]


def test_every_test_can_fail(trees):
    # Helpers by name alone: some are imported from beside.
    helpers = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and can_fail(node)
    }
    for path, tree in trees.items():
        assert not list(idle_tests(tree, helpers)), path
    planted = ast.parse("def test_a(): f(1) == 1\ndef test_b(): g(1)\ndef test_c(): assert f(1)")
    assert list(idle_tests(planted, {"g"})) == ["test_a"]
