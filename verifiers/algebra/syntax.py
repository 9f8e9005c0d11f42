"""Text → tree: tokens and a recursive-descent parser for the LaTeX of final answers.

Plain spellings (`sqrt(3)/2`, `2*pi`, `x^2`, `½`) are read too. Anything outside the subset is
`unparsable`, and what two people would read in two ways (`1/2x`) is `ambiguous`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from verifiers.algebra.limits import Limits, NotMath
from verifiers.algebra.tokens import Token, read_tokens
from verifiers.algebra.vocabulary import FUNCTIONS, GREEK, NO_UNIT
from verifiers.canonical.units import UNITS, unit_name

Op = Literal[
    "number", "symbol", "text", "based", "add", "multiply", "divide", "negative", "plus_minus",
    "power", "root", "call", "factorial", "binomial", "absolute", "tuple", "braces", "interval",
    "list", "matrix", "relation", "union", "unit",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tree:
    """One node of what was written."""

    op: Op
    parts: tuple[Tree, ...] = ()
    name: str = ""
    """Of a symbol, function, bracket pair, relation or unit."""
    value: Fraction = Fraction(0)
    """Of a number."""


def read_tree(text: str, limits: Limits) -> Tree:
    """The tree of a whole answer. Raises `NotMath`, and `NotCanonical` for hidden characters."""
    parser = _Parser(read_tokens(text, limits), limits)
    tree = parser.answer()
    if not parser.at_end():
        raise NotMath("unparsable")
    _refuse_towers(tree)
    return tree


class _Parser:
    """Recursive descent over the tokens. Every node is counted; depth was capped before."""

    def __init__(self, tokens: list[Token], limits: Limits) -> None:
        self._tokens = tokens
        self._at = 0
        self._nodes_left = limits.nodes
        self._bars = 0

    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def answer(self) -> Tree:
        """Comma lists of relations; `and`, `or` and `;` separate too."""
        items = [self._relation()]
        while self._take_separator():
            items.append(self._relation())
        return items[0] if len(items) == 1 else self._node("list", tuple(items))

    def _node(
        self, op: Op, parts: tuple[Tree, ...] = (), name: str = "", value: Fraction | None = None
    ) -> Tree:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise NotMath("too_complex")
        return Tree(op, parts, name, value if value is not None else Fraction(0))

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        if self._at + ahead >= len(self._tokens):
            return ("end", "")
        token = self._tokens[self._at + ahead]
        return (token.kind, token.text)

    def _take(self) -> Token:
        if self.at_end():
            raise NotMath("unparsable")
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, *texts: str) -> str:
        kind, text = self._peek()
        if kind in ("mark", "brace", "command") and text in texts:
            self._at += 1
            return text
        return ""

    def _expect(self, *texts: str) -> str:
        return self._accept(*texts) or self._fail()

    def _fail(self) -> str:
        raise NotMath("unparsable")

    def _take_separator(self) -> bool:
        comma = bool(self._accept(",", ";"))
        kind, text = self._peek()
        if kind in ("text", "word") and text.casefold() in ("and", "or"):
            self._at += 1
            return True
        return comma

    def _relation(self) -> Tree:
        parts, signs = [self._union()], []
        while sign := self._accept("=", "<", ">", "le", "ge", "ne", "in", "approx"):
            signs.append(sign)
            parts.append(self._union())
        if not signs:
            return parts[0]
        if "approx" in signs:
            raise NotMath("ambiguous")
        return self._node("relation", tuple(parts), " ".join(signs))

    def _union(self) -> Tree:
        parts = [self._sum()]
        while self._accept("cup"):
            parts.append(self._sum())
        return parts[0] if len(parts) == 1 else self._node("union", tuple(parts))

    def _sum(self) -> Tree:
        sign = self._accept("+", "-", "pm")
        tree = self._product()
        if sign == "-":
            tree = self._negated(tree)
        elif sign == "pm":
            zero = self._node("number")
            tree = self._node("plus_minus", (zero, tree))
        while sign := self._accept("+", "-", "pm"):
            right = self._product()
            if sign == "pm":
                tree = self._node("plus_minus", (tree, right))
            else:
                right = right if sign == "+" else self._node("negative", (right,))
                tree = self._node("add", (tree, right))
        return self._unit(tree)

    def _negated(self, tree: Tree) -> Tree:
        return self._node("negative", (tree,))

    def _unit(self, tree: Tree) -> Tree:
        """`tree` with the unit that follows it, if one does."""
        words = []
        while True:
            kind, text = self._peek()
            if kind == "text" and text.casefold() in ("and", "or"):
                break
            if (kind in ("text", "word") and (kind == "text" or text.casefold() in UNITS)) or (
                kind in ("mark", "command") and text in ("%", "°")
            ):
                words.append(text)
            else:
                break
            self._at += 1
            if self._accept("^"):
                words[-1] += f"^{self._argument_text()}"
        name = unit_name(" ".join(words))
        if len(name.split()) > 4 or not NO_UNIT.isdisjoint(name.casefold().split()):
            raise NotMath("unparsable")
        return self._node("unit", (tree,), name) if name else tree

    def _argument_text(self) -> str:
        token = self._take()
        if token.text != "{":
            return token.text
        inside = self._take().text
        self._expect("}")
        return inside

    def _product(self) -> Tree:
        tree, over_plain = self._signed_factor(), False
        while True:
            if self._accept("*", "times", "cdot"):
                tree, over_plain = self._node("multiply", (tree, self._signed_factor())), False
            elif self._accept("/", "div"):
                right = self._signed_factor()
                tree, over_plain = self._node("divide", (tree, right)), True
            elif self._starts_factor():
                # `1/2x` is read in two ways; `1/2 x` and `\frac12x` are not.
                if over_plain and not self._tokens[self._at].spaced:
                    raise NotMath("ambiguous")
                if self._peek()[0] == "number":
                    raise NotMath("ambiguous")
                tree = self._node("multiply", (tree, self._factor()))
            else:
                return tree

    def _starts_factor(self) -> bool:
        kind, text = self._peek()
        if kind == "word":
            return text.casefold() not in UNITS and text not in ("and", "or")
        if kind == "number":
            return True
        if kind == "command":
            return text in FUNCTIONS or text in GREEK or text in _ATOM_COMMANDS
        return text in ("{", "(", "[", "\\{") or self._opens_bar()

    def _opens_bar(self) -> bool:
        return self._peek()[1] == "|" and self._bars == 0

    def _signed_factor(self) -> Tree:
        if self._accept("-"):
            return self._negated(self._signed_factor())
        return self._factor()

    def _factor(self) -> Tree:
        tree = self._atom()
        while True:
            if self._accept("^"):
                if self._peek()[1] == "circ" or self._peek_group("circ"):
                    self._skip_circ()
                    tree = self._node("unit", (tree,), self._take_temperature() or "degree")
                else:
                    tree = self._node("power", (tree, self._argument(whole=True)))
            elif self._accept("!"):
                tree = self._node("factorial", (tree,))
            else:
                return tree

    def _take_temperature(self) -> str:
        """`°C` or `°F` where the letter follows the sign, which else is one of angles."""
        kind, text = self._peek()
        name = _TEMPERATURES.get(text, "") if kind in ("word", "text") else ""
        self._at += bool(name)
        return name

    def _peek_group(self, text: str) -> bool:
        return [self._peek(ahead)[1] for ahead in range(3)] == ["{", text, "}"]

    def _skip_circ(self) -> None:
        self._at += 1 if self._peek()[1] == "circ" else 3

    def _argument(self, *, whole: bool = False) -> Tree:
        """What `^`, `\\frac` and `\\sqrt` take: a group, or one digit or letter.

        `whole` takes all digits, because `x^12` is written for `x^{12}`.
        """
        if self._accept("{"):
            tree = self._sum()
            self._expect("}")
            return tree
        if self._accept("-"):
            return self._negated(self._argument(whole=whole))
        kind, text = self._peek()
        if kind == "number" and len(text) > 1 and text.isdigit() and not whole:
            return self._first_character(text)
        if kind == "word" and len(text) > 1 and text not in FUNCTIONS:
            return self._first_character(text)
        return self._atom()

    def _first_character(self, text: str) -> Tree:
        token = self._tokens[self._at]
        self._tokens[self._at] = Token(token.kind, text[1:], False)
        if token.kind == "number":
            return self._node("number", value=Fraction(text[0]), name=text[0])
        return self._node("symbol", name=text[0])

    def _atom(self) -> Tree:
        kind, text = self._peek()
        if kind == "number":
            return self._number()
        if kind == "word":
            return self._word()
        if kind == "text":
            self._at += 1
            return self._node("text", name=text)
        if kind == "environment":
            return self._matrix()
        if kind == "command":
            return self._command()
        if text == "|":
            return self._absolute()
        if text in ("$", "€", "£"):
            self._at += 1
            return self._node("unit", (self._atom(),), UNITS.get(text, "dollar"))
        return self._bracketed()

    def _number(self) -> Tree:
        raw = self._take().text
        if self._accept("_"):
            base = self._argument()
            if base.op != "number" or base.value.denominator != 1 or not raw.isdigit():
                raise NotMath("unparsable")
            return self._node("based", name=f"{raw}_{base.value}")
        whole = self._node("number", value=_number_of(raw), name=raw)
        return self._mixed(whole) if raw.isdigit() else whole

    def _mixed(self, whole: Tree) -> Tree:
        """`1 3/4` and `1\\frac{3}{4}`: a whole number before a proper fraction of digits."""
        start = self._at
        if self._accept("frac"):
            top, bottom = self._argument(), self._argument()
        elif [self._peek(i)[0] for i in (0, 2)] == ["number", "number"] and self._peek(1)[1] == "/":
            top = self._node("number", value=_number_of(self._take().text))
            self._take()
            bottom = self._node("number", value=_number_of(self._take().text))
        else:
            return whole
        proper = top.op == bottom.op == "number" and 0 < top.value < bottom.value
        if not proper or {top.value.denominator, bottom.value.denominator} != {1}:
            self._at = start
            return whole
        value = whole.value + top.value / bottom.value
        return self._node("number", value=value, name="mixed")

    def _word(self) -> Tree:
        """A run of letters: a known name, or one-letter symbols side by side."""
        token = self._take()
        name = token.text
        if name in FUNCTIONS or name in ("sqrt", "pi", "infty"):
            self._at -= 1
            self._tokens[self._at] = Token("command", name, token.spaced)
            return self._command()
        if name.casefold() in UNITS and len(name) > 1:
            raise NotMath("unparsable")
        if len(name) > 3:
            return self._words(name)
        if len(name) > 1:
            self._at -= 1
            self._tokens[self._at] = Token("word", name[1:], False)
        return self._node("symbol", name=name[0] + self._subscript(len(name) == 1))

    def _words(self, first: str) -> Tree:
        """An answer in words; only as a whole answer, never beside symbols."""
        words = [first]
        while self._peek()[0] == "word":
            words.append(self._take().text)
        if not self.at_end() or len(words) < self._at:
            raise NotMath("unparsable")
        return self._node("text", name=" ".join(words))

    def _subscript(self, alone: bool) -> str:
        if not alone or not self._accept("_"):
            return ""
        inside = self._argument_text()
        if not inside.isalnum():
            raise NotMath("unparsable")
        return f"_{inside}"

    def _command(self) -> Tree:
        name = self._take().text
        if name == "frac":
            return self._node("divide", (self._argument(), self._argument()), "frac")
        if name == "sqrt":
            return self._root()
        if name == "binom":
            return self._node("binomial", (self._argument(), self._argument()))
        if name in FUNCTIONS:
            return self._call(name)
        if name in GREEK or name == "infty":
            return self._node("symbol", name=name + self._subscript(name != "infty"))
        if name == "emptyset":
            return self._node("braces")
        if name == "mathbb":
            return self._node("symbol", name=f"set_{self._argument_text()}")
        if name == "lvert":
            self._at -= 1
            return self._absolute()
        raise NotMath("unparsable")

    def _root(self) -> Tree:
        degree = self._node("number", value=Fraction(2))
        if self._accept("["):
            degree = self._sum()
            self._expect("]")
        kind, text = self._peek()
        if kind == "number" and len(text) > 1:
            raise NotMath("ambiguous")  # `\\sqrt12` is √1·2 in LaTeX and √12 elsewhere
        return self._node("root", (self._argument(), degree))

    def _call(self, name: str) -> Tree:
        base: tuple[Tree, ...] = (self._argument(),) if self._accept("_") else ()
        power = self._argument() if self._accept("^") else None
        if base and name != "log":
            raise NotMath("unparsable")
        if power is not None and power.op == "negative":
            raise NotMath("ambiguous")  # the inverse function, or one over it
        tree = self._node("call", (self._call_argument(), *base), name)
        return tree if power is None else self._node("power", (tree, power))

    def _call_argument(self) -> Tree:
        """A bracketed argument, or the factors up to the next operator or function."""
        if self._peek()[1] in ("(", "["):
            return self._bracketed()
        if self._accept("{"):
            tree = self._sum()
            self._expect("}")
            return tree
        tree = self._factor()
        while self._starts_factor() and self._peek()[1] not in (*FUNCTIONS, "(", "["):
            tree = self._node("multiply", (tree, self._factor()))
        if self._peek()[1] == "/":
            raise NotMath("ambiguous")
        return tree

    def _absolute(self) -> Tree:
        self._take()
        self._bars += 1
        tree = self._sum()
        self._bars -= 1
        self._expect("|", "rvert")
        return self._node("absolute", (tree,))

    def _bracketed(self) -> Tree:
        opened = self._expect("(", "[", "{", "\\{")
        if opened == "\\{" and self._accept("\\}"):
            return self._node("braces")
        saved, self._bars = self._bars, 0
        items = [self._union() if opened != "\\{" else self._sum()]
        while self._accept(",", ";") if opened != "\\{" else self._take_separator():
            items.append(self._sum())
        self._bars = saved
        closed = self._expect(")", "]", "}", "\\}")
        pair = opened + closed
        if pair == "{}" and len(items) == 1:
            return items[0]
        if pair in ("\\{\\}", "{}"):
            return self._node("braces", tuple(items))
        if pair == "()" and len(items) == 1:
            return items[0]
        if pair in ("(]", "[)", "[]") and len(items) == 2:
            return self._node("interval", tuple(items), pair)
        if pair == "()" or (pair == "[]" and len(items) > 2):
            return self._node("tuple", tuple(items))
        if pair == "[]" and len(items) == 1:
            return items[0]
        raise NotMath("unparsable")

    def _matrix(self) -> Tree:
        opened = self._take().text
        rows: list[list[Tree]] = [[self._sum()]]
        while True:
            if self._accept("&"):
                rows[-1].append(self._sum())
            elif self._accept("newline"):
                if self._peek()[0] == "environment":
                    break
                rows.append([self._sum()])
            else:
                break
        if self._take().text != opened.replace("begin", "end") or len(set(map(len, rows))) != 1:
            raise NotMath("unparsable")
        made = tuple(self._node("tuple", tuple(row)) for row in rows)
        return self._node("matrix", made)


def _number_of(raw: str) -> Fraction:
    repeating = _REPEATING.fullmatch(raw)
    digits = _GROUPING.sub("", raw)
    if repeating is None:
        return Fraction(digits)
    whole, once, again = repeating[1] or "0", repeating[2], repeating[3]
    nines = 10 ** len(again) - 1
    return Fraction(f"{whole}.{once or 0}") + Fraction(int(again), nines * 10 ** len(once))


def _refuse_towers(tree: Tree) -> None:
    """No power, factorial or binomial may stand in an exponent or in a factorial."""
    if tree.op in ("power", "factorial", "binomial"):
        inside = tree.parts[1:] if tree.op == "power" else tree.parts
        if any(_any(part, lambda t: t.op in _GROWING) for part in inside):
            raise NotMath("too_complex")
    for part in tree.parts:
        _refuse_towers(part)


def _any(tree: Tree, test: Callable[[Tree], bool]) -> bool:
    return test(tree) or any(_any(part, test) for part in tree.parts)


_GROWING = ("power", "factorial", "binomial")
_ATOM_COMMANDS = frozenset(("frac", "sqrt", "binom", "infty", "emptyset", "mathbb", "lvert"))
_TEMPERATURES = {"C": "°C", "F": "°F", "Celsius": "°C", "Fahrenheit": "°F"}
_GROUPING = re.compile(r",\\!\s*|\{,\}|\\[,!]|,")
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\overline\{([0-9]+)\}")
