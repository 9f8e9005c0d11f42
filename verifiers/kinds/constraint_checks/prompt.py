"""Constraints that a prompt states outright, found in its own words.

Only plain commands to the writer are taken: a sentence that asks, quotes, hedges or speaks about
another text gives nothing, and whatever follows a given text's beginning is that text. Rather ten
constraints missed than one wrongly attached: a wrong one would fail right answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from verifiers.kinds.constraint_checks.lists import listed

MAX_PROMPT_CHARS = 2_000
"""A longer prompt is mostly a given text and is left alone."""
MAX_FOUND = 20

Found = dict[str, Any]


def find_constraints(prompt: str) -> list[Found]:
    """Instructions with their arguments, in the form of the verifier's option; none when unsure."""
    if len(prompt) > MAX_PROMPT_CHARS or not _ANY_CUE.search(prompt):
        return []
    found: list[Found] = []
    for sentence in _commands(prompt):
        for pattern, read in _RULES:
            for match in pattern.finditer(sentence):
                given = read(match)
                if given is not None and given not in found:
                    found.append(given)
    return found if len(found) <= MAX_FOUND and not _contradict(found) else []


def _commands(prompt: str) -> Iterable[str]:
    """The sentences that may command: none after a given text begins, no question, no doubt."""
    head = _GIVEN_TEXT.split(prompt, maxsplit=1)[0]
    for sentence in _SENTENCE.split(head.replace("“", '"').replace("”", '"')):
        if sentence.rstrip().endswith("?") or _DOUBT.search(sentence):
            continue
        yield sentence.strip()


def _contradict(found: list[Found]) -> bool:
    """Two readings of one thing: the prompt is about several texts, or says it twice."""
    ids = [(given["id"], given.get("relation"), given.get("keyword")) for given in found]
    return len(set(ids)) < len(ids) or {
        "change_case:english_capital",
        "change_case:english_lowercase",
    } <= {given["id"] for given in found}


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBER_WORDS.index(text.lower())


def _counted(id: str, name: str) -> Callable[[re.Match[str]], Found | None]:
    def read(match: re.Match[str]) -> Found | None:
        relation, more = _RELATION_OF[" ".join(match["relation"].lower().split())]
        return {"id": id, "relation": relation, name: _number(match["number"]) + more}

    return read


def _plain(id: str) -> Callable[[re.Match[str]], Found | None]:
    return lambda match: {"id": id}


def _exactly(id: str, name: str) -> Callable[[re.Match[str]], Found | None]:
    return lambda match: {"id": id, name: _number(match["number"])}


def _end_phrase(match: re.Match[str]) -> Found | None:
    return {"id": "startend:end_checker", "end_phrase": match["phrase"].strip()}


def _postscript(match: re.Match[str]) -> Found | None:
    return {"id": "detectable_content:postscript", "postscript_marker": match["marker"].upper()}


def _letter_times(match: re.Match[str]) -> Found | None:
    relation, more = _RELATION_OF[" ".join(match["relation"].lower().split())]
    given: Found = {"id": "keywords:letter_frequency", "let_relation": relation}
    return {
        **given,
        "letter": match["letter"].lower(),
        "let_frequency": _number(match["number"]) + more,
    }


def _keywords(id: str, name: str) -> Callable[[re.Match[str]], Found | None]:
    def read(match: re.Match[str]) -> Found | None:
        before = match.string[: match.start()].rstrip().lower()
        if name == "keywords" and before.endswith((" not", "n't", "n’t", "never")):
            return None
        return {"id": id, name: _ONE_QUOTED.findall(match["list"])}

    return read


def _word_times(match: re.Match[str]) -> Found | None:
    relation, more = _RELATION_OF[" ".join(match["relation"].lower().split())]
    times = {"once": 1, "twice": 2}.get(match["number"].lower())
    frequency = (_number(match["number"]) if times is None else times) + more
    given: Found = {"id": "keywords:frequency", "relation": relation}
    return {**given, "keyword": match["word"].lower(), "frequency": frequency}


_NUMBER_WORDS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
)
_RELATION_OF = {
    "at least": ("at least", 0),
    "no fewer than": ("at least", 0),
    "no less than": ("at least", 0),
    "a minimum of": ("at least", 0),
    "more than": ("at least", 1),
    "less than": ("less than", 0),
    "fewer than": ("less than", 0),
    "under": ("less than", 0),
    "at most": ("less than", 1),
    "no more than": ("less than", 1),
    "a maximum of": ("less than", 1),
}
"""How a prompt says it → IFEval's relation and what is added to the number."""

_REL = r"(?P<relation>" + "|".join(key.replace(" ", r"\s+") for key in _RELATION_OF) + ")"
_NUM = r"(?P<number>\d{1,5}|" + "|".join(_NUMBER_WORDS[1:]) + ")"
_ALL_OF_IT = r"(?:response|answer|reply|output)"
_IT = rf"(?<!in )(?<!of )(?<!to )(?:your|the)\s+(?:whole\s+|entire\s+)?{_ALL_OF_IT}"
_WHOLE = rf"(?:your|the)\s+(?:whole|entire)\s+{_ALL_OF_IT}"
_HAS_TO = r"(?:must|should|has\s+to|needs\s+to)"
_HOLDS = rf"{_IT}\s+{_HAS_TO}\s+(?:contain|have|include)"
_SIZED = (
    rf"\b(?:{_IT}\s+{_HAS_TO}\s+(?:contain|have|be|use|include)"
    rf"|(?:answer|respond|reply)\s+(?:with|in|using))\s+{_REL}\s+{_NUM}\s+"
)
_NO_MORE_SAID = r"\b(?!\s+(?:in|per|each|all|that|which|with|of|about|or|ending|starting)\b)"
_CASED = (
    rf"\b{_IT}\s+(?:must|should)\s+(?:also\s+)?be\s+"
    r"(?:(?:written\s+)?in\s+english,?\s+(?:and\s+)?)?"
    r"(?:written\s+)?(?:in\s+)?"
)
_QUOTED = r"[\"'][^\"'\n]{1,40}[\"']"
_ONE_QUOTED = re.compile(r"[\"']([^\"'\n]{1,40})[\"']")
_LIST = rf"(?P<list>{_QUOTED}(?:(?:,\s*(?:and\s+)?|\s+and\s+){_QUOTED}){{0,9}})"


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Found | None]], ...] = (
    (
        _rule(rf"{_SIZED}words{_NO_MORE_SAID}"),
        _counted("length_constraints:number_words", "num_words"),
    ),
    (
        _rule(rf"{_SIZED}sentences{_NO_MORE_SAID}"),
        _counted("length_constraints:number_sentences", "num_sentences"),
    ),
    (
        _rule(
            r"\b(?:(?:do|must|should)\s+not|don['’]t|never|without|refrain\s+from|avoid)\s+"
            r"(?:(?:use|using|contain|containing|include|including|the\s+use\s+of)\s+)"
            r"(?:any\s+)?commas?\b(?=\s*(?:[.!;\n]|$|,|and\b|in\s+(?:your|the)\s+"
            r"(?:entire\s+|whole\s+)?(?:response|answer|reply|output)\b))"
        ),
        _plain("punctuation:no_comma"),
    ),
    (
        _rule(rf"{_CASED}(?:all\s+)?lower\s?case(?:\s+letters?)?\b"),
        _plain("change_case:english_lowercase"),
    ),
    (
        _rule(rf"{_CASED}(?:all\s+)?(?:capital\s+letters|caps|upper\s?case(?:\s+letters)?)\b"),
        _plain("change_case:english_capital"),
    ),
    (
        _rule(
            rf"\b(?:wrap|put|enclose)\s+{_WHOLE}\s+(?:with|in|inside)\s+double\s+"
            r"quot(?:es|ation\s+marks)\b"
        ),
        _plain("startend:quotation"),
    ),
    (
        _rule(rf"\b{_HOLDS}\s+a\s+title,?\s+wrapped\s+in\s+double\s+angular\s+brackets"),
        _plain("detectable_format:title"),
    ),
    (
        _rule(
            rf"\b(?:wrap\s+{_WHOLE}\s+in\s+json|{_WHOLE}\s+(?:must|should)\s+be\s+"
            r"(?:wrapped\s+)?in\s+json)\b"
        ),
        _plain("detectable_format:json_format"),
    ),
    (
        _rule(rf"\b{_HOLDS}\s+exactly\s+{_NUM}\s+bullet\s+points\b"),
        _exactly("detectable_format:number_bullet_lists", "num_bullets"),
    ),
    (
        _rule(
            r"\bat\s+the\s+end\s+of\s+your\s+(?:response|answer|reply),?\s+(?:please\s+)?"
            r"(?:explicitly\s+)?add\s+a\s+postscript\s+starting\s+with\s+(?P<marker>P\.P\.S|P\.S\.)"
        ),
        _postscript,
    ),
    (
        _rule(
            r"\b(?:give|provide)\s+(?:me\s+)?(?:exactly\s+)?two\s+different\s+responses[^\n]{0,60}"
            r"separated?\s+by\s+6\s+asterisk"
        ),
        _plain("combination:two_responses"),
    ),
    (
        _rule(
            rf"\b(?:the\s+)?letter\s+[\"']?(?P<letter>[a-z])[\"']?\s+(?:must|should)\s+appear\s+"
            rf"{_REL}\s+{_NUM}\s+times\b"
        ),
        _letter_times,
    ),
    (
        _rule(rf"\binclude\s+(?:the\s+)?keywords?\s+{_LIST}\s+in\s+(?:your|the)\s+{_ALL_OF_IT}\b"),
        _keywords("keywords:existence", "keywords"),
    ),
    (
        _rule(
            rf"\bdo\s+not\s+(?:use|include)\s+(?:the\s+)?(?:keywords?|words?)\s+{_LIST}\s+in\s+"
            rf"(?:your|the)\s+{_ALL_OF_IT}\b"
        ),
        _keywords("keywords:forbidden_words", "forbidden_words"),
    ),
    (
        _rule(
            rf"\bhighlight\s+at\s+least\s+{_NUM}\s+(?:text\s+)?sections\s+(?:in|of)\s+your\s+"
            r"(?:answer|response|reply)\s+(?:with|in)\s+markdown\b"
        ),
        _exactly("detectable_format:number_highlighted_sections", "num_highlights"),
    ),
    (
        _rule(
            rf"\bat\s+least\s+{_NUM}\s+placeholders?\s+represented\s+(?:by|with|in)\s+square\s+"
            r"brackets\b"
        ),
        _exactly("detectable_content:number_placeholders", "num_placeholders"),
    ),
    (
        _rule(
            r"\b(?:finish|end)\s+your\s+(?:entire\s+|whole\s+)?(?:response|answer|reply)\s+with\s+"
            r"(?:this|the)\s+exact\s+phrase:?\s+\"(?P<phrase>[^\"\n]{3,200})\""
        ),
        _end_phrase,
    ),
    (
        _rule(
            r"\b(?:the\s+)?word\s+[\"']?(?P<word>[a-z]{2,30})[\"']?\s+(?:must|should)\s+appear\s+"
            rf"{_REL}\s+(?P<number>once|twice|(?:\d{{1,4}}|{'|'.join(_NUMBER_WORDS[1:])})(?=\s+times))\b"
        ),
        _word_times,
    ),
)

_ANY_CUE = _rule(
    r"\b(?:words|sentences|commas?|lower\s?case|capital|caps|upper\s?case|quot|title|json|bullet"
    r"|highlight|placeholders?|exact\s+phrase|appear|postscript|keywords?|two\s+different)"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_GIVEN_TEXT = re.compile(
    r"```|\"\"\"|<[a-zA-Z_]{1,30}>|^>|^-{3,}\s*$|\b(?:following|below|above|given)\b[^\n]{0,80}:\s"
    r"|\b(?:text|passage|email|article|essay|paragraph|sentence|document|review|code|prompt"
    r"|instructions?|rules?|example|context|transcript|message)s?(?:\s+(?:is|are))?:",
    re.IGNORECASE | re.MULTILINE,
)
_DOUBT = re.compile(
    r"\b(?:if|unless|either|ideally|preferably|about|around|approximately|roughly|optional(?:ly)?"
    r"|try|not\s+(?:necessary|required|needed)|need\s+not|needn['’]t|don['’]t\s+(?:have|need)"
    r"|does\s+not\s+(?:have|need)|says?|said|told|asked|whether|what|why|how|which|they|he|she|his"
    r"|her|their|my|each|every|per|except|first|second|third|last|one\s+of)\b",
    re.IGNORECASE,
)
