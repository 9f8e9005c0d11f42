"""What the record's short words mean, in sentences that a newcomer understands.

Statuses and reasons stay words of the record; this module only explains them. A code that it does
not know is shown as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.group import Group, Tally
from app.plan import Plan
from app.sample import Scored
from app.ui.shown import show_line, show_ms, show_percent
from app.voting.tally import can_vote, is_proven
from verifiers.base import Status
from verifiers.compose import is_refuted


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A state as icon and word, so that colour never carries it alone."""

    kind: str
    """Names the icon and the colour: a decision status, `failed`, or a verdict status."""
    word: str
    """What is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One named number or word."""

    name: str
    value: str
    help: str = ""
    """What it means, where the name does not say it."""


BADGES = {
    kind: Badge(kind=kind, word=word)
    for kind, word in (
        ("verified", "Verified"),
        ("agreed", "Agreed"),
        ("unverified", "Unverified"),
        ("held", "Held"),
        ("failed", "Failed"),
        ("pass", "Pass"),
        ("fail", "Fail"),
        ("abstain", "Abstain"),
        ("error", "Error"),
        ("missing", "Not run"),
    )
}

ROUTES = {
    "off": "Verification was switched off for this request, so one sample answered it.",
    "easy": "Judged easy, so one sample was asked for.",
    "hard": "Judged hard, so several samples are drawn and compared.",
}

ROLES = {
    "gate": "must pass",
    "policy": "must pass",
    "outcome": "judges the answer",
    "process": "judges the steps",
    "judge": "an opinion of a model",
}

_NO_ANSWER = {
    "no_answer": "no answer was found in the text",
    "conflicting_answers": "it gives several answers that contradict each other",
    "truncated": "it was cut by the token limit",
    "filtered": "it was stopped by a content filter",
    "unfinished": "it never ended",
    "unfinished_thinking": "it was still thinking when it ended",
    "too_long": "it is too long to look for an answer in it",
    "free_text": "free prose has no single answer to vote on",
    "cancelled": "it was cancelled before it ended, because it was no longer needed",
    "not_needed": "it was not judged, because the answer was already settled",
    "no_program": "a program was asked for, and none was written",
    "no_output": "its program printed nothing",
    "program_raised": "its program failed",
    "time_limit": "its program took too long",
    "timeout": "its program took too long",
    "sandbox_unavailable": "its program could not be run safely here",
}

_DEGRADED = {
    "samples": "Some samples could not be drawn; the answer rests on the others.",
    "cache": "The cache was away and was bypassed.",
    "store": "The trace could not be stored at once.",
    "deadline": "The deadline passed; the answer rests on the samples that had ended.",
    "engine": "The model server failed; the answer rests on the samples that had ended.",
    "fallback": "The fallback was asked and gave nothing better; the first model's answer stands.",
    "policy": "The active policy cannot be loaded, so the one before it answered.",
}

_ALTERED = {
    "nul": "NUL characters are kept as ␀.",
    "bad_unicode": "Broken characters are kept as �.",
    "content_dropped": "The texts were dropped, because there was no room to keep them.",
}


def status_of(group: Group) -> str:
    """The word of the list and the verdict bar: a decision status, or `failed`."""
    if group.error is not None or group.decision is None:
        return "failed"
    return group.decision.status


def explain_status(group: Group) -> str:
    """Why the answer was believed, or why it was not."""
    if group.error is not None:
        return show_line(group.error.message, 500)
    winner = group.winner
    if winner is None:
        return "No sample ended, so there is nothing to serve."
    proof = [v.verifier for v in winner.verdicts if v.decisive and v.status is Status.PASS]
    status = status_of(group)
    if status == "verified":
        return f"Proven: {_names(proof)} checked this answer and passed it."
    if status == "agreed":
        return (
            "Nothing at hand could prove it, but the samples agree: the leading answer is "
            f"{_votes(group.tally.lead)} ahead."
        )
    held = "Held back for review. " if status == "held" else ""
    return held + _doubt(group, winner)


def explain_abstention(group: Group) -> str:
    """Why the answer was not sure enough for its route; empty when it was."""
    decision, promised = group.decision, group.plan.max_error
    if decision is None or not decision.abstained or promised is None:
        return ""
    promise = (
        f"This route promises that at most {show_percent(promised)} of what it serves is wrong"
    )
    if decision.confidence is None:
        return f"{promise}, and has too few labels to say how sure an answer is."
    if decision.threshold is None:
        return f"{promise}, and by its labels no vote is sure enough for that."
    return (
        f"{promise}, so it asks for a confidence of {show_percent(decision.threshold)}; "
        f"this answer has {show_percent(decision.confidence)}."
    )


def _doubt(group: Group, winner: Scored) -> str:
    refuting = [v.verifier for v in winner.verdicts if v.status is Status.FAIL]
    if refuting:
        return f"The best candidate did not pass {_names(refuting)}. Do not rely on it."
    if any(v.status is Status.ERROR for v in winner.verdicts):
        return "A verifier could not do its work, so nothing was proven."
    if abstention := explain_abstention(group):
        return abstention
    if winner.answer.kind == "none":
        return "Free prose: there is no single answer to check or to vote on."
    if group.plan.cap == 1:
        return "One sample, and nothing that could prove it."
    return "The samples did not agree clearly enough, and nothing could prove an answer."


_CACHED = {
    "hit": "a verified answer to the same request was in the cache",
    "negative": "the same request was tried with as many samples shortly before, and no answer "
    "could be verified",
    "reverified": "an answer that older versions had verified was checked anew, and passed",
    "near": "a verified answer to another wording was checked on this one, and passed",
}


def cache_word(group: Group) -> str:
    """How an answer came from the cache: `hit`, or what makes it a special one."""
    for word in ("coalesced", "negative", "reverified", "near"):
        if getattr(group.cache, word):
            return word
    return "hit"


def explain_stop(group: Group) -> str:
    """Why no more samples were drawn."""
    if group.cache.hit and group.cache.coalesced:
        return "Nothing was drawn: an equal request was running, and its answer was shared."
    if group.cache.hit:
        return f"Nothing was drawn: {_CACHED[cache_word(group)]}."
    if group.decision is None:
        return "Nothing was decided, because the request failed."
    return stop_sentence(group.plan, group.tally, group.decision.stop_reason)


def stop_sentence(plan: Plan, tally: Tally, reason: str) -> str:
    """Why a stage with this plan and these votes drew no more."""
    ahead = _votes(tally.lead)
    sentences = {
        "": "Drawing was broken off.",
        "verified": "Drawing stopped because a sample was proven right; more could not change it.",
        "margin": f"Drawing stopped because the leading answer was {ahead} "
        f"ahead, and a lead of {plan.margin} was asked for.",
        "two_kinds": f"Drawing stopped because a text and a program gave the leading answer, which "
        f"was {ahead} ahead.",
        "adaptive": "Drawing stopped because the leading answer is the most frequent one with a "
        "probability of at least 95 %.",
        "window": "Drawing stopped because a whole window of samples in a row agreed.",
        "certified": "Drawing stopped because the leading answer is certified to be the most "
        "frequent one; that does not make it right.",
        "ahead": f"Drawing stopped because the leading answer was {ahead} ahead, and the samples "
        f"left to the cap of {plan.cap} could not overtake it.",
        "single": "One sample was asked for, and nothing spoke against it.",
        "cap": f"Drawing stopped at the cap of {plan.cap} samples.",
        "samples": "Drawing stopped because no more samples came.",
        "engine": "Drawing stopped because the model server failed.",
        "deadline": f"Drawing stopped at the deadline of {show_ms(plan.deadline_ms)}.",
    }
    return sentences.get(reason, f"Drawing stopped: {show_line(reason)}.")


_SCORERS = {
    "length": ("longer", "shorter"),
    "logprob": ("likelier", "less likely"),
    "verifiers": ("better scored", "worse scored"),
}


def explain_weights(group: Group) -> str:
    """Why votes do not weigh the same; empty where they do."""
    weights, weighed = group.plan.weights, group.tally.weights
    if weights is None or not weighed:
        return ""
    word = _SCORERS[weights.scorer][weights.slope < 0]
    totals = ", ".join(f"{show_line(key, 60)}: {round(total, 1):g}" for key, total in weighed)
    return (
        f"Votes weigh by {weights.scorer}, because on this route the {word} of a right and a wrong "
        f"sample was the right one {show_percent(weights.auc)} of the time "
        f"({weights.questions} labelled questions): {totals}."
    )


def explain_tie(group: Group) -> str:
    """How equal votes were settled; empty when there was no tie."""
    if not group.tally.votes or group.tally.leader is not None:
        return ""
    return (
        "The first answers have equally many votes. A tie goes to the higher verifier score, then "
        "the higher mean logprob, then the shorter text, then the earlier sample; never to chance."
    )


def why_no_vote(scored: Scored, *, proven: bool) -> str:
    """Why this sample did not vote; empty when it did.

    `proven`: whether any sample of the group was proven, after which only proven ones vote.
    """
    sample = scored.sample
    if is_proven(scored) or (can_vote(scored) and not proven):
        return ""
    ends = {None: "unfinished", "length": "truncated", "content_filter": "filtered"}
    reason = "cancelled" if sample.cancelled else ends.get(sample.finish_reason, "")
    if reason or scored.answer.key is None:
        reason = reason or scored.answer.reason or "no_answer"
        word, _, detail = reason.partition(": ")
        said = _NO_ANSWER.get(word, show_line(word.replace("_", " ")))
        return f"{said} ({show_line(detail, 60)})" if detail else said
    if is_refuted(scored.verdicts):
        refuting = [v for v in scored.verdicts if is_refuted([v])]
        return f"{_names([v.verifier for v in refuting])} refuted it"
    return "another sample was proven, and then only proven samples vote"


def explain_degraded(word: str) -> str:
    return _DEGRADED.get(word, show_line(word))


def explain_altered(word: str) -> str:
    """What the store changed before it could keep the trace."""
    return _ALTERED.get(word, show_line(word))


def _votes(count: float) -> str:
    """Weighed votes are no whole number."""
    return "1 vote" if count == 1 else f"{round(count, 1):g} votes"


def _names(names: list[str]) -> str:
    unique = [show_line(name) for name in dict.fromkeys(names)]
    if len(unique) < 2:
        return "".join(unique) or "a verifier"
    return ", ".join(unique[:-1]) + " and " + unique[-1]
