"""Tests as people write them → units that can be run, weighed and reordered one by one.

Read: plain asserts, `test_…` functions (pytest style), `unittest` classes, HumanEval's
`check(candidate)`, argument lists with an expected value, and stdin/stdout cases. Tests that build
on each other (a variable that is set twice, an object that is made by a call) stay in their order.
Nothing is run here.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifiers.base import BadCheck

MAX_UNITS = 500
MAX_CODE_CHARS = 200_000
SOLUTION_MODULES = (
    *("solution", "main", "candidate", "submission", "answer", "code", "program", "script"),
    *("module", "my_module", "your_module", "mymodule", "impl", "implementation"),
)
"""Modules that stand for the program under test when tests import them."""
_PROVIDED = ("pytest",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One test."""

    name: str
    run: Mapping[str, Any]
    """What the test process is told (verifiers/sandbox/test_side.py)."""
    weight: float = 1.0
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """All tests of a task."""

    units: tuple[Unit, ...]
    setup: str
    entries: tuple[str, ...]
    modules: tuple[str, ...]
    ordered: bool
    """Whether the tests build on each other."""
    borrowed: tuple[str, ...]
    """Names that the tests take from the program although nobody said that they are under test."""


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    entries: tuple[str, ...]
    units: list[Unit] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    """Names that the tests import from the program."""
    ordered: bool = False
    star: bool = False


def read_suite(
    *, tests: Any, hidden: Any, setup: str, entries: Sequence[str], probes: Sequence[str] = ()
) -> Suite:
    """The suite. Raises `BadCheck` naming the test that cannot be used."""
    reading = _Reading(tuple(entries))
    if setup:
        tree = _parse(setup, "setup")
        _note_names(tree, reading, "setup")
        reading.setup.append(setup)
    for option, items in (("tests", tests), ("hidden_tests", hidden)):
        _read_items(option, items, reading)
    for index, probe in enumerate(probes):
        _note_names(_parse(probe, f"probes[{index}]", mode="eval"), reading, f"probes[{index}]")
    if not reading.units and not probes:
        raise BadCheck("there is no test in it", param="tests")
    if len(reading.units) > MAX_UNITS:
        raise BadCheck(f"more than {MAX_UNITS} tests", param="tests")
    known = reading.bound | set(dir(builtins)) | {"__name__", "__file__"}
    free = set() if reading.star else reading.free - known
    borrowed = tuple(sorted(free - set(entries))) if entries else ()
    named = tuple(entries) or tuple(sorted(free | reading.imported))
    return Suite(
        units=tuple(reading.units),
        setup="\n".join(reading.setup),
        entries=(*named, *borrowed),
        modules=tuple(sorted(reading.modules)),
        ordered=reading.ordered,
        borrowed=borrowed,
    )


def _read_items(option: str, items: Any, reading: _Reading) -> None:
    if items is None:
        return
    if isinstance(items, str | Mapping):
        items = [items]
    if not isinstance(items, list | tuple):
        raise BadCheck("tests are a text, or a list of texts and cases", param=option)
    for index, item in enumerate(items):
        path = f"{option}[{index}]"
        case = {"code": item} if isinstance(item, str) else item
        if not isinstance(case, Mapping):
            raise BadCheck("a test is a text or an object", param=path)
        label = case.get("name", str(index + 1))
        if not isinstance(label, str):
            raise BadCheck("a name is a text", param=f"{path}.name")
        weight = _weight(case.get("weight", 1.0), f"{path}.weight")
        made = _Made(path, label, weight, option == "hidden_tests", reading)
        made.read({key: case[key] for key in case if key not in ("name", "weight")})


def _weight(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6:
        raise BadCheck(f"a weight is a number over 0, got {value!r:.40}", param=path)
    return float(value)


@dataclass(frozen=True, slots=True)
class _Made:
    """One item of a list of tests, and where its units go."""

    path: str
    label: str
    weight: float
    hidden: bool
    reading: _Reading

    def read(self, case: Mapping[str, Any]) -> None:
        if case.keys() == {"code"}:
            self.read_code(_text(case["code"], f"{self.path}.code"))
        elif "stdin" in case or "stdout" in case:
            self.read_stdio(case)
        elif "expected" in case:
            self.read_values(case)
        else:
            raise BadCheck("a test has `code`, `stdout` or `expected`", param=self.path)

    def add(self, title: str, /, **run: Any) -> None:
        self.reading.units.append(
            Unit(name=title[:80], run=run, weight=self.weight, hidden=self.hidden)
        )

    def read_stdio(self, case: Mapping[str, Any]) -> None:
        _only(case, {"stdin", "stdout"}, self.path)
        typed = _text(case.get("stdin", ""), f"{self.path}.stdin")
        wanted = _text(case.get("stdout"), f"{self.path}.stdout")
        self.add(f"case {self.label}", kind="stdio", stdin=typed, stdout=wanted)

    def read_values(self, case: Mapping[str, Any]) -> None:
        _only(case, {"args", "kwargs", "expected"}, self.path)
        positional, named = case.get("args", []), case.get("kwargs", {})
        if not isinstance(positional, list | tuple) or not isinstance(named, Mapping):
            raise BadCheck("args is a list and kwargs an object", param=self.path)
        if len(self.reading.entries) != 1:
            raise BadCheck("cases with args need one entry point", param="entry_point")
        call = f"{self.reading.entries[0]}(*{list(positional)!r}, **{dict(named)!r})"
        self.add(f"case {self.label}", kind="code", code=f"assert {call} == {case['expected']!r}")

    def read_code(self, code: str) -> None:
        tree = _parse(code, self.path)
        _note_names(tree, self.reading, self.path)
        before = len(self.reading.units)
        parts = [part for part in tree.body if not _is_noise(part)]
        ordered = _build_on_each_other(parts)
        self.reading.ordered = self.reading.ordered or ordered
        waiting: list[ast.stmt] = []
        functions = {p.name for p in parts if isinstance(p, ast.FunctionDef)}
        called = {name for name in functions if _is_test_name(name)}
        if len(self.reading.entries) == 1:
            called |= _CHECK  # it is handed the entry point
        started = False
        for part in parts:
            if _calls_one_of(part, called):
                continue
            if _is_unit(part):
                started = True
                text = "\n".join(ast.unparse(each) for each in (*waiting, part))
                waiting = []
                self.add(f"{_label(part)} {self.label}.{part.lineno}", kind="code", code=text)
            elif ordered and started:
                waiting.append(part)
            else:
                self.reading.setup.append(ast.unparse(part))
                self.add_named(part)
        self.reading.setup += [ast.unparse(each) for each in waiting]
        if len(self.reading.units) == before:
            self.add_check(parts)

    def add_named(self, part: ast.stmt) -> None:
        """The tests that a definition brings: a function, or the methods of a class."""
        if isinstance(part, ast.FunctionDef) and _is_test_name(part.name):
            self.add(part.name, kind="function", name=part.name)
        if isinstance(part, ast.ClassDef) and _is_test_class(part):
            for method in part.body:
                if isinstance(method, ast.FunctionDef) and method.name.startswith("test"):
                    name = f"{part.name}.{method.name}"
                    self.add(name, kind="method", name=method.name, **{"class": part.name})

    def add_check(self, parts: Sequence[ast.stmt]) -> None:
        """HumanEval's form: one function that is handed what is to be tested."""
        for part in parts:
            if isinstance(part, ast.FunctionDef) and part.name in _CHECK:
                if len(self.reading.entries) != 1 or len(part.args.args) != 1:
                    raise BadCheck("`check(candidate)` needs one entry point", param="entry_point")
                self.add("check", kind="check", name=part.name)


_CHECK = {"check"}


def _only(case: Mapping[str, Any], known: set[str], path: str) -> None:
    for key in case:
        if key not in known:
            raise BadCheck(f"'{key}' does not belong here", param=f"{path}.{key}")


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_CODE_CHARS:
        raise BadCheck(f"must be a text of at most {MAX_CODE_CHARS} characters", param=path)
    return value


def _parse(code: str, path: str, mode: str = "exec") -> Any:
    try:
        return ast.parse(_text(code, path), mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as broken:
        raise BadCheck(f"this is no Python: {str(broken)[:120]}", param=path) from None


def _is_test_name(name: str) -> bool:
    return name.startswith("test")


def _is_test_class(part: ast.ClassDef) -> bool:
    bases = [ast.unparse(base) for base in part.bases]
    return part.name.startswith("Test") or any(base.endswith("TestCase") for base in bases)


def _is_noise(part: ast.stmt) -> bool:
    """Docstrings, `if __name__ == "__main__":` and starts of a test runner."""
    if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
        return True
    if isinstance(part, ast.If) and "__name__" in ast.unparse(part.test):
        return True
    called = ast.unparse(part.value.func) if _is_call(part) else ""  # type: ignore[attr-defined]
    return called in ("unittest.main", "pytest.main")


def _is_call(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)


def _calls_one_of(part: ast.stmt, names: set[str]) -> bool:
    return _is_call(part) and ast.unparse(part.value.func) in names  # type: ignore[attr-defined]


def _is_unit(part: ast.stmt) -> bool:
    """A statement that can fail on its own account."""
    if isinstance(part, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return False
    fails = (ast.Assert, ast.Raise)
    return _is_call(part) or any(isinstance(node, fails) for node in ast.walk(part))


def _label(part: ast.stmt) -> str:
    return "assert" if isinstance(part, ast.Assert) else "step"


def _build_on_each_other(parts: Sequence[ast.stmt]) -> bool:
    """True when the order of the tests may matter."""
    seen: set[str] = set()
    for part in parts:
        if isinstance(part, ast.Assert | ast.Import | ast.ImportFrom):
            continue
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            names = {part.name}
        elif isinstance(part, ast.Assign | ast.AnnAssign):
            names = _stored(part)
            if any(isinstance(node, ast.Call) for node in ast.walk(part)):
                return True
        elif _is_unit(part) and not (_is_call(part) and "." in ast.unparse(part).split("(")[0]):
            names = _stored(part)
        else:
            return True  # a loop, a deletion, a method that may change its object
        if names & seen:
            return True
        seen |= names
    return False


def _stores(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _stored(part: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(part) if isinstance(node, ast.Name) and _stores(node)}


def _note_names(tree: ast.AST, reading: _Reading, path: str) -> None:
    """Which names the tests bind, which they only use, and what they import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (reading.bound if not isinstance(node.ctx, ast.Load) else reading.free).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            reading.bound.add(node.name)
        elif isinstance(node, ast.arg):
            reading.bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            reading.bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(node, reading, path)


def _note_import(node: ast.Import | ast.ImportFrom, reading: _Reading, path: str) -> None:
    names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    wanted = [node.module or ""] if isinstance(node, ast.ImportFrom) else _plain_names(node.names)
    reading.bound.update(names)
    for module in wanted:
        root = module.split(".")[0]
        if root in sys.stdlib_module_names or root in _PROVIDED or root == "__future__":
            reading.star = reading.star or "*" in names
            continue
        ours = isinstance(node, ast.ImportFrom) and set(names) & {*reading.entries, "*"}
        if "." in module or not (root in SOLUTION_MODULES or ours):
            raise BadCheck(f"the tests import '{module}', which is not in the sandbox", param=path)
        reading.modules.add(module)
        if isinstance(node, ast.ImportFrom):
            reading.imported.update(alias.name for alias in node.names if alias.name != "*")


def _plain_names(names: Iterable[ast.alias]) -> list[str]:
    return [alias.name for alias in names]
