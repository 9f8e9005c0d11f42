"""The candidate's process: load its code, do what the test process asks, answer in plain values.

Everything in this process may be changed by the candidate, this module included. That is why it is
told arguments and never an expected value, and why its answers are only ever values: whoever
forges an answer here has merely chosen what his function returns.
"""

from __future__ import annotations

import _operator as operator
import io
import sys
import types

from verifiers.sandbox.pipes import Closed, receive_value, send
from verifiers.sandbox.values import Handle, NotPlain, dumps

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MODULE = "solution"
MAX_OUTPUT_CHARS = 2**20


def serve(inbox: int, outbox: int) -> None:
    """Answer requests `[token, verb, …]` with `[token, outcome, …]` until the other side goes."""
    side = _Side()
    send(outbox, dumps("ready"))
    while True:
        try:
            token, verb, *rest = receive_value(inbox)
            send(outbox, side.answer(token, verb, rest))
        except Closed:
            return


class _Side:
    def __init__(self) -> None:
        self.module = types.ModuleType(MODULE)
        self.kept: list[Any] = []
        self.verbs: dict[str, Callable[..., Any]] = {
            "load": self.load,
            "find": self.find,
            "call": self.call,
            "attribute": self.attribute,
            "operate": self.operate,
            "next": self.next,
            "script": self.script,
            "alive": lambda: ["value", True],
        }

    def answer(self, token: Any, verb: str, rest: list[Any]) -> bytes:
        try:
            told = self.verbs[verb](*[self.unpack(part) for part in rest])
            return dumps([token, *told], keep=self.keep)
        except NotPlain as refused:
            return dumps([token, "unfit", str(refused)])
        except BaseException as raised:  # also SystemExit: it is no way out of a call
            return dumps([token, "raise", _ancestry(raised), _message(raised)])

    def keep(self, value: Any) -> Handle:
        self.kept.append(value)
        return Handle(len(self.kept) - 1, type(value).__name__[:60])

    def unpack(self, part: Any) -> Any:
        """Arguments with handles turned back into the objects they stand for."""
        if type(part) is Handle:
            return self.kept[part.number]
        if type(part) in (list, tuple):
            return type(part)(self.unpack(each) for each in part)
        if type(part) is dict:
            return {key: self.unpack(each) for key, each in part.items()}
        return part

    def load(self, source: str) -> Any:
        sys.modules[MODULE] = self.module
        exec(compile(source, "<answer>", "exec"), self.module.__dict__)
        return ["value", True]

    def find(self, name: str) -> Any:
        if name not in self.module.__dict__:
            return ["missing"]
        found = self.module.__dict__[name]
        return ["value", self.keep(found) if callable(found) else found]

    def call(self, target: Any, positional: list[Any], named: dict[str, Any]) -> Any:
        return ["value", target(*positional, **named)]

    def attribute(self, target: Any, name: str) -> Any:
        found = getattr(target, name)
        return ["value", self.keep(found) if callable(found) else found]

    def operate(self, name: str, target: Any, arguments: list[Any]) -> Any:
        return ["value", _OPERATIONS[name](target, *arguments)]

    def next(self, target: Any) -> Any:
        try:
            return ["value", next(target)]
        except StopIteration:
            return ["end"]

    def script(self, source: str, typed: str) -> Any:
        """Run as a program on its own: what it read is `typed`, what it wrote is the answer."""
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        output = _Capped()
        before = sys.stdin, sys.stdout
        sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
        writer = io.TextIOWrapper(output, encoding="utf-8", write_through=True)
        sys.stdout = writer
        try:
            exec(compile(source, "<answer>", "exec"), module.__dict__)
        except SystemExit:
            pass  # how a program ends; its exit code says nothing
        finally:
            sys.stdin, sys.stdout = before
        written = output.getvalue().decode("utf-8", "replace")
        writer.detach()
        return ["value", [written, [] if written.strip() else _named(module)]]


class _Capped(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MAX_OUTPUT_CHARS:
            raise NotPlain("too much output")
        return super().write(data)


def _named(module: types.ModuleType) -> Any:
    """The result of a program that prints none: of `solution()`, or under a usual name."""
    if callable(module.__dict__.get("solution")):
        return [module.__dict__["solution"]()]
    return [module.__dict__[name] for name in ("answer", "result") if name in module.__dict__]


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "truth": operator.truth,
    "str": str,
    "repr": repr,
    "iter": iter,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "setattr": setattr,
    "contains": operator.contains,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "neg": operator.neg,
    "abs": abs,
}


def _ancestry(raised: BaseException) -> list[str]:
    """Names of the exception's classes, the nearest first."""
    return [each.__name__ for each in type.mro(type(raised))][:20]


def _message(raised: BaseException) -> str:
    try:
        return str.__str__(str(raised))[:500]
    except BaseException:
        return ""
