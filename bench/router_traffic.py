"""Planted traffic for the router: what is easy and what is hard is known, everything that decides
is the product's own code.

Every task has a stream of samples of its own, the same under every plan, so two runs over the same
traffic differ by their plans only. Time is simulated: a route learns a page of labels at a time,
as a gateway does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from app.group import Group
from app.plan import Draw, VerifierRef
from app.routing.examples import example_of
from app.routing.model import DifficultyModel, RouteModel, Standing
from app.routing.plan import make_plan
from app.sample import Sample, Scored
from app.settings import DefaultSettings
from app.task import Options, Task
from app.voting.decide import decide
from app.voting.stop import next_step, settled_by
from app.voting.tally import tally_votes
from verifiers.base import Answer, AnswerContract, Status, Verdict

RIGHT = "42"
WRONG = ("41", "40", "43", "7")
NAMES = ("Ann", "Bob", "Cem", "Dora", "Eli", "Fay", "Gus", "Hal")
THINGS = ("apples", "coins", "books", "stamps", "shells", "pens")
START = 1_790_000_000.0
EVERY_S = 20.0
"""Between two requests."""
LEARN_EVERY = 25
"""Requests between two looks at the log."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A task and how often one sample of it is right."""

    task: Task
    p_right: float
    is_hard: bool


@dataclass(frozen=True, slots=True)
class Lived:
    """What became of one request."""

    is_hard: bool
    standing: str
    route: str
    explored: bool
    asked: int
    """Samples asked for; some are cut off when the others have settled it."""
    samples: int
    """Samples that ended."""
    is_right: bool


def planted(
    count: int, *, seed: int, p_easy: float = 0.995, p_hard: float = 0.65, hard_share: float = 0.5
) -> Iterator[Planted]:
    draw = random.Random(seed)
    for number in range(count):
        is_hard = draw.random() < hard_share
        name, thing = draw.choice(NAMES), draw.choice(THINGS)
        a, b = draw.randint(2, 99), draw.randint(2, 99)
        prompt = (
            f"In how many ways can {name} arrange {a} {thing} in a circle so that no {b} "
            f"neighbours, counted modulo {a}, are alike?"
            if is_hard
            else f"{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have?"
        )
        task = Task(
            trace_id=f"chatcmpl-{seed}-{number:08d}",
            request_id="planted",
            received_at=START + EVERY_S * number,
            tenant="local",
            model="auto",
            alias="auto",
            engine="main",
            messages=({"role": "user", "content": prompt},),
            options=Options(),
        )
        yield Planted(task, p_hard if is_hard else p_easy, is_hard)


class Gateway:
    """Answers planted tasks and learns from them, or not."""

    def __init__(self, *, learns: bool, checked: bool, max_loss: float = 0.01) -> None:
        """`checked`: a decisive verifier looks at every sample; else people label every answer."""
        self.route = RouteModel()
        self.model: DifficultyModel | None = None
        self._learns = learns
        self._checked = checked
        self._max_loss = max_loss
        self._waiting: list[Group] = []

    @property
    def standing(self) -> Standing | None:
        return self.model.standing if self.model else None

    def answer(self, planted: Planted, *, policy: str = "smol") -> Lived:
        group, asked = self._draw(planted, policy)
        if self._learns:
            self._waiting.append(group)
            if len(self._waiting) == LEARN_EVERY:
                self._learn()
        router = next((str(r.value) for r in group.plan.reasons if r.feature == "router"), "")
        return Lived(
            is_hard=planted.is_hard,
            standing=router,
            route=group.plan.route,
            explored=group.plan.explored,
            asked=asked,
            samples=sum(s.sample.finish_reason is not None for s in group.scored),
            is_right=_said(group) == RIGHT,
        )

    def _draw(self, planted: Planted, policy: str) -> tuple[Group, int]:
        """The group and how many samples were asked for."""
        check = VerifierRef(
            name="number",
            version="1",
            config_hash="0" * 12,
            role="outcome",
            decisive=True,
            source="route",
        )
        plan = make_plan(
            planted.task,
            contract=AnswerContract(kind="number"),
            verifiers=(check,) if self._checked else (),
            policy=policy,
            defaults=DefaultSettings(),
            learned=self.model,
        )
        group, asked = Group.open(planted.task, plan), 0
        stream = random.Random(planted.task.trace_id)
        answers = [
            RIGHT if stream.random() < planted.p_right else stream.choice(WRONG)
            for _ in range(2 * plan.cap)
        ]
        while isinstance(step := next_step(group, seed=1), Draw):
            asked += step.n
            for place in range(step.n):
                index = step.first_index + place
                scored = self._score(index, step.round, answers[index])
                group = group.with_scored(scored)
                group = group.with_tally(tally_votes(group.current))
                if settled_by(group, in_flight=step.n - place - 1):
                    break
        return group.with_decision(decide(group, step.reason)), asked

    def _score(self, index: int, round: int, said: str) -> Scored:
        sample = Sample(
            index=index,
            round=round,
            call=0,
            choice=index,
            text=said,
            finish_reason="stop",
        )
        verdict = Verdict(
            verifier="number",
            version="1",
            config_hash="0" * 12,
            role="outcome",
            decisive=True,
            status=Status.PASS if said == RIGHT else Status.FAIL,
            score=float(said == RIGHT),
        )
        answer = Answer(kind="number", rule="last_number", text=said, key=said)
        return Scored(sample=sample, answer=answer, verdicts=(verdict,) if self._checked else ())

    def _learn(self) -> None:
        for group in self._waiting:
            right = _said(group) == RIGHT
            example = example_of(
                group,
                right=right,
                truth=RIGHT if right else None,
                source="verifier" if self._checked else "label",
            )
            if example is not None:
                self.route.learn(example)
        self._waiting.clear()
        version = self.model.version + 1 if self.model else 1
        self.model = self.route.to_model("default", version, max_loss=self._max_loss)


def _said(group: Group) -> str | None:
    return group.winner.answer.key if group.winner else None
