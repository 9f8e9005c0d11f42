"""The test process: runs the tests, and asks the candidate's process for every value.

The names under test are proxies; what comes back is a plain value of a built-in type, an exception
of a built-in class, or a handle that can be asked but not compared. A second run, in another order
and with a fresh candidate process, must agree. Tests come from a client, so this process is locked
down as well; its report is data for the parent, and it hears from the candidate through `values`.
"""

from __future__ import annotations

import builtins
import os
import sys
import time
import types

from verifiers.sandbox import pytest_side
from verifiers.sandbox.pipes import Closed, TooSlow, receive_value, send
from verifiers.sandbox.values import Handle, NotPlain, dumps

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

MAX_TEXT = 200
MAX_DETAILS = 40
MAX_TRACE = 2**20


class Gone(BaseException):
    """The candidate's process died, was too slow or spoke nonsense; no `except Exception`."""


class Refused(BaseException):
    """The test compared something that is no plain value, or passed something that cannot cross."""


class CandidateError(Exception):
    """The candidate raised something that has no built-in exception class."""


def run_tests(
    job: dict[str, Any], links: list[tuple[int, int]], announce: Callable[[str], None]
) -> dict[str, Any]:
    """Run every unit in every order, each run with its own candidate process."""
    runs: list[dict[str, Any]] = []
    for order, (inbox, outbox) in zip(job["orders"], links, strict=True):
        if runs:
            if not runs[-1]["clean"]:
                break
            announce("again")
        runs.append(_Run(job, _Link(inbox, outbox, job["limit_s"])).run(order))
    return {"runs": runs}


class _Link:
    """One candidate process, as seen from here."""

    def __init__(self, inbox: int, outbox: int, limit_s: float) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.left_s = limit_s
        self.fault = ""
        self.unfit = ""
        """What a test passed that cannot cross: the tests are at fault then."""
        self.calls = 0
        self.last = ""
        self.seen: list[bytes] = []
        """Every call and what came of it, for the behaviour key."""

    def wait_ready(self) -> bool:
        try:
            return bool(receive_value(self.inbox) == "ready")
        except Closed:
            return False

    def ask(self, verb: str, *parts: Any) -> list[Any]:
        """What the candidate's process says, without its token. Raises `Gone` when it cannot."""
        if self.fault:
            raise Gone(self.fault)
        token = os.urandom(8).hex()
        try:
            request = dumps([token, verb, *parts], keep=_handle_of)
        except NotPlain as refused:
            self.unfit = self.unfit or str(refused)
            raise Refused(str(refused)) from None
        started = time.monotonic()
        try:
            send(self.outbox, request)
            reply = receive_value(self.inbox, started + self.left_s)
        except TooSlow:
            self.fault = "time_limit"
        except Closed:
            self.fault = "died"
        else:
            if type(reply) is not list or len(reply) < 2 or reply[0] != token:
                self.fault = "bad_reply"
        self.left_s -= time.monotonic() - started
        if self.fault:
            raise Gone(self.fault)
        self.calls += 1
        told: list[Any] = reply[1:]
        return told

    def value(self, verb: str, *parts: Any) -> Any:
        """The value that an operation has, or the exception that it raises."""
        outcome = self.ask(verb, *parts)
        if outcome[0] == "value" and len(outcome) == 2:
            return self.wrap(outcome[1])
        if outcome[0] == "raise" and len(outcome) == 3:
            raise _exception(outcome[1], outcome[2])
        if outcome[0] == "end":
            raise StopIteration
        raise CandidateError(str(outcome[-1])[:MAX_TEXT])

    def call(self, name: str, handle: Handle, positional: Any, named: Any) -> Any:
        try:
            result = self.value("call", handle, list(positional), named)
        except (Exception, Gone) as raised:
            self._remember(name, positional, named, type(raised).__name__)
            raise
        self._remember(name, positional, named, result)
        return result

    def wrap(self, value: Any) -> Any:
        """Handles become proxies, also inside containers."""
        if type(value) is Handle:
            return Remote(self, value, value.kind)
        if type(value) in (list, tuple):
            return type(value)(self.wrap(each) for each in value)
        if type(value) is dict:
            return {key: self.wrap(each) for key, each in value.items()}
        return value

    def _remember(self, name: str, positional: Any, named: Any, result: Any) -> None:
        try:
            seen = dumps([name, list(positional), named, result], sort=True, keep=_handle_of)
        except NotPlain:
            seen = b"?"
        self.seen.append(seen)
        shown = [f"{each!r:.60}" for each in positional]
        shown += [f"{key}={each!r:.60}" for key, each in named.items()]
        self.last = f"{name}({', '.join(shown)}) → {result!r:.80}"


def _handle_of(value: Any) -> Handle:
    if type(value) is Remote:
        handle: Handle = object.__getattribute__(value, "_handle")
        return handle
    raise NotPlain(f"{type(value).__name__:.60} is no plain value")


class Remote:
    """Something of the candidate that is no plain value: it can be called and asked.

    Comparing it raises: the candidate's own `__eq__` would decide. Whether it is true may be asked,
    since whoever can make it true could as well have returned True.
    """

    __slots__ = ("_handle", "_link", "_name")

    def __init__(self, link: _Link, handle: Handle, name: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_handle", handle)
        object.__setattr__(self, "_name", name)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return _link(self).call(_name(self), _handle_of(self), positional, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = _link(self).value("attribute", _handle_of(self), name)
        if type(found) is Remote:
            object.__setattr__(found, "_name", f"{_name(self)}.{name}")
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        self._operate("setattr", name, value)

    def __iter__(self) -> Iterator[Any]:
        return _Items(_link(self), self._operate("iter"))

    def __next__(self) -> Any:
        return _link(self).value("next", _handle_of(self))

    def __len__(self) -> int:
        return int(_as(int, self._operate("len")))

    def __bool__(self) -> bool:
        return bool(_as(bool, self._operate("truth")))

    def __str__(self) -> str:
        return str(_as(str, self._operate("str")))

    def __repr__(self) -> str:
        return f"<{_name(self)}>"

    def __contains__(self, item: Any) -> bool:
        return bool(_as(bool, self._operate("contains", item)))

    def _operate(self, name: str, *arguments: Any) -> Any:
        return _link(self).value("operate", name, _handle_of(self), list(arguments))

    def _refuse(self, *_: Any) -> Any:
        raise Refused(f"{_name(self)} is no plain value")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = _refuse


def _forward(operation: str) -> Callable[..., Any]:
    def forward(self: Remote, *arguments: Any) -> Any:
        return self._operate(operation, *arguments)

    return forward


for _operation in [
    "getitem",
    "setitem",
    "delitem",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "neg",
    "abs",
]:
    setattr(Remote, f"__{_operation}__", _forward(_operation))


class _Items:
    """An iterator of the candidate, asked item by item: it may have no end."""

    def __init__(self, link: _Link, items: Any) -> None:
        self.link = link
        self.local = iter(items) if type(items) is not Remote else None
        self.remote = items

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> Any:
        if self.local is not None:
            return next(self.local)
        return self.link.value("next", _handle_of(self.remote))


def _link(remote: Remote) -> _Link:
    link: _Link = object.__getattribute__(remote, "_link")
    return link


def _name(remote: Remote) -> str:
    name: str = object.__getattribute__(remote, "_name")
    return name


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise CandidateError(f"not {kind.__name__}")
    return value


def _exception(ancestry: Any, message: Any) -> Exception:
    """A built-in exception of the nearest class that the candidate's has.

    `StopIteration` is not passed on: it would silently end a loop of the test.
    """
    for name in ancestry if type(ancestry) is list else ():
        kind = getattr(builtins, name, None) if type(name) is str else None
        ends_loops = (StopIteration, StopAsyncIteration)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind not in ends_loops:
            try:
                return kind(str(message))
            except TypeError:
                continue  # this class wants more than a message
    return CandidateError(str(ancestry)[:MAX_TEXT])


class _Run:
    """All units once, against one candidate process."""

    def __init__(self, job: dict[str, Any], link: _Link) -> None:
        self.job = job
        self.link = link
        self.names: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
        self.details: dict[str, str] = {}
        self.broken = ""
        """What is wrong with the tests themselves."""
        self.loaded = "value"

    def run(self, order: list[int]) -> dict[str, Any]:
        results = [False] * len(self.job["units"])
        observed: list[str] = []
        if not self.link.wait_ready():
            return self.report("no_sandbox", results, observed)
        try:
            self.prepare()
            if not self.broken and self.loaded == "value":
                for index in order:
                    results[index] = self.unit(index)
                observed = [self.observe(probe) for probe in self.job["probes"]]
                self.link.ask("alive")
        except (Gone, Refused):
            pass  # the link knows why
        return self.report(self.link.fault, results, observed)

    def report(self, fault: str, results: list[bool], observed: list[str]) -> dict[str, Any]:
        broken = self.broken or (self.link.unfit and f"an argument: {self.link.unfit}")
        return {
            "fault": fault,
            "loaded": self.loaded,
            "broken": broken,
            "results": results,
            "details": self.details,
            "observed": observed,
            "trace": _trace(self.link.seen),
            "calls": self.link.calls,
            "clean": not fault and not broken and self.loaded == "value" and all(results),
        }

    def prepare(self) -> None:
        """Load the candidate, bind the names under test, run what stands before the tests."""
        if self.job["load"]:
            outcome = self.link.ask("load", self.job["source"])
            if outcome[0] != "value":
                self.loaded = str((outcome[1:2] or ["?"])[0])[:MAX_TEXT]
                if type(outcome[1]) is list and outcome[1]:
                    self.loaded = f"{outcome[1][0]!s:.60}: {outcome[2]!s:.120}"
                return
        pytest_side.install(sys.modules)
        for module in self.job["modules"]:
            sys.modules[module] = _Solution(module, self.find, self.job["entries"])
        under_test = {name: self.find(name) for name in self.job["entries"]}
        self.names.update(under_test)
        missing = [name for name, found in under_test.items() if type(found) is _Missing]
        if missing:
            self.loaded = f"no '{missing[0]}'"
            return
        before = self.link.calls
        try:
            exec(compile(self.job["setup"], "<tests>", "exec"), self.names)
        except (Gone, Refused):
            raise
        except BaseException as raised:
            if self.link.calls == before:
                self.broken = _told(raised)
            else:
                self.loaded = _told(raised)
        self.names.update(under_test)  # whatever the set-up calls by these names

    def find(self, name: str) -> Any:
        """The candidate's thing of this name; a missing one complains when it is used."""
        outcome = self.link.ask("find", name)
        if outcome[0] != "value":
            return _Missing(name)
        found = self.link.wrap(outcome[1])
        if type(found) is Remote:
            object.__setattr__(found, "_name", name)
        return found

    def unit(self, index: int) -> bool:
        unit = self.job["units"][index]
        self.link.last = ""
        try:
            passed, why = _KINDS[unit["kind"]](self, unit)
        except BaseException as raised:
            passed, why = False, _told(raised)
        if self.link.fault:
            passed, why = False, self.link.fault
        if not passed and len(self.details) < MAX_DETAILS:
            said = f"{why}; {self.link.last}" if self.link.last else why
            self.details[str(index)] = said[:MAX_TEXT]
        return passed

    def code(self, unit: dict[str, Any]) -> tuple[bool, str]:
        exec(compile(unit["code"], "<test>", "exec"), self.names)
        return True, ""

    def function(self, unit: dict[str, Any]) -> tuple[bool, str]:
        pytest_side.call(self.names[unit["name"]], self.names)
        return True, ""

    def check(self, unit: dict[str, Any]) -> tuple[bool, str]:
        self.names[unit["name"]](self.names[self.job["entries"][0]])
        return True, ""

    def method(self, unit: dict[str, Any]) -> tuple[bool, str]:
        owner = self.names[unit["class"]]
        unittest = sys.modules.get("unittest")
        if unittest is None or not issubclass(owner, unittest.TestCase):
            pytest_side.call_method(owner, unit["name"], self.names)
            return True, ""
        result = unittest.TestResult()
        unittest.TestSuite([owner(unit["name"])]).run(result)
        odd = [*result.skipped, *result.expectedFailures, *result.unexpectedSuccesses]
        if result.wasSuccessful() and result.testsRun == 1 and not odd:
            return True, ""
        told = [str(text).strip().rpartition("\n")[2] for _, text in result.failures]
        told += [str(text).strip().rpartition("\n")[2] for _, text in result.errors]
        return False, (told or ["skipped"])[0]

    def stdio(self, unit: dict[str, Any]) -> tuple[bool, str]:
        outcome = self.link.ask("script", self.job["source"], unit["stdin"])
        if outcome[0] != "value":
            return False, str(outcome[1:])[:MAX_TEXT]
        written = outcome[1][0] if type(outcome[1]) is list and outcome[1] else None
        self.link.seen.append(dumps([unit["stdin"], written], keep=_handle_of))
        if type(written) is not str:
            return False, "no output"
        return _lines(written) == _lines(unit["stdout"]), f"wrote {written!r:.80}"

    def observe(self, probe: str) -> str:
        """What a probe expression gives, as text; `` stands for the whole program."""
        try:
            if probe:
                return f"{eval(probe, self.names)!r:.200}"
            written, named = self.link.value("script", self.job["source"], "")
            return _last_line(written) or (str(named[0])[:MAX_TEXT] if named else "")
        except (Gone, Refused):
            raise
        except Exception as raised:
            return f"! {_told(raised)}"


_KINDS: dict[str, Callable[[_Run, dict[str, Any]], tuple[bool, str]]] = {
    "code": _Run.code,
    "function": _Run.function,
    "check": _Run.check,
    "method": _Run.method,
    "stdio": _Run.stdio,
}


class _Missing:
    """A name under test that the candidate does not define."""

    def __init__(self, name: str) -> None:
        self._missing = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise NameError(f"name '{self._missing}' is not defined")

    def __getattr__(self, name: str) -> Any:
        raise NameError(f"name '{self._missing}' is not defined")


class _Solution(types.ModuleType):
    """The candidate as a module, for tests that import it under some name."""

    def __init__(self, name: str, find: Callable[[str], Any], entries: list[str]) -> None:
        super().__init__(name)
        self.__dict__["_find"] = find
        self.__dict__["__all__"] = entries

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__["_find"](name)


def _told(raised: BaseException) -> str:
    try:
        return f"{type(raised).__name__}: {raised}"[:MAX_TEXT].rstrip(": ")
    except BaseException:
        return type(raised).__name__[:MAX_TEXT]


def _lines(text: str) -> list[str]:
    """Lines without the white space at their ends and without empty ones at the end."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:MAX_TEXT] if lines else ""


def _trace(seen: list[bytes]) -> bytes:
    """All calls and their outcomes; empty when nothing was called or it is too much to tell."""
    trace = b"".join(b"%d:%b" % (len(each), each) for each in seen)
    return trace if len(trace) <= MAX_TRACE else b""
