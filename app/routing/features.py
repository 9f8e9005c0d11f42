"""Features of a prompt that say whether several samples are worth their price.

Cheap counts on the text, linear in its length. They do not understand the prompt: a short factual
question that a model gets confidently wrong looks like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.base import AnswerContract, AnswerKind

READ_CHARS = 20_000
"""Only this much of a prompt is read: difficulty shows early, and the edge must stay cheap."""

_NUMBER = re.compile(r"\d[\d,.]*")
_OPERATOR = re.compile(r"(?<=[\d)\s])[-+*/×÷^=](?=[\s\d(])")
_LATEX = re.compile(r"\\[a-zA-Z]+|\$")
_WORD = re.compile(r"[^\W\d_]+")
_SMALL_TALK = re.compile(
    r"^\W*(hi|hello|hey|hiya|yo|good (morning|afternoon|evening|night)|thanks?|thank you( so much)?"
    r"|ok(ay)?|great|cool|nice|bye|goodbye|see you|how are you( doing)?( today)?|what'?s up|welcome"
    r"|who are you|ping|test)\b[\w\s,'!.?]{0,40}$",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"\b(prove|derive|solve|calculate|compute|how (many|much|long|far|old)|percent|probability"
    r"|average|total|remain(s|ing)?|left|each|twice|half|ratio|step by step)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|\b(python|function|javascript|sql|regex|algorithm|unit tests?)\b", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the router knows about a task before anything is drawn."""

    words: int
    numbers: int
    operators: int
    latex: int
    questions: int
    reasoning_words: int
    code: bool
    small_talk: bool
    answer_kind: AnswerKind
    verifiers: int
    """How many are attached."""
    decisive: bool
    """One of them can prove an answer."""


def read_features(
    prompt: str, contract: AnswerContract, *, verifiers: int, decisive: bool
) -> Features:
    text = prompt[:READ_CHARS]
    return Features(
        words=len(_WORD.findall(text)),
        numbers=len(_NUMBER.findall(text)),
        operators=len(_OPERATOR.findall(text)),
        latex=len(_LATEX.findall(text)),
        questions=text.count("?"),
        reasoning_words=len(_REASONING.findall(text)),
        code=_CODE.search(text) is not None,
        small_talk=len(text) <= 80 and _SMALL_TALK.match(text.strip()) is not None,
        answer_kind=contract.kind,
        verifiers=verifiers,
        decisive=decisive,
    )
