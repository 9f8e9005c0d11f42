"""Arithmetic questions: finding one in a prompt, and its exact value.

Nothing is evaluated as code. A prompt counts as an arithmetic question only when all of it is one
expression with a known lead-in (`What is …`, `Calculate …`) and, at most, a known wish about the
form of the reply. Whoever asks anything else gets None: no check is better than a wrong one.
It does not read algebra, units, several questions, or notations with two readings (`6/2(1+2)`,
`-2^2`, `2^3^2`, `7 % 3`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_PROMPT_CHARS = 400
MAX_TOKENS = 120
MAX_DIGITS = 40
"""Digits of one number in the question."""
MAX_NESTING = 24
MAX_EXPONENT = 512
MAX_BITS = 4_096
"""Size of any intermediate value."""
MAX_DECIMALS = 10
"""A result with more decimal places is rounded by everyone in another way, so it is not asked."""


class NotArithmetic(ValueError):
    """This expression cannot be evaluated; the message says why."""


def find_question(prompt: str) -> str | None:
    """The one expression that a prompt asks for, in its own spelling, or None."""
    if len(prompt) > MAX_PROMPT_CHARS:
        return None
    text = _strip_form_wishes(" ".join(prompt.split()))
    lead = _LEAD.match(text)
    expression = text[lead.end() :] if lead else text
    expression = _TAIL.sub("", expression).strip()
    expression = _spell_operation(expression)
    firm = lead is not None and lead["firm"] is not None
    if not firm and _COMPACT.fullmatch(expression):
        return None
    try:
        value = evaluate(expression)
    except NotArithmetic:
        return None
    return expression if _is_short_decimal(value) else None


def evaluate(expression: str) -> Fraction:
    """Exact value of an arithmetic expression. Raises `NotArithmetic`."""
    tokens = _tokenize(expression)
    kinds = [token.kind for token in tokens]
    if kinds.count("number") < 2 and not {"square", "cube"} & set(kinds):
        raise NotArithmetic("there is nothing to calculate")
    if "percent" in kinds and kinds != ["number", "percent", "number"]:
        raise NotArithmetic("a percentage inside a longer expression has two readings")
    reader = _Reader(tokens)
    value = reader.sum(0)
    if reader.peek() is not None:
        raise NotArithmetic(f"unexpected '{reader.peek()}'")
    return value


# A firm lead asks for a calculation; after a soft one `24/7` or `4x4` may be something else.
_LEAD = re.compile(
    r"(?:q(?:uestion)?: )?(?:(?:hi|hello|hey)[ ,.!]+)?"
    r"(?:please,? )?(?:can|could|would)? ?(?:you )?(?:please )?"
    r"(?:(?:tell me|find|give me|state|determine) )?"
    r"(?:(?P<firm>(?:calculate|compute|evaluate|work out|solve|simplify)(?: what)?(?: is)?"
    r"|how much is|what does|the (?:value|result) of|what(?: is|'s|’s) the (?:value|result) of)"
    r"|what(?: is|'s|’s|s)?)?(?: (?:the (?:value|result|answer) (?:of|to)))?:? +",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?: equal(?: to)?)?(?: please)?[ ?.!]*(?:= ?\??)?[ ?.!]*$", re.IGNORECASE)
_COMPACT = re.compile(r"[0-9]+(?:/[0-9]+)+|[0-9]+(?:-[0-9]+)+|[0-9]+(?:x[0-9]+)+", re.IGNORECASE)
_FORM_WISH = re.compile(
    r"(?:please )?(?:"
    r"(?:answer|reply|respond)(?: (?:with|using|in))?(?: (?:just|only))? "
    r"(?:the|a|one|single|a single)? ?(?:final )?(?:number|integer|digits|result|answer|value)"
    r"(?: only| alone)?"
    r"|(?:give|return|write|state|output|show)(?: me)?(?: (?:just|only))? the (?:final )?"
    r"(?:number|result|answer|value)(?: only| alone)?"
    r"|(?:just|only) the (?:final )?(?:number|result|answer)|(?:number|answer|result) only"
    r"|(?:show|explain) your (?:work|working|steps|reasoning)|(?:let's )?think step by step"
    r"|explain|(?:end|finish)(?: your (?:answer|reply))? with (?:'|\"|“)?answer: ?"
    r"(?:<number>|<result>|x|n|…|\.\.\.)?(?:'|\"|”)?"
    r"|(?:write|put|give)(?: it| the (?:result|answer))? as (?:'|\"|“)?answer: ?"
    r"(?:<number>|<result>|x|n|…|\.\.\.)?(?:'|\"|”)?|a(?:nswer)?:?|thanks|thank you)[.!:]*",
    re.IGNORECASE,
)


def _strip_form_wishes(text: str) -> str:
    """Drop trailing sentences that only say how to write the number."""
    while True:
        cut = max(text.rfind(mark, 0, -1) for mark in ("? ", ". ", "! "))
        if cut < 0 or not _FORM_WISH.fullmatch(text[cut + 2 :].strip()):
            return text
        text = text[: cut + 1].strip()


_NAMED = re.compile(
    r"(?:the )?(?P<name>sum|product) of (?P<a>[0-9.,]+) (?:and|by) (?P<b>[0-9.,]+)"
    r"|(?P<verb>add|multiply|subtract|divide) (?P<c>[0-9.,]+) (?:and|to|by|from|with) "
    r"(?P<d>[0-9.,]+)",
    re.IGNORECASE,
)


def _spell_operation(text: str) -> str:
    """`the sum of 3 and 5` as `3 + 5`; a preposition that does not fit leaves the text as it is."""
    named = _NAMED.fullmatch(text)
    if named is None:
        return text
    if named["name"]:
        sign = "+" if named["name"].lower() == "sum" else "*"
        return f"{named['a']} {sign} {named['b']}"
    c, d = named["c"], named["d"]
    link = text.lower().split()[2]
    spelled = {
        ("add", "and"): f"{c} + {d}",
        ("add", "to"): f"{c} + {d}",
        ("multiply", "by"): f"{c} * {d}",
        ("multiply", "and"): f"{c} * {d}",
        ("multiply", "with"): f"{c} * {d}",
        ("subtract", "from"): f"{d} - {c}",
        ("divide", "by"): f"{c} / {d}",
    }
    return spelled.get((named["verb"].lower(), link), text)


_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?![0-9.,]*[0-9]))"
    r"|(?P<percent>(?:%|percent|per cent) of\b)"
    r"|(?P<power>\*\*|\^|to the power of\b|raised to(?: the power of)?\b)"
    r"|(?P<plus>\+|plus\b)|(?P<minus>[-−]|minus\b)"
    r"|(?P<times>[*×·]|times\b|multiplied by\b|x(?![a-z]))"
    r"|(?P<over>[/÷]|divided by\b)"
    r"|(?P<square>²|squared\b)|(?P<cube>³|cubed\b)"
    r"|(?P<open>\()|(?P<close>\)))",
    re.IGNORECASE,
)
_LEADING_ZERO = re.compile(r"0[0-9]")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokenize(expression: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, text = 0, expression.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise NotArithmetic(f"'{text[at : at + 20]}' is not arithmetic")
        word = found[found.lastgroup]
        if found.lastgroup == "number":
            if sum(c.isdigit() for c in word) > MAX_DIGITS:
                raise NotArithmetic(f"a number has more than {MAX_DIGITS} digits")
            if _LEADING_ZERO.match(word):
                raise NotArithmetic(f"'{word}' begins with a zero")
        tokens.append(_Token(found.lastgroup, word))
        at = found.end()
        if len(tokens) > MAX_TOKENS:
            raise NotArithmetic(f"more than {MAX_TOKENS} numbers and signs")
    return tokens


class _Reader:
    """Recursive descent over tokens; every step keeps its value under `MAX_BITS`."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str | None:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else None

    def take(self) -> _Token:
        if self._at >= len(self._tokens):
            raise NotArithmetic("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("plus", "minus"):
            sign = 1 if self.take().kind == "plus" else -1
            value = _bounded(value + sign * self.product(depth))
        return value

    def product(self, depth: int) -> Fraction:
        value = self.signed(depth)
        while self.peek() in ("times", "over", "percent"):
            kind = self.take().kind
            other = self.signed(depth)
            if kind == "percent":
                value = _bounded(value * other / 100)
            elif kind == "times":
                value = _bounded(value * other)
            elif other == 0:
                raise NotArithmetic("division by zero")
            else:
                value = _bounded(value / other)
        return value

    def signed(self, depth: int) -> Fraction:
        if self.peek() != "minus":
            return self.power(depth)
        self.take()
        value = self.atom(depth)
        if self.peek() in ("power", "square", "cube"):
            raise NotArithmetic("a sign before a power has two readings")
        return -value

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if self.peek() not in ("power", "square", "cube"):
            return base
        kind = self.take().kind
        exponent = {"square": Fraction(2), "cube": Fraction(3)}.get(kind) or self.atom(depth)
        if self.peek() in ("power", "square", "cube"):
            raise NotArithmetic("a power of a power has two readings")
        return _raise(base, exponent)

    def atom(self, depth: int) -> Fraction:
        token = self.take()
        if token.kind == "number":
            return Fraction(token.text.replace(",", ""))
        if token.kind != "open" or depth >= MAX_NESTING:
            raise NotArithmetic(f"unexpected '{token.text}'")
        value = self.sum(depth + 1)
        if self.take().kind != "close":
            raise NotArithmetic("a parenthesis is not closed")
        return value


def _raise(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or not 0 <= exponent <= MAX_EXPONENT:
        raise NotArithmetic(f"an exponent is not a whole number from 0 to {MAX_EXPONENT}")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * exponent.numerator > MAX_BITS or (base == 0 and exponent == 0):
        raise NotArithmetic("a power is too large")
    return Fraction(base**exponent.numerator)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise NotArithmetic("a value is too large")
    return value


def _is_short_decimal(value: Fraction) -> bool:
    return bool(10**MAX_DECIMALS % value.denominator == 0)
