"""Other wordings of a question that was answered: candidates to be checked anew, never answers.

Off unless a route says `reuse = "near"`. A candidate must be of the same scope (tenant, model,
conversation, tools, kind of answer and verifiers), must have every number, unit, name, negation,
comparison, question word, symbol, quotation and option of the new prompt in the same order, and
four fifths of all words. That keeps pointless checks away; what makes a hit right is the decisive
verifier that passes it on the *new* prompt (app/reuse.py). Meaning is not understood here: a noun
in lower case may differ, and two prompts that say the same in other words are not found. Prompts in
other languages than English are found only when all their words are the same.

The index is of this process, bounded, and holds no answers: those stay in the cache.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from app.cache.near_words import FIXED_WORDS, NEGATIONS, OPENERS

MIN_SIMILARITY = 0.8
MOST_PROMPTS = 2_000
MOST_OF_A_KIND = 8
"""Prompts of one scope with the same fixed parts."""
LONGEST_PROMPT = 2_000
CANDIDATES = 2
ENGLISH_SHARE = 0.25
"""Share of words on the lists of near_words.py below which a prompt counts as not English."""


# Quotations and code, numbers, LaTeX commands, words (with inner marks, as in identifiers), signs.
_TOKEN = re.compile(
    r"```.*?```|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|‘[^’\n]*’|(?<!\w)'[^'\n]{1,40}'(?!\w)"
    r"|\d+(?:[.,:/]\d+)*"
    r"|\\[A-Za-z]+"
    r"|[^\W\d_](?:[\w'’.-]*\w)?|_\w+"
    r"|\S",
    re.DOTALL,
)
_OPTION = re.compile(
    r"^[ \t]*(?:[-*•]|[(\[]?(?:[A-Za-z]|\d{1,2}|[ivx]{1,4})[).\]:])[ \t]+\S.*$", re.M
)
_SENTENCE_MARKS = frozenset(".,;:?!'’…")


@dataclass(frozen=True, slots=True)
class Wording:
    """What of a prompt must be the same, and what may differ a little."""

    fixed: bytes
    """Digest of the fixed parts, in order."""
    words: frozenset[str]
    """All words in lower case, fixed ones too."""

    def similarity(self, other: Wording) -> float:
        """Jaccard's: shared words over all words, 0..1."""
        together = self.words | other.words
        return len(self.words & other.words) / len(together) if together else 1.0


def read_wording(prompt: str) -> Wording:
    """Pure; equal prompts give equal wordings, whatever their spacing and letter case.

    What is not recognisably English is fixed as a whole: these lists know no other language.
    """
    text = unicodedata.normalize("NFKC", prompt)
    tokens = list(_tokens(text))
    words = [token.word for token in tokens if token.is_word]
    known = sum(word in FIXED_WORDS or word in OPENERS for word in words)
    english = known >= ENGLISH_SHARE * len(words)
    options = [match.span() for match in _OPTION.finditer(text)]
    fixed = hashlib.sha256()
    for token in tokens:
        listed = any(start <= token.at < end for start, end in options)
        if listed or not english or token.is_fixed:
            # A name is itself only in its own letters; other words are not.
            kept = token.text if token.is_name else token.word
            fixed.update(kept.encode("utf-8", "surrogatepass") + b"\x1f")
    return Wording(fixed.digest(), frozenset(words))


class NearIndex:
    """Recently verified prompts and the exact keys of their answers, least recent out first."""

    def __init__(self, *, most: int = MOST_PROMPTS) -> None:
        self._most = most
        self._known: OrderedDict[tuple[str, bytes], deque[tuple[Wording, str]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, scope: str, prompt: str, key: str) -> None:
        """Remember that the entry under `key` answers this prompt."""
        if not scope or len(prompt) > LONGEST_PROMPT:
            return
        wording = read_wording(prompt)
        kin = self._known.setdefault((scope, wording.fixed), deque())
        self._known.move_to_end((scope, wording.fixed))
        for known in list(kin):
            if known[0] == wording:
                kin.remove(known)
                self._size -= 1
        kin.append((wording, key))
        self._size += 1
        if len(kin) > MOST_OF_A_KIND:
            kin.popleft()
            self._size -= 1
        while self._size > self._most:
            _, oldest = self._known.popitem(last=False)
            self._size -= len(oldest)

    def find(self, scope: str, prompt: str) -> tuple[str, ...]:
        """Exact keys of the answers that are worth checking on this prompt, nearest first."""
        if not scope or len(prompt) > LONGEST_PROMPT:
            return ()
        wording = read_wording(prompt)
        kin = self._known.get((scope, wording.fixed), ())
        scored = [(known.similarity(wording), key) for known, key in reversed(kin)]
        near = sorted((s for s in scored if s[0] >= MIN_SIMILARITY), key=lambda s: -s[0])
        return tuple(dict.fromkeys(key for _, key in near))[:CANDIDATES]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    word: str
    """In lower case, with plain apostrophes and single spaces."""
    at: int
    opens: bool
    """True at the beginning of a sentence."""
    after: str
    """The character before it; empty at the beginning."""

    @property
    def is_word(self) -> bool:
        return self.word[0].isalnum() or self.word[0] == "_"

    @property
    def is_fixed(self) -> bool:
        if not (self.word[0].isalpha() or self.word[0] == "_"):
            if self.text == "!":  # a factorial, or only loud
                return self.after == ")" or self.after.isdigit()
            return self.text not in _SENTENCE_MARKS  # numbers, operators, quotations, commands
        return (
            self.word in FIXED_WORDS
            or self.word.replace("'", "") in NEGATIONS
            or (len(self.word) == 1 and self.word not in "ai")
            or self.is_name
        )

    @property
    def is_name(self) -> bool:
        """A capitalised word that does not owe it to the sentence, an identifier, a quotation."""
        first, rest = self.text[0], self.text[1:]
        if not (first.isalpha() or first == "_"):
            return len(self.text) > 1
        if first == "_" or any(c.isupper() or c.isdigit() or c == "_" for c in rest):
            return True
        may_open = self.opens and (self.word in OPENERS or self.word in FIXED_WORDS)
        return first.isupper() and self.text != "I" and not may_open


def _tokens(text: str) -> Iterator[_Token]:
    opens, end = True, 0
    for match in _TOKEN.finditer(text):
        opens = opens or "\n" in text[end : match.start()]
        token, end = match.group(), match.end()
        word = " ".join(token.casefold().replace("’", "'").split())
        at = match.start()
        yield _Token(" ".join(token.split()), word, at, opens, text[at - 1] if at else "")
        if token in ".?!:":
            opens = True
        elif token not in _SENTENCE_MARKS:
            opens = False
