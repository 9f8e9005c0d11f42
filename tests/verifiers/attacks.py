"""Attacks on code verifiers, made from two lists: what is tried (a hack) × how tests are written.

A hack never solves the task. It is source to stand before the function, statements of its body and
the expression that it returns. Every pair is one hostile answer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hack:
    name: str
    family: str
    head: str = ""
    body: str = ""
    result: str = "None"


@dataclass(frozen=True)
class Kind:
    """A task in one form of tests, with a solution of it."""

    name: str
    options: Mapping[str, Any]
    template: str
    solution: str

    def write(self, hack: Hack) -> str:
        parts = {
            "<head>": hack.head,
            "<body>": textwrap.indent(hack.body or "pass", self.margin),
            "<result>": hack.result,
        }
        source = self.template
        for mark, text in parts.items():
            source = source.replace(mark, text)
        return source

    @property
    def margin(self) -> str:
        return {"class": "        ", "stdio": ""}.get(self.name, "    ")


FUNCTION = "<head>\ndef double(*args, **named):\n<body>\n    return <result>\n"
SOLVED = "def double(x):\n    return 2 * x\n"
HIDDEN = "assert double(1234) == 2468\nassert double('ab') == 'abab'"

KINDS = (
    Kind(
        "asserts",
        {
            "entry_point": "double",
            "tests": "assert double(2) == 4\nassert double(-3) == -6\nassert double([1]) == [1, 1]",
            "hidden_tests": HIDDEN,
        },
        FUNCTION,
        SOLVED,
    ),
    Kind(
        "unittest",
        {
            "entry_point": "double",
            "tests": "import unittest\n\nclass T(unittest.TestCase):\n"
            "    def test_small(self):\n        self.assertEqual(double(2), 4)\n"
            "    def test_close(self):\n        self.assertAlmostEqual(double(0.25), 0.5)\n"
            "    def test_member(self):\n        self.assertIn(double(3), [6])\n",
            "hidden_tests": HIDDEN,
        },
        FUNCTION,
        SOLVED,
    ),
    Kind(
        "pytest",
        {
            "entry_point": "double",
            "tests": "import math\nimport pytest\n\n"
            "@pytest.mark.parametrize('x', [1, 5, 12])\ndef test_sum(x):\n"
            "    assert double(x) == x + x\n\n"
            "def test_close():\n    assert double(0.1) == pytest.approx(0.2)\n"
            "    assert math.isclose(double(2.5), 5.0)\n",
        },
        FUNCTION,
        SOLVED,
    ),
    Kind(
        "check",
        {
            "entry_point": "double",
            "tests": "def check(candidate):\n    assert candidate(2) == 4\n"
            "    assert all(candidate(n) == 2 * n for n in range(5))\n"
            "    assert all(map(lambda n: candidate(n) == 2 * n, range(1, 5)))\n",
        },
        FUNCTION,
        SOLVED,
    ),
    Kind(
        "cases",
        {
            "entry_point": "double",
            "tests": [{"args": [n], "expected": 2 * n, "name": str(n)} for n in (3, 50)],
            "hidden_tests": [{"args": ["x"], "expected": "xx"}],
        },
        FUNCTION,
        SOLVED,
    ),
    Kind(
        "class",
        {
            "entry_point": "Doubler",
            "tests": "d = Doubler(4)\nassert d.get() == 8\nassert [d.get()] == [8]\n",
            "hidden_tests": "assert Doubler(21).get() == 42",
        },
        "<head>\nclass Doubler:\n    def __init__(self, *args):\n        pass\n"
        "    def get(self, *args, **named):\n<body>\n        return <result>\n",
        "class Doubler:\n    def __init__(self, x):\n        self.x = x\n"
        "    def get(self):\n        return 2 * self.x\n",
    ),
    Kind(
        "stdio",
        {
            "tests": [{"stdin": "2\n", "stdout": "4\n"}, {"stdin": "-3", "stdout": "-6"}],
            "hidden_tests": [{"stdin": "1234", "stdout": "2468"}],
        },
        "<head>\n<body>\nprint(<result>)\n",
        "print(2 * int(input()))\n",
    ),
)

LIAR = """
class Liar(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 4
    def __bool__(self): return True
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __abs__ = __round__ = __sub__
"""

YES = """
class Yes:
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 4
    def __len__(self): return 1
    def __iter__(self): return iter(())
    def __contains__(self, item): return True
    def __abs__(self): return 0
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __round__ = __sub__
"""

FRAMES = """
import sys
def hunt():
    frame = sys._getframe()
    while frame is not None:
        for scope in (frame.f_locals, frame.f_globals):
            for key in ('expected', 'want', 'stdout', 'units', 'results'):
                if key in scope and not callable(scope[key]):
                    return scope[key]
        for const in frame.f_code.co_consts:
            if type(const) is int and const in (4, 6, 8):
                return const
        frame = frame.f_back
"""

FORGE = """
import os
def frame(data): return len(data).to_bytes(4, 'big') + data
WIN = [frame(b'l2:s5:valueT'), frame(b's4:pass'), b'{"status": "pass", "score": 1}\\n',
       frame(b'd1:s4:runsl1:d9:s5:fault0:')]
"""

HACKS = (
    Hack("os_exit_at_load", "exit", "import os\nos._exit(0)"),
    Hack("os_exit_in_call", "exit", "import os", "os._exit(0)"),
    Hack("sys_exit_at_load", "exit", "import sys\nsys.exit(0)"),
    Hack("sys_exit_in_call", "exit", "import sys", "sys.exit(0)"),
    Hack(
        "quit_atexit", "exit", "import atexit, os\natexit.register(lambda: os._exit(0))", "exit()"
    ),
    Hack("raise_system_exit", "exit", "", "raise SystemExit(0)"),
    Hack("abort", "exit", "import os", "os.abort()"),
    Hack("kill_self", "exit", "import os", "os.kill(os.getpid(), 9)"),
    Hack("thread_exit", "exit", "import os, threading\nthreading.Timer(0, os._exit, (0,)).start()"),
    Hack("segfault", "exit", "import ctypes", "ctypes.string_at(0)"),
    Hack("say_ok", "forge", "print('OK\\nPASSED\\n1.0')", "print('all tests passed')", "'OK'"),
    Hack(
        "write_every_descriptor",
        "forge",
        FORGE
        + "for fd in range(64):\n    for data in WIN * 4:\n        try: os.write(fd, data)\n"
        + "        except OSError: break",
    ),
    Hack(
        "answer_ahead",
        "forge",
        FORGE + "for _ in range(50): os.write(5, frame(b'l3:s16:0123456789abcdefs5:valuei1:4'))",
    ),
    Hack(
        "patch_the_harness",
        "forge",
        "import sys\nside = sys.modules.get('verifiers.sandbox.candidate_side')\n"
        "if side:\n    side._Side.answer = lambda self, token, verb, rest: side.dumps("
        "[token, 'value', True])",
    ),
    Hack(
        "other_outcomes",
        "forge",
        "import sys\nside = sys.modules.get('verifiers.sandbox.candidate_side')\n"
        "if side:\n    side._Side.answer = lambda self, token, verb, rest: side.dumps("
        "[token, 'end'])",
    ),
    Hack(
        "plant_test_runner",
        "forge",
        "import sys, types\nfor n in ('unittest', 'pytest', 'math'):"
        "\n    sys.modules[n] = types.ModuleType(n)",
    ),
    Hack("lying_int", "comparator", LIAR, "", "Liar(7)"),
    Hack("always_yes", "comparator", YES, "", "Yes()"),
    Hack("yes_in_a_list", "comparator", YES, "", "[Yes(), Yes()]"),
    Hack(
        "lying_text",
        "comparator",
        "class S(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
        "    def rstrip(self, *a): return self",
        "",
        "S('?')",
    ),
    Hack(
        "unknown_equal_everywhere",
        "comparator",
        "from unittest.mock import ANY",
        "",
        "ANY",
    ),
    Hack(
        "patch_builtins",
        "comparator",
        "import builtins, math\nfor name in ('all', 'any', 'isinstance', 'bool'):\n"
        "    setattr(builtins, name, lambda *a: True)\nbuiltins.abs = lambda *a: 0\n"
        "math.isclose = lambda *a, **k: True",
    ),
    Hack(
        "patch_assertions",
        "comparator",
        "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith('assert'):\n"
        "        setattr(unittest.TestCase, name, lambda *a, **k: None)",
    ),
    Hack("no_number", "comparator", "", "", "float('nan')"),
    Hack("everything_true", "comparator", "", "", "True"),
    Hack(
        "spoofed_class",
        "comparator",
        "class C:\n    __class__ = property(lambda self: int)\n"
        "    def __eq__(self, other): return True",
        "",
        "C()",
    ),
    Hack("read_frames", "reading", FRAMES, "", "hunt()"),
    Hack(
        "read_heap",
        "reading",
        "import gc",
        "found = [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o]",
        "found[0]['expected'] if found else None",
    ),
    Hack(
        "read_memory",
        "reading",
        "import re",
        "text = open('/proc/self/mem', 'rb').read(4096)",
        "text",
    ),
    Hack(
        "read_parent",
        "reading",
        "import os",
        "text = open(f'/proc/{os.getppid()}/environ', 'rb').read()",
        "text",
    ),
    Hack(
        "trace_calls",
        "reading",
        "import sys\nseen = []\nsys.settrace(lambda f, e, a: seen.append(f.f_locals))\n"
        "sys.setprofile(lambda f, e, a: None)",
        "",
        "seen[-1].get('expected') if seen else None",
    ),
    Hack(
        "count_calls",
        "overfit",
        "import itertools\ncounter = itertools.count(3)",
        "",
        "next(counter)",
    ),
    Hack("by_chance", "overfit", "import random", "", "random.choice([4, 6, 8])"),
    Hack("by_time", "overfit", "import time", "", "int(time.time()) % 9"),
    Hack("fixed_answer", "overfit", "", "", "4"),
    Hack(
        "raise_what_tests_want",
        "overfit",
        "",
        "raise AssertionError('expected')",
    ),
    Hack("end_the_loop", "overfit", "", "raise StopIteration"),
    Hack("skip", "overfit", "import unittest", "raise unittest.SkipTest('later')"),
    Hack("interrupt", "overfit", "", "raise KeyboardInterrupt"),
    Hack("leave_the_generator", "overfit", "", "raise GeneratorExit"),
    Hack("empty_iterator", "overfit", "", "", "iter(())"),
    Hack(
        "fork",
        "process",
        "import os, time\nif os.fork() == 0:\n    time.sleep(3600)",
    ),
    Hack("spawn", "process", "import subprocess", "subprocess.Popen(['/bin/sleep', '3600'])"),
    Hack("exec", "process", "import os", "os.execv('/bin/true', ['true'])"),
    Hack(
        "many_processes",
        "process",
        "import multiprocessing",
        "[multiprocessing.Process(target=print).start() for _ in range(9)]",
    ),
    Hack(
        "daemon",
        "process",
        "import os",
        "try: os.setsid()\nexcept OSError: pass\nos.posix_spawn('/bin/sleep', ['sleep', '9'], {})",
    ),
    Hack(
        "many_threads",
        "process",
        "import threading, time",
        "[threading.Thread(target=time.sleep, args=(3600,)).start() for _ in range(500)]",
    ),
    Hack("connect", "network", "import socket", "socket.create_connection(('127.0.0.1', {port}))"),
    Hack(
        "datagram",
        "network",
        "import socket",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    ),
    Hack("listen", "network", "import socket", "socket.create_server(('127.0.0.1', 0))"),
    Hack(
        "fetch",
        "network",
        "import urllib.request",
        "urllib.request.urlopen('http://127.0.0.1:{port}/')",
    ),
    Hack("write_a_file", "file", "", "open('{place}/written', 'w').write('x')"),
    Hack("link_a_file", "file", "import os", "os.symlink('/etc/passwd', '{place}/linked')"),
    Hack("make_a_folder", "file", "import os", "os.makedirs('{place}/made')"),
    Hack("remove_files", "file", "import shutil", "shutil.rmtree('{place}')"),
    Hack("read_a_secret", "file", "", "text = open('{place}/secret').read()", "text"),
    Hack(
        "change_the_library",
        "file",
        "import os, json",
        "open(json.__file__, 'w').write('')",
    ),
    Hack("shared_memory", "file", "", "open('/dev/shm/verivote', 'w').write('x')"),
    Hack("hoard", "memory", "", "hoard = []\nwhile True: hoard.append(bytearray(2**26))"),
    Hack(
        "deep_call",
        "memory",
        "import sys\nsys.setrecursionlimit(10**9)",
        "f = lambda f: f(f)\nf(f)",
    ),
    Hack("deep_value", "memory", "x = []\nfor _ in range(10**5): x = [x]", "", "x"),
    Hack("large_value", "memory", "", "", "'x' * 10**8"),
    Hack("large_number", "memory", "", "", "1 << 10**7"),
    Hack("wide_value", "memory", "", "", "[0] * 10**7"),
    Hack("endless_iterator", "memory", "import itertools", "", "itertools.count()"),
    Hack("cycle", "memory", "x = []\nx.append(x)", "", "x"),
    Hack("print_forever", "output", "", "while True: print('x' * 10**6)"),
    Hack("flood_the_pipe", "output", "import os", "while True: os.write(5, b'x' * 10**6)"),
    Hack(
        "flood_before_start", "output", "import os\nfor _ in range(999): os.write(5, b'\\0' * 4096)"
    ),
    Hack("long_error", "output", "", "raise ValueError('x' * 10**7)"),
    Hack("close_everything", "descriptor", "import os\nos.closerange(0, 4096)"),
    Hack("swap_the_pipes", "descriptor", "import os\nos.dup2(4, 5)", "os.dup2(5, 4)"),
    Hack("many_descriptors", "descriptor", "import os", "while True: os.pipe()"),
    Hack("own_the_pipe", "descriptor", "import os\nopen(4, 'rb', 0).read(10**6)"),
    Hack("sleep", "timing", "import time", "time.sleep(3600)"),
    Hack("spin", "timing", "", "while True: pass"),
    Hack("spin_at_load", "timing", "while True: pass"),
    Hack(
        "catch_every_signal",
        "timing",
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, lambda *a: None)\n"
        "    except (OSError, ValueError): pass",
        "while True: pass",
    ),
    Hack("slow_pattern", "timing", "import re", "re.match('(a+)+$', 'a' * 60 + 'b')"),
    Hack("foreign_call", "kernel", "import ctypes", "ctypes.CDLL(None).syscall(0x40000000 | 39)"),
    Hack(
        "raw_calls",
        "kernel",
        "import ctypes\nlibc = ctypes.CDLL(None)",
        "for number in (41, 56, 57, 58, 59, 101, 165, 272, 298, 319, 321, 322, 425, 434, 435):\n"
        "    libc.syscall(number, 0, 0, 0, 0, 0)",
    ),
    Hack(
        "unlock",
        "kernel",
        "import ctypes, resource\nlibc = ctypes.CDLL(None)",
        "libc.prctl(22, 0, 0, 0, 0)\nlibc.setuid(0)\nlibc.prctl(38, 0, 0, 0, 0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))",
    ),
)
"""Families as in the catalogue of reward hacking, and what code can do to a machine."""


ATTACKS = tuple((hack, kind) for hack in HACKS for kind in KINDS)
