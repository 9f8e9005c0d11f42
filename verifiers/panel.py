"""The verifiers of a task, ready to judge, and what they say of one candidate: values only."""

from __future__ import annotations

from dataclasses import dataclass

from verifiers.base import (
    Answer,
    AnswerContract,
    Candidate,
    Prepared,
    Verdict,
    Verifier,
    VerifierSpec,
)

_NO_CONTRACT = AnswerContract()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One verifier, ready to judge the candidates of a task."""

    verifier: Verifier
    prepared: Prepared
    spec: VerifierSpec
    config_hash: str
    """First 12 hex digits of sha256 over the canonical JSON of the options."""
    weight: float = 1.0
    job: bytes | None = None
    """Pickled (name, options, check) for a worker; None when it runs inline."""
    fault: str = ""
    """Why it could not be prepared, through no fault of the client; its verdicts are `error`."""
    hidden: bool = False
    """True when the client may not learn which verifier this is."""
    canaries: tuple[Candidate, ...] = ()
    """Candidates that must not pass."""

    @property
    def contract(self) -> AnswerContract:
        """The answer that it reads; of kind `none` when it reads the whole candidate."""
        return self.prepared.contract or _NO_CONTRACT

    @property
    def watch_key(self) -> str:
        """What a passed canary puts out of use: the verifier, or a judge with this rubric."""
        own = f"/{self.config_hash}" if self.verifier.role == "judge" else ""
        return f"{self.verifier.name}/{self.verifier.version}{own}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """All verifiers of a task."""

    members: tuple[Member, ...] = ()

    def joined(self, other: Panel) -> Panel:
        """Both together, in this order."""
        return Panel(members=(*self.members, *other.members))

    @property
    def contract(self) -> AnswerContract | None:
        """What to vote on: by a decisive member, else an outcome member, else any; or None."""
        with_one = [member for member in self.members if member.prepared.contract is not None]
        with_one.sort(key=lambda m: (not m.prepared.decisive, m.verifier.role != "outcome"))
        return with_one[0].prepared.contract if with_one else None

    @property
    def decisive(self) -> bool:
        """True when a pass of one member would be proof."""
        return any(member.prepared.decisive for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about one candidate."""

    answer: Answer
    """By the vote contract."""
    verdicts: tuple[Verdict, ...] = ()
    """In the order of the panel."""
    reward: float | None = None
