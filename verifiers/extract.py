"""Extraction: one completion → the one answer it commits to, by a named rule.

Rules of a kind are tried in a fixed order; the first that applies decides, also when it decides
that there is no answer. Two different committed answers by that rule are no answer, so listing
many values never pays. Nothing before the end of the thinking part counts. It does not look for
the answer that a reference would like: references are unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from verifiers.algebra.values import Policy, vote_key
from verifiers.arithmetic import find_question
from verifiers.base import Answer, AnswerContract, AnswerKind, Candidate
from verifiers.canonical import (
    MAX_PHRASE_CHARS,
    NotCanonical,
    calls_key,
    choice_key,
    date_key,
    json_key,
    quantity_key,
    read_last_quantity,
    read_quantity,
    text_key,
)
from verifiers.canonical.collections import (
    MAX_COLLECTION_CHARS,
    collection_key,
    split_items,
)
from verifiers.code_blocks import find_program, program_key
from verifiers.places import bullets, last_formula, only_formula, place, tagged
from verifiers.trimming import after_thinking, unfence_json

__all__ = [
    "DEFAULT_CHOICES",
    "EXTRACTOR_VERSION",
    "after_thinking",
    "extract_answer",
    "guess_contract",
    "known_rules",
    "lettered_options",
    "unfence_json",
]

EXTRACTOR_VERSION = "3"

MAX_CHARS = 50_000
"""Longest text, after the thinking part, in which an answer is looked for."""
MAX_PROMPT_CHARS = 8_000
"""Part of a prompt, its end, that is read for what kind of answer it wants."""
MAX_COMMITMENTS = 64
MAX_SHORT_TEXT = 200
MAX_WORDS_OF_FORMULA = 3
"""Runs of letters; more make a sentence. Commands of LaTeX are none."""
DEFAULT_CHOICES = tuple("ABCDEFGHIJ")

_LONGEST_TEXT: dict[AnswerKind, int] = {
    "math": MAX_PHRASE_CHARS,
    "set": MAX_COLLECTION_CHARS,
    "list": MAX_COLLECTION_CHARS,
}
"""Of kinds whose verifiers read the answer's text again: all that can have a key."""
_UNFINISHED = {"length": "truncated", "content_filter": "filtered", None: "unfinished"}


def extract_answer(candidate: Candidate, contract: AnswerContract) -> Answer:
    """The candidate's answer; its key is None, with a reason, when there is none."""
    kind = contract.kind
    if kind == "none":
        return Answer(kind=kind, rule=None, reason="free_text")
    if candidate.finish_reason in _UNFINISHED:
        return Answer(kind=kind, rule=None, reason=_UNFINISHED[candidate.finish_reason])
    if kind == "tool_calls":
        return _extract_calls(candidate)
    if kind == "json":
        return _extract_json(candidate.text, contract.rule)
    text = after_thinking(candidate.text)
    if text is None:
        return Answer(kind=kind, rule=None, reason="unfinished_thinking")
    if len(text) > MAX_CHARS:
        return Answer(kind=kind, rule=None, reason="too_long")
    if kind == "code":
        return _extract_program(text, contract.names)
    rules = _rules(contract)
    for name in rules if contract.rule == "auto" else (contract.rule,):
        find, read = rules.get(name) or _at_place(name, contract)
        phrases = find(text)
        if phrases:
            return _decide(kind, name, phrases, read)
    return Answer(kind=kind, rule=None, reason="no_answer")


def lettered_options(prompt: str) -> tuple[str, ...]:
    """The letters of a prompt's options, `A`, `B`, … in order; empty below two of them."""
    letters: list[str] = []
    for found in _OPTION.finditer(prompt[-MAX_PROMPT_CHARS:]):
        if found[1].upper() == chr(ord("A") + len(letters)):
            letters.append(found[1].upper())
    return tuple(letters) if 2 <= len(letters) <= 26 else ()


def guess_contract(prompt: str, system: str) -> AnswerContract:
    """What can be voted on for a task without verifiers. `none` when in doubt."""
    prompt, system = prompt[-MAX_PROMPT_CHARS:], system[:MAX_PROMPT_CHARS]
    if find_question(prompt) is not None:
        return AnswerContract(kind="number")
    letters = lettered_options(prompt)
    if letters:
        return AnswerContract(kind="choice", choices=letters)
    if _PROSE_WISH.search(prompt):
        return AnswerContract()
    if "\\boxed" in prompt + system and _FORMULA_COMMAND.search(prompt):
        return AnswerContract(kind="math")
    if _NUMBER_WISH.search(prompt) or _asks_for_number(prompt):
        return AnswerContract(kind="number")
    if _SHORT_WISH.search(prompt) or _SHORT_WISH.search(system):
        return AnswerContract(kind="text")
    return AnswerContract()


Finder = Callable[[str], Sequence[str]]
Reader = Callable[[str], str]


def known_rules(kind: AnswerKind) -> tuple[str, ...]:
    """Names of the rules of a kind, in the order in which `auto` tries them."""
    return tuple(_rules(AnswerContract(kind=kind)))


def _rules(contract: AnswerContract) -> dict[str, tuple[Finder, Reader]]:
    """The rules of a kind by name, in the order in which `auto` tries them."""
    read = _reader(contract)
    if contract.kind == "number":
        return {
            "boxed_last": (_boxes, read),
            "tagged": (tagged, read),
            "hash": (_hashes, read),
            "answer_line": (_number_lines, read),
            "last_number": (
                _last_lines,
                lambda line: quantity_key(
                    *read_last_quantity(line, contract.percent, contract.units)
                ),
            ),
        }
    if contract.kind == "math":
        return {
            "boxed_last": (_long_boxes, read),
            "tagged": (tagged, read),
            "hash": (_hashes, read),
            "answer_line": (_math_lines, read),
            "last_formula": (last_formula, read),
            "whole": (_short_formula, read),
        }
    if contract.kind == "choice":
        choices = contract.choices or DEFAULT_CHOICES
        return {
            "answer_line": (_choice_lines, read),
            "boxed_last": (_boxes, lambda phrase: choice_key(_unbox(phrase), choices)),
            "tagged": (tagged, read),
            "lone_letter": (
                lambda text: _lone_labels(text, choices),
                lambda label: choice_key(label, choices),
            ),
        }
    if contract.kind in ("set", "list"):
        return {
            "boxed_last": (_long_boxes, read),
            "tagged": (tagged, read),
            "hash": (_hashes, read),
            "answer_line": (_text_lines, read),
            "bullets": (bullets, read),
            "whole": (_short_text, read),
        }
    if contract.kind == "date":
        return {
            "boxed_last": (_boxes, lambda phrase: read(_unbox(phrase))),
            "tagged": (tagged, read),
            "answer_line": (_text_lines, read),
            "whole": (_short_text, read),
        }
    return {
        "answer_line": (_text_lines, read),
        "tagged": (tagged, read),
        "whole": (_short_text, read),
    }


def _reader(contract: AnswerContract) -> Reader:
    """How a phrase of this kind becomes a key."""
    if contract.kind == "number":
        return lambda phrase: quantity_key(*read_quantity(phrase, contract.percent, contract.units))
    if contract.kind == "math":
        policy = Policy(percent=contract.percent, units=contract.units, order=contract.order)
        return lambda phrase: vote_key(phrase, policy)
    if contract.kind == "choice":
        return lambda phrase: _choice(phrase, contract.choices or DEFAULT_CHOICES)
    if contract.kind in ("set", "list"):
        ordered = contract.kind == "list" and contract.order == "same"
        dedup = contract.kind == "set" or contract.dedup
        return lambda phrase: collection_key(
            split_items(phrase, contract.separator), ordered=ordered, dedup=dedup
        )
    if contract.kind == "date":
        return lambda phrase: date_key(phrase, contract.day_order)
    return text_key


def _at_place(rule: str, contract: AnswerContract) -> tuple[Finder, Reader]:
    """A rule that any kind knows by name; an unknown one finds nothing."""
    return place(rule) or _nowhere, _reader(contract)


def _nowhere(text: str) -> Sequence[str]:
    return []


def _decide(kind: AnswerKind, rule: str, phrases: Sequence[str], read: Reader) -> Answer:
    """One answer from the phrases that a rule found; different readings are a conflict."""
    if len(phrases) > MAX_COMMITMENTS:
        return Answer(kind=kind, rule=rule, reason="conflicting_answers")
    keys: dict[str | None, str] = {}
    reason = "conflicting_answers"
    for phrase in phrases:
        try:
            keys[read(phrase)] = phrase
        except NotCanonical as refused:
            keys[None], reason = phrase, refused.reason
    if len(keys) > 1:
        return Answer(kind=kind, rule=rule, reason="conflicting_answers")
    ((key, phrase),) = keys.items()
    return Answer(
        kind=kind,
        rule=rule,
        text=phrase.strip()[: _LONGEST_TEXT.get(kind, MAX_SHORT_TEXT)],
        key=key,
        reason=reason if key is None else "",
    )


def _extract_calls(candidate: Candidate) -> Answer:
    if not candidate.tool_calls:
        return Answer(kind="tool_calls", rule=None, reason="no_answer")
    try:
        key = calls_key(candidate.tool_calls)
    except NotCanonical as refused:
        return Answer(kind="tool_calls", rule="calls", reason=refused.reason)
    text = "; ".join(f"{call.name}({call.arguments})" for call in candidate.tool_calls)
    return Answer(kind="tool_calls", rule="calls", text=text[:MAX_SHORT_TEXT], key=key)


def _extract_program(text: str, names: Sequence[str]) -> Answer:
    found = find_program(text, names)
    if found is None:
        return Answer(kind="code", rule=None, reason="no_answer")
    key = program_key(found.source)
    return Answer(kind="code", rule=found.rule, text=found.source[:MAX_SHORT_TEXT], key=key)


def _extract_json(text: str, rule: str) -> Answer:
    """`whole` is the text as it stands; `lone_fence` also takes a fence or a thinking part off."""
    if rule == "lone_fence":
        text = after_thinking(text) or ""
        inside = unfence_json(text)
        if inside is not None:
            return _decide("json", "lone_fence", [inside], json_key)
    return _decide("json", "whole", [text], json_key)


def _long_boxes(text: str) -> Sequence[str]:
    return _boxes(text, MAX_PHRASE_CHARS)


def _boxes(text: str, longest: int = MAX_SHORT_TEXT * 2) -> Sequence[str]:
    """Contents of every `\\boxed{…}`, braces matched."""
    found: list[str] = []
    for index, start in enumerate(_BOX.finditer(text)):
        if index > MAX_COMMITMENTS:
            return [""] * (MAX_COMMITMENTS + 1)
        depth, at = 1, start.end()
        for brace in _BRACE.finditer(text, at, at + longest):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                inside = text[at : brace.start()]
                found += [] if _BOX.search(inside) else [inside]
                break
        else:
            found.append("")
    return found


def _unbox(phrase: str) -> str:
    return _WRAPPING.sub(r"\1", phrase)


def _hashes(text: str) -> Sequence[str]:
    return [found[1] for found in _HASH.finditer(text)]


def _number_lines(text: str) -> Sequence[str]:
    """Answer lines that hold a digit: `The answer is below.` commits to nothing."""
    lines = _lines(text, _NUMBER_LABEL)
    return [line for line in lines if _DIGIT.search(_FULL_STOP.split(line, maxsplit=1)[0])]


def _math_lines(text: str) -> Sequence[str]:
    lines = (only_formula(line) for line in _lines(text, _NUMBER_LABEL))
    return [line for line in lines if line.strip(" .:")]


def _last_lines(text: str) -> Sequence[str]:
    """The last line that holds a digit."""
    for line in reversed(text.split("\n")):
        if _DIGIT.search(line):
            return [line]
    return []


def _choice_lines(text: str) -> Sequence[str]:
    found = [*_lines(text, _LABEL), *_PICK.findall(text), *_IS_RIGHT.findall(text)]
    return [line for line in found if line.strip()]


def _text_lines(text: str) -> Sequence[str]:
    lines = (_EMPHASIS.sub("", line) for line in _lines(text, _LABEL))
    lines = (_SENTENCE_END.split(line, maxsplit=1)[0] for line in lines)
    return [line for line in lines if line.strip(" .")]


def _lines(text: str, label: re.Pattern[str]) -> Iterable[str]:
    """The rest of every line after `Answer:` or `the answer is`."""
    for pattern in (label, _SAID):
        for found in islice(pattern.finditer(text), MAX_COMMITMENTS + 1):
            yield _BOXED.sub(r"\1", text[found.end() :][:MAX_SHORT_TEXT].split("\n", 1)[0])


def _choice(phrase: str, choices: Sequence[str]) -> str:
    """The label that a phrase begins with; letters inside running text are not labels."""
    text = phrase.strip(" \t*_`\"'$")
    for choice in sorted(choices, key=len, reverse=True):
        if text.rstrip(".!").casefold() == choice.casefold():
            return choice
    started = _LETTER_START.match(text)
    if started is None:
        return choice_key(_CLAUSE.split(text, maxsplit=1)[0], choices)
    bare = started["bare"]
    rest = text[started.end() :]
    if bare is not None and (bare.islower() or _is_article(bare, rest)):
        raise NotCanonical("not_a_choice")
    if _MORE_LETTERS.match(rest):
        raise NotCanonical("ambiguous")
    return choice_key(bare or started["fenced"], choices)


def _is_article(letter: str, rest: str) -> bool:
    """`A plane` and `I think` begin with a word, `A because` with a label."""
    return letter in "AI" and re.match(r" (?!because|since|as |is )[a-z]", rest) is not None


def _lone_labels(text: str, choices: Sequence[str]) -> Sequence[str]:
    """The whole text, or the label it begins with; an option list gives all of its labels."""
    whole = text.strip(" \t\n.*_`\"'()")
    if len(whole) <= 40 and any(whole.casefold() == choice.casefold() for choice in choices):
        return [whole]
    first = _LINE_LABEL.match(text)
    if first is None:
        return []
    return [found[1] or found[2] for found in _LINE_LABEL.finditer(text)] + _INLINE.findall(text)


def _short_text(text: str) -> Sequence[str]:
    return [text] if 0 < len(text) <= MAX_SHORT_TEXT and "\n" not in text else []


def _short_formula(text: str) -> Sequence[str]:
    """A short text that is not a sentence."""
    return [] if len(_PLAIN_WORDS.findall(text)) > MAX_WORDS_OF_FORMULA else _short_text(text)


def _asks_for_number(prompt: str) -> bool:
    if not prompt.rstrip().endswith(("?", ".", ":")):
        return False
    if _HOW_MANY.search(prompt):
        return True
    return _QUANTITY.search(prompt) is not None and _DIGIT.search(prompt) is not None


_DIGIT = re.compile(r"[0-9０-９]")

_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_BRACE = re.compile(r"(?<!\\)[{}]")
_BOXED = re.compile(r"\$?\\boxed\s?\{([^{}]{0,200})\}\$?")
_WRAPPING = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s?\{([^{}]{0,200})\}")
_HASH = re.compile(r"^[ \t]{0,8}####[ \t]{0,8}([^\n]{1,200})", re.MULTILINE)

_LABEL_START = r"^[ \t>#*_-]{0,12}(?:(?:final|correct|short|my|the)[ \t]){0,2}"
_LABEL_END = r"[ \t*_]{0,6}(?:[:=]|\*{0,2}[ \t]{0,4}(?=\n))[ \t*_]{0,6}\n{0,2}[ \t]{0,8}"
_LABEL = re.compile(rf"{_LABEL_START}(?:answer|ans){_LABEL_END}", re.IGNORECASE | re.MULTILINE)
_NUMBER_LABEL = re.compile(
    rf"{_LABEL_START}(?:answer|ans){_LABEL_END}|^[ \t]{{0,4}}A:[ \t]{{0,4}}",
    re.IGNORECASE | re.MULTILINE,
)
_SAID = re.compile(
    r"\b(?:answer|correct option|correct choice|right option|best option)"
    r"(?:[ \t](?:to|for)[ \t][^\n]{1,60}?)?"
    r"[ \t]{1,3}(?:is|would be|must be|should be|equals)\b[ \t]{0,3}(?:that\b|simply\b|just\b)?"
    r"[ \t:*]{0,6}(?:\n{1,2}[ \t]{0,8}(?=[\\$0-9(*]))?",
    re.IGNORECASE,
)
_PICK = re.compile(
    r"\b(?:[Pp]ick|[Cc]hoose|[Ss]elect|[Gg]o with|[Oo]pt for)[ \t](?:option[ \t])?"
    r"(\([A-Za-z]\)|[A-Z]\b(?!'))"
)
_IS_RIGHT = re.compile(
    r"\b[Oo]ption[ \t](\([A-Z]\)|[A-Z])(?=[ \t]is[ \t](?:the[ \t])?(?:correct|right|best)\b)"
)
_LETTER_START = re.compile(
    r"(?:option|choice|letter)?[ \t]?(?:[(\[](?P<fenced>[A-Za-z])[)\]]"
    r"|(?P<bare>[A-Za-z])(?![\w'’]))",
    re.IGNORECASE,
)
_MORE_LETTERS = re.compile(r"[ \t]?(?:or|and|/|,|&)[ \t]?(?:[(\[][A-Za-z][)\]]|[A-Z]\b(?!'))")
_CLAUSE = re.compile(r"[.,;:!](?:\s|$)|\s(?:because|since|as|which)\b", re.IGNORECASE)
_LINE_LABEL = re.compile(
    r"^[ \t*_]{0,6}(?:[(\[]([A-Za-z])[)\]]|([A-Z])[).:])(?=[\s*_]|$)", re.MULTILINE
)
_INLINE = re.compile(r"\(([A-Z])\)")
_PLAIN_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]+(?![A-Za-z])")
_EMPHASIS = re.compile(r"(?<!\w)(?:\*\*|__)|(?:\*\*|__)(?!\w)")
_FULL_STOP = re.compile(r"[.!?](?:\s|$)")
_SENTENCE_END = re.compile(r"(?<=\w\w\w)[.!;](?:\s|$)|,?\s(?:because|since|which)\b")

_OPTION = re.compile(r"(?:^|[\s(\[])([A-Za-z])[).\]:](?=\s?\S)", re.MULTILINE)
_PROSE_WISH = re.compile(
    r"(?:^|[.!?:\n]\s{0,3})(?:please |(?:can|could|would) you (?:please )?)?"
    r"(?:write|compose|draft|translate|summari[sz]e|describe|list|recommend|suggest|create|implement"
    r"|generate|explain(?! (?:your|the) (?:reasoning|answer|steps|work)))\b",
    re.IGNORECASE,
)
_ONLY = r"(?:answer|reply|respond|output|return|give)[^.\n]{0,30}"
_NUMBER_WISH = re.compile(
    rf"\b{_ONLY}\b(?:number|integer|digits?)\b|####|\\boxed|\bas an? (?:number|integer|fraction)\b",
    re.IGNORECASE,
)
_FORMULA_COMMAND = re.compile(r"\\(?!boxed)(?:[a-zA-Z]{2,}|[(\[{])")
_SHORT_WISH = re.compile(
    r"\b(?:in|with|using) (?:just |only )?(?:one|a single|1) word\b|\bone[- ]word answer\b"
    r"|\b(?:answer|reply|respond|output|return|give)[^.\n]{0,20}\b(?:only|just)\b[^.\n]{0,40}"
    r"|\b(?:answer|reply|respond) (?:with|by) [^.\n]{0,40}\b(?:only|alone|nothing else)\b"
    r"|\b(?:answer|reply|respond)(?: with)? ['\"]?yes['\"]? or ['\"]?no\b"
    r"|\b(?:the )?(?:name|city|country|word|date|year) only\b",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(r"\bhow many\b", re.IGNORECASE)
_THING = (
    r"(?:sum|product|difference|total|average|mean|median|area|perimeter|volume|probability"
    r"|percent(?:age)?|remainder|value|cost|price|speed|distance|salary|profit|number|maximum"
    r"|minimum|weights?|half|age|score|time|depth)"
)
_QUANTITY = re.compile(
    r"\bhow (?:much|old|far|long|tall|fast|heavy)\b"
    r"|\bwhat (?:percent(?:age)?|speed|fraction|number)\b"
    rf"|\bwhat(?: is|'s| was| will| are)\b[^.?\n]{{0,80}}\b{_THING}\b"
    rf"|\b(?:find|calculate|compute|determine)\b[^.?\n]{{0,80}}\b{_THING}\b",
    re.IGNORECASE,
)
