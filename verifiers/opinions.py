"""What a model thinks of a text: questions with few possible answers, put to it in two ways.

In words: JSON with reasons first, read strictly. By labels, where the model's server can read the
answer off the next token (`verifiers.base.Decides`): many times cheaper, without reasons. Both give
one word a question. A label that the model itself finds unlikely is not believed, and the whole
inquiry is put in words instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verifiers.base import Ask, Decides, Finding, Question, Status
from verifiers.fencing import BadReply, entries_schema, read_entries, read_reply

MIN_CONFIDENCE = 0.5
"""Below it the model rather wanted to say something else than any of the words."""
TOKENS_A_QUESTION = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Questions about one material."""

    brief: str
    """Who the model is and what it may not do with the material."""
    how: str
    """What comes first and what last in a reply in words."""
    parts: Sequence[str]
    """The material, fenced."""
    listing: str
    """The questions as text, for a reply in words."""
    field: str
    """Name of the list in such a reply, and of the word in its entries."""
    word: str
    questions: Sequence[Question]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.questions[0].words)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(question.id for question in self.questions)

    def messages(self) -> list[dict[str, str]]:
        """The inquiry as a chat."""
        shape = (
            f'{{"{self.field}": [{{"id": "…", "reasons": "…", "{self.word}": '
            f'"{"|".join(self.words)}"}}, …]}}'
        )
        asked = f"Reply with one entry for each of {', '.join(self.ids)}, as {shape}"
        parts = [*self.parts, *([self.listing] if self.listing else []), asked]
        return [
            {"role": "system", "content": f"{self.brief} {self.how} Reply with JSON only."},
            {"role": "user", "content": "\n\n".join(parts)},
        ]


@dataclass(frozen=True, slots=True)
class Opinion:
    """The answer to one question."""

    word: str
    reasons: str = ""
    """Empty when the word was read off a label."""
    confidence: float | None = None
    """Of the label; None for an answer in words."""


async def inquire(ask: Ask, inquiry: Inquiry) -> dict[str, Opinion]:
    """An opinion on every question, by id in their order.

    Raises `BadReply`, and whatever `ask` raises.
    """
    if isinstance(ask, Decides):
        read = await _by_labels(ask, inquiry)
        if read is not None:
            return read
    reply = await ask(
        inquiry.messages(),
        schema=entries_schema(inquiry.field, inquiry.ids, inquiry.word, inquiry.words),
        max_tokens=TOKENS_A_QUESTION * (len(inquiry.ids) + 1),
    )
    found = read_entries(read_reply(reply), inquiry.field, inquiry.ids, inquiry.word, inquiry.words)
    return {name: Opinion(found[name][1], found[name][0][:300]) for name in inquiry.ids}


def told(opinions: Mapping[str, Opinion]) -> dict[str, dict[str, object]]:
    """What evidence keeps of opinions: reasons in words, or how likely each label was."""
    kept: dict[str, dict[str, object]] = {}
    for name, opinion in opinions.items():
        if opinion.confidence is None:
            kept.setdefault("reasons", {})[name] = opinion.reasons
        else:
            kept.setdefault("confidence", {})[name] = round(opinion.confidence, 4)
    return kept


def no_opinion(raised: Exception) -> Finding:
    """The error that a verifier reports when its model gave no opinion."""
    if isinstance(raised, BadReply):
        evidence = {"why": str(raised)}
        return Finding(status=Status.ERROR, reason="bad_judge_reply", evidence=evidence)
    evidence = {"error": type(raised).__name__}
    return Finding(status=Status.ERROR, reason="judge_unavailable", evidence=evidence)


async def _by_labels(ask: Decides, inquiry: Inquiry) -> dict[str, Opinion] | None:
    """None when the inquiry is to be put in words."""
    material = "\n\n".join([inquiry.brief, *inquiry.parts])
    read = await ask.decide(material, inquiry.questions)
    if read is None or len(read) != len(inquiry.questions):
        return None
    paired = list(zip(inquiry.questions, read, strict=True))
    if any(
        decided.word not in question.words or not decided.confidence >= MIN_CONFIDENCE
        for question, decided in paired
    ):
        return None
    return {
        question.id: Opinion(decided.word, confidence=decided.confidence)
        for question, decided in paired
    }
