"""Arithmetic steps in running text: every `expression = value` that can be read without doubt.

Nothing is evaluated as code. Units, currencies and Markdown around numbers are passed over. What
has two readings (a variable, a function, an implied product, mixed measures, a bare `1 1/2`) is not
a step at all: an unread step is better than a wrongly refuted one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.arithmetic import NotArithmetic, evaluate

MAX_CHARS = 50_000
MAX_STEPS = 1_000
MAX_SHOWN = 120
DOUBLE_DIGITS = 14
"""A result with so many digits was computed in binary: it is compared to as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One equation of a text, recomputed."""

    text: str
    """As it was read, without units."""
    end: int
    """Where it ends, in characters of the text."""
    value: Fraction
    """What the left side comes to."""
    said: Fraction
    """What the text says that it comes to."""
    right: bool


def find_steps(text: str, *, rounding: bool = True) -> tuple[Step, ...]:
    """The steps of a text, in order. With `rounding` a correctly rounded result is right."""
    whole = _Text.of(text[:MAX_CHARS])
    found = [*_steps_of(whole.replace(_ANNOTATION, ""), rounding)]
    known = {(step.value, step.said) for step in found}
    annotations = whole.kept(_ANNOTATION)
    extra = [s for s in _steps_of(annotations, rounding) if (s.value, s.said) not in known]
    return tuple([*found, *extra][:MAX_STEPS])


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was changed, and where each of its characters came from."""

    text: str
    ends: Sequence[int]
    """For each character, the place behind it in the text as it was."""

    @classmethod
    def of(cls, text: str) -> _Text:
        return cls(text, range(1, len(text) + 1))

    def replace(self, pattern: re.Pattern[str], plain: str) -> _Text:
        """As `pattern.sub(plain, …)`. What is put in place ends where the match did."""
        parts: list[str] = []
        ends: list[int] = []
        last = 0
        for match in pattern.finditer(self.text):
            new = match.expand(plain)
            parts += (self.text[last : match.start()], new)
            ends += self.ends[last : match.start()]
            ends += [self.ends[match.end() - 1]] * len(new)
            last = match.end()
        if not last:
            return self
        return _Text("".join([*parts, self.text[last:]]), [*ends, *self.ends[last:]])

    def kept(self, pattern: re.Pattern[str]) -> _Text:
        """What the pattern's group holds, one match a line."""
        parts: list[str] = []
        ends: list[int] = []
        for match in pattern.finditer(self.text):
            parts.append(match[1] + "\n")
            ends += self.ends[match.start(1) : match.end(1) + 1]
        return _Text("".join(parts), ends)


_ANNOTATION = re.compile(r"<<([^<>\n]{1,200})>>")
_SIMPLE = (
    (re.compile(r"```.*?(?:```|\Z)", re.DOTALL), "\n\n"),
    (re.compile(r"\\(?:d|t)?frac\s?\{([0-9.,]{1,40})\}\s?\{([0-9.,]{1,40})\}"), r"(\1/\2)"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|boxed|fbox)\s?\{([^{}]{0,200})\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])|[×·∙⋅]"), "*"),
    (re.compile(r"\\div(?![A-Za-z])|÷"), "/"),
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])|≃"), "≈"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])"), ""),
    (re.compile(r"\\\\"), "\n"),
    (re.compile(r"\\[\[\]()]"), "\n"),
    (re.compile(r"\\[,;!: ]"), " "),
    (re.compile(r"\\([%$€£#&])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\^\{(-?[0-9]{1,6})\}"), r"^\1"),
    (re.compile(r"²"), "^2"),
    (re.compile(r"³"), "^3"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"[&`_]|(?<![0-9)\s])\*\*|\*\*(?![0-9(\s])|(?<=\s)\*\*(?=\S)"), ""),
    (re.compile(r"^\*\*", re.MULTILINE), ""),
    (re.compile(r"[$€£¥]"), ""),
    (re.compile(r"^[ \t]*(?:[-*+•]|[0-9]{1,2}[.)]|\([0-9]{1,2}\)|#+|>)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"\bmultiplied by\b|\btimes\b", re.IGNORECASE), "*"),
    (re.compile(r"\bdivided by\b", re.IGNORECASE), "/"),
    (re.compile(r"\bplus\b", re.IGNORECASE), "+"),
    (re.compile(r"\bminus\b", re.IGNORECASE), "-"),
    (re.compile(r"(?<=[0-9)]) ?[xX] ?(?=[0-9(.])|(?<=[A-Za-z]) x (?=[0-9(.])"), " * "),
    (re.compile(r"(?<=[0-9]) ?(?:%|percent) of (?=[0-9(.])"), "% * "),
    (
        re.compile(r"[ \t]{0,20}\n[ \t]{0,20}(?=[=≈])|(?<=[=≈])[ \t]{0,20}\n[ \t]{0,20}"),
        " ",
    ),
)

_TOKEN = re.compile(
    r"(?P<space>[ \t]+)"
    r"|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<other>[<>!:]=|={2,}|=>|≠|≤|≥)"
    r"|(?P<equal>=|≈)"
    r"|(?P<op>\*\*|[-+*/^])"
    r"|(?P<percent>%)"
    r"|(?P<open>\()|(?P<close>\))"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)"
    r"|(?P<soft>[.,;:!?](?=\s|$|[\"'”’])|[\n\"“”’'\]\[])"
    r"|(?P<hard>.)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    glued = False
    for match in _TOKEN.finditer(text):
        kind, word = str(match.lastgroup), match[0]
        if kind == "space":
            glued = False
            continue
        last = tokens[-1] if tokens and glued else None
        if last is not None and last.kind == "number":
            # `5m` may be a variable and `12:30` is no number; `5km` has its unit.
            if (kind == "word" and len(word) == 1) or kind == "number":
                kind = "hard"
        elif last is not None and last.kind == "word" and kind == "number":
            kind = "hard"
        tokens.append(_Token(kind, word, match.start()))
        glued = True
    return tokens


def _steps_of(written: _Text, rounding: bool) -> Iterator[Step]:
    for pattern, plain in _SIMPLE:
        written = written.replace(pattern, plain)
    text = written.text
    tokens = _tokenize(text)
    for index, token in enumerate(tokens):
        if token.kind != "equal":
            continue
        left = _left_side(tokens, index)
        right = _right_side(tokens, index)
        if left is None or right is None or not left.calculates:
            continue
        end = written.ends[right.end - 1]
        step = _step(left, right, token, end=end, rounding=rounding)
        if step is None or (not step.right and _is_taken_back(text, token.at, left, right)):
            continue
        yield step


@dataclass(frozen=True, slots=True)
class _Side:
    expression: str
    units: frozenset[str]
    percent: bool
    start: int
    end: int
    calculates: bool


def _left_side(tokens: Sequence[_Token], equal: int) -> _Side | None:
    """The expression that ends at a sign; None when it cannot be read without doubt."""
    start = equal
    while start > 0 and tokens[start - 1].kind in _INSIDE:
        start -= 1
    run = list(tokens[start:equal])
    before = tokens[start - 1] if start else None
    if before is not None and before.kind in ("hard", "other"):
        return None
    depth, cut = 0, 0
    for at in range(len(run) - 1, -1, -1):
        depth += {"close": 1, "open": -1}.get(run[at].kind, 0)
        if depth < 0:
            cut = at + 1  # an open parenthesis that is closed after the sign, if ever
            break
    return _side(run, cut)


def _side(run: list[_Token], cut: int) -> _Side | None:
    begin = cut
    operand = False
    words = 0
    doubtful = False
    for at in range(cut, len(run)):
        token = run[at]
        if token.kind == "word":
            if token.text.lower() in _CHANGES_MEANING or (operand and _is_variable(token)):
                doubtful = True
            elif operand and words < 3 and token.text.lower() not in _LINKS:
                words += 1
            else:
                broken = at > cut and run[at - 1].kind in ("op", "hard")  # `25 + his 1 dog`
                begin, operand, words = at + 1, False, 0
                still = doubtful and token.text.lower() in ("of", "the")  # `half of the 10`
                doubtful = broken or still or _is_variable(token)
            continue
        if token.kind in ("number", "open"):
            if operand:
                previous = run[at - 1]
                joined = previous.at + len(previous.text) == token.at
                if words == 0 and previous.kind != "percent":
                    if joined or previous.kind == "close" or _is_compound(run, at):
                        doubtful = True  # an implied product, or a mixed number
                    else:
                        begin, doubtful = at, False
                elif words:
                    begin, doubtful = at, False
                else:
                    doubtful = True
            operand = token.kind == "number"
            words = 0
        elif token.kind == "op":
            if not operand and at == begin and (token.text != "-" or begin > 0):
                doubtful = True  # `y - 5`: what stands before belongs to it
            operand, words = False, 0
        elif token.kind == "close":
            operand, words = True, 0
    kept = run[begin:]
    if doubtful or not kept or not operand:
        return None
    return _written(kept)


def _right_side(tokens: Sequence[_Token], equal: int) -> _Side | None:
    """The expression that follows a sign, up to where the text goes on."""
    kept: list[_Token] = []
    depth, operand, at = 0, False, equal + 1
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "hard":
            return None
        if token.kind in ("number", "open"):
            if operand:
                previous = tokens[at - 1]
                joined = previous.at + len(previous.text) == token.at
                if joined or _is_compound(tokens, at):
                    return None
                break
            operand = token.kind == "number"
            depth += token.kind == "open"
        elif token.kind == "close":
            if depth == 0:
                break
            depth, operand = depth - 1, True
        elif token.kind == "op":
            if not operand and token.text != "-":
                return None
            if operand and not _goes_on(tokens, at + 1):
                return _closed(kept, tokens, at)
            operand = False
        elif token.kind == "percent" and operand:
            pass
        elif token.kind == "word" and operand:
            if token.text.lower() in _CHANGES_MEANING or _is_variable(token):
                return None
            ahead = at
            while ahead < len(tokens) and tokens[ahead].kind == "word" and ahead - at < 3:
                if tokens[ahead].text.lower() in _LINKS:
                    break
                ahead += 1
            kept.append(token)
            if ahead < len(tokens) and tokens[ahead].kind == "op" and _goes_on(tokens, ahead + 1):
                kept.extend(tokens[at + 1 : ahead])
                at = ahead
                continue
            break
        else:
            break
        kept.append(token)
        at += 1
    if not kept or not operand or depth:
        return None
    return _written(kept)


def _closed(kept: list[_Token], tokens: Sequence[_Token], at: int) -> _Side | None:
    """`8*` and `8 -` at the end of a line close the number; before a word they are doubtful."""
    ends = at + 1 == len(tokens) or tokens[at + 1].kind == "soft"
    return _written(kept) if ends and kept else None


def _goes_on(tokens: Sequence[_Token], at: int) -> bool:
    if at < len(tokens) and tokens[at].text == "-":
        at += 1
    return at < len(tokens) and tokens[at].kind in ("number", "open")


def _is_compound(tokens: Sequence[_Token], at: int) -> bool:
    """A parenthesis or a fraction right after an operand: a product, or a mixed number."""
    following = [token.text for token in tokens[at + 1 : at + 2]]
    return tokens[at].kind == "open" or following == ["/"]


def _written(kept: Sequence[_Token]) -> _Side:
    parts: list[str] = []
    units = set()
    percent = False
    for token in kept:
        if token.kind == "word":
            unit = token.text.lower()
            units.add(unit.removesuffix("s") if len(unit) > 3 else unit)
        elif token.kind == "percent":
            percent = True
            if parts:
                parts[-1] = f"({parts[-1]}/100)"
        else:
            parts.append("0" + token.text if token.text.startswith(".") else token.text)
    calculates = any(token.kind == "op" for token in kept[1:])
    end = kept[-1].at + len(kept[-1].text)
    return _Side(" ".join(parts), frozenset(units), percent, kept[0].at, end, calculates)


def _step(left: _Side, right: _Side, sign: _Token, *, end: int, rounding: bool) -> Step | None:
    if left.percent and re.search(r"[-+]", left.expression):
        return None  # `50 + 10%` has two readings
    try:
        value = evaluate(left.expression)
        said = evaluate(right.expression) if _is_calculation(right) else _plain(right)
    except NotArithmetic:
        return None
    near = rounding or sign.text == "≈"
    is_right = _agrees(value, said, right, near=near, about=sign.text == "≈")
    if not is_right and right.percent:
        scaled = (value * 100, value / 100)
        is_right = any(_agrees(v, said, right, near=near, about=True) for v in scaled)
    if not is_right and _mixes_measures(left, right):
        return None
    text = f"{left.expression} {sign.text} {right.expression}"
    return Step(text=text[:MAX_SHOWN], end=end, value=value, said=said, right=is_right)


def _is_calculation(side: _Side) -> bool:
    return side.calculates or side.percent


def _plain(side: _Side) -> Fraction:
    digits = side.expression.replace(",", "").replace(" ", "")
    try:
        return Fraction(digits)
    except (ValueError, ZeroDivisionError):
        raise NotArithmetic(f"'{digits[:40]}' is not a number") from None


def _agrees(value: Fraction, said: Fraction, right: _Side, *, near: bool, about: bool) -> bool:
    if value == said:
        return True
    if not near or _is_calculation(right):
        return False
    digits = right.expression.replace(",", "").replace(" ", "").lstrip("-")
    places = len(digits.partition(".")[2])
    if places and sum(char.isdigit() for char in digits.lstrip("0.")) >= DOUBLE_DIGITS:
        noise = abs(value) / 10**DOUBLE_DIGITS  # of a double
        return bool(abs(value - said) <= noise)
    unit = Fraction(1, 10**places)
    if about and places == 0:
        unit = Fraction(10) ** (len(digits) - len(digits.rstrip("0")))
    elif places == 0:
        return False
    cut = places >= 2 and abs(said) <= abs(value) and abs(value - said) < unit
    return cut or abs(value - said) <= unit / 2


def _mixes_measures(left: _Side, right: _Side) -> bool:
    """`2 hours + 30 minutes = 150 minutes` is right in a way that is not read here."""
    before, after = left.units & _MEASURES, right.units & _MEASURES
    if (left.units | right.units) & _MAGNITUDES:
        return True
    sums = re.search(r"[-+]", left.expression)
    return len(before) > 1 if sums else bool(before and after - before)


def _is_taken_back(text: str, at: int, left: _Side, right: _Side) -> bool:
    """`2 + 2 = 5 is wrong` says that it is not so."""
    before = text[max(0, left.start - 40) : left.start]
    after = text[right.end : right.end + 40]
    return bool(_NOT_BEFORE.search(before) or _NOT_AFTER.match(after))


def _is_variable(token: _Token) -> bool:
    return len(token.text) == 1 and token.text not in "aAI"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_INSIDE = ("number", "op", "percent", "open", "close", "word")
_NOT_BEFORE = re.compile(
    r"\b(?:not|isn't|never|incorrect(?:ly)?|wrong(?:ly)?|mistaken(?:ly)?|instead of|false)\b"
    r"[^.\n]*$",
    re.IGNORECASE,
)
_NOT_AFTER = re.compile(
    r"[\s,\"'”)]*(?:(?:which|that|this)\s+)?(?:is|was|would be|are)?\s*"
    r"(?:not|n't|wrong|incorrect|false|untrue|a mistake|impossible)\b",
    re.IGNORECASE,
)
_LINKS = _words(
    "and or is are was were so then the a an in on at to from with by for but if as than "
    "that this he she it they we i you his her their our gives equals equal means leaves "
    "left makes because since which when where while after before into get gets has have had"
)
_CHANGES_MEANING = _words(
    "sin cos tan log ln sqrt exp abs max min floor ceil mod gcd lcm choose squared cubed "
    "half twice double triple thrice less more fewer percent percentage root square cube "
    "power third quarter remainder factorial over per"
)
_MAGNITUDES = _words("hundred thousand million billion trillion dozen score pair")
_MEASURES = _words(
    "second sec minute min hour hr day week month year foot feet inch inche yard mile meter "
    "metre centimeter cm mm km kilometer kg gram kilogram pound lb ounce oz liter litre ml "
    "milliliter gallon quart pint cup tablespoon teaspoon dollar cent quarter dime nickel "
    "penny pennie ton decade century degree"
)
