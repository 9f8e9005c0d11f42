"""How much text of a group may be kept, applied before anything is written.

`full` keeps all. `redacted` replaces e-mail addresses, phone and card numbers and secrets in place.
`hash` keeps structure and equality, no text. `off` keeps neither. Below `full` token ids go too,
because they are text in another alphabet, and the group never trains.
Redaction knows these four kinds by their form; it does not recognise names or addresses. `hash` is
not secrecy for short answers: whoever guesses the text can compare.
Metadata and user hashes are the client's own labels and stay at every level.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from app.group import Group, Stage, Tally
from app.plan import Plan, Reason
from app.sample import Scored
from app.store.texts import map_texts
from app.task import ContentLevel, Options, Task

Change = Callable[[str], str]

_STRUCTURE = frozenset({"role", "type", "id", "tool_call_id"})
"""Keys whose string values are wire words, not content."""


def level_of(task: Task) -> ContentLevel:
    """The level that holds for a task: `store: false` keeps no content."""
    return "off" if task.store is False else task.content


def apply_content_level(group: Group) -> Group:
    """The group as it may be kept. Pure; applying it twice changes nothing more."""
    level = level_of(group.task)
    if level == "full":
        return group
    change = _CHANGES[level]
    name_key = _ordinals(group) if level == "off" else change
    error = group.error and dataclasses.replace(group.error, message=change(group.error.message))
    return dataclasses.replace(
        group,
        task=_task(group.task, level, change),
        plan=_plan(group.plan, change),
        scored=tuple(_scored(scored, level, change, name_key) for scored in group.scored),
        calls=tuple(dataclasses.replace(call, prompt_token_ids=None) for call in group.calls),
        tally=_tally(group.tally, name_key),
        earlier=tuple(_stage(stage, change, name_key) for stage in group.earlier),
        unused=group.unused and _stage(group.unused, change, name_key),
        error=error,
    )


def drop_content(group: Group) -> Group:
    """The group without content, because there was no room for it."""
    bare = apply_content_level(
        dataclasses.replace(group, task=dataclasses.replace(group.task, content="off"))
    )
    return dataclasses.replace(bare, altered=(*group.altered, "content_dropped"))


def redact(text: str) -> str:
    """Secrets, e-mail addresses, card and phone numbers become `[redacted:<kind>]`.

    Encoded media, into which it cannot look, becomes `[redacted:data]` as a whole.
    """
    if text.startswith("data:") or _BLOB.fullmatch(text):
        return "[redacted:data]"
    for kind, pattern in _PATTERNS:
        text = pattern.sub(f"[redacted:{kind}]", text)
    return _CARD.sub(lambda m: "[redacted:card]" if _is_card(m.group()) else m.group(), text)


def hash_text(text: str) -> str:
    """`sha256:<hex>`; an empty text stays empty and a hash stays itself."""
    if not text or _HASHED.fullmatch(text):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_HASHED = re.compile(r"sha256:[0-9a-f]{64}")
_BLOB = re.compile(r"[A-Za-z0-9+/_=-]{256,}")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w.]?\d)")
_PATTERNS = (
    (
        "key",
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\b(?:sk|pk|rk|vv)-[A-Za-z0-9_-]{16,}"
            r"|\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
            r"|\beyJ[\w-]{8,4096}\.[\w-]{8,4096}\.[\w-]{8,4096}"
            r"|\bAIza[\w-]{35}",
            re.DOTALL,
        ),
    ),
    ("email", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")),
    (
        "phone",
        re.compile(
            r"(?<![\w+])\+\d(?:[ ().-]{0,2}\d){7,14}(?!\w)"
            r"|(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w.-]?\d)"
        ),
    ),
)


def _is_card(text: str) -> bool:
    """The Luhn check: every second digit from the right is doubled, the sum ends in 0."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_CHANGES: Mapping[ContentLevel, Change] = {
    "off": lambda text: "",
    "hash": hash_text,
    "redacted": redact,
}


def _ordinals(group: Group) -> Change:
    """Names for vote keys that say which votes agree and nothing else."""
    names: dict[str, str] = {}

    def name(key: str) -> str:
        return names.setdefault(key, f"answer-{len(names) + 1}")

    for key, _ in group.tally.votes:
        name(key)
    return name


def _structured(value: Any, change: Change) -> Any:
    """JSON with its texts and numbers changed; its shape and wire words stay."""
    if isinstance(value, Mapping):
        # In a message `name` is a person, in a function it is the function.
        wire = _STRUCTURE if "role" in value else _STRUCTURE | {"name"}
        return {
            key: part if key in wire and isinstance(part, str) else _structured(part, change)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_structured(part, change) for part in value)
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        changed = change(str(value))
        return value if changed == str(value) else changed
    return value


def _task(task: Task, level: ContentLevel, change: Change) -> Task:
    return dataclasses.replace(
        task,
        content=level,
        messages=_structured(task.messages, change),
        parameters=dataclasses.replace(
            task.parameters,
            stop=map_texts(task.parameters.stop, change),
            extra=_mapping(task.parameters.extra, level, change),
        ),
        options=_options(task.options, level, change),
        tools=tuple(_mapping(tool, level, change) for tool in task.tools),
        response_format=task.response_format and _mapping(task.response_format, level, change),
    )


def _options(options: Options, level: ContentLevel, change: Change) -> Options:
    return dataclasses.replace(
        options,
        verifiers=tuple(
            dataclasses.replace(spec, options=_mapping(spec.options, level, change))
            for spec in options.verifiers
        ),
    )


def _mapping(value: Mapping[str, Any], level: ContentLevel, change: Change) -> Mapping[str, Any]:
    """A free-form object, whose very keys may be content: nothing of it stays at `off`."""
    changed: Mapping[str, Any] = {} if level == "off" else _structured(value, change)
    return changed


def _plan(plan: Plan, change: Change) -> Plan:
    def reason(reason: Reason) -> Reason:
        value = reason.value
        return dataclasses.replace(reason, value=change(value) if isinstance(value, str) else value)

    return dataclasses.replace(
        plan,
        reasons=tuple(reason(r) for r in plan.reasons),
        contract=dataclasses.replace(
            plan.contract, choices=map_texts(plan.contract.choices, change)
        ),
    )


def _stage(stage: Stage, change: Change, name_key: Change) -> Stage:
    return dataclasses.replace(
        stage, plan=_plan(stage.plan, change), tally=_tally(stage.tally, name_key)
    )


def _scored(scored: Scored, level: ContentLevel, change: Change, name_key: Change) -> Scored:
    sample, answer = scored.sample, scored.answer
    return dataclasses.replace(
        scored,
        sample=dataclasses.replace(
            sample,
            text=change(sample.text),
            raw_text=map_texts(sample.raw_text, change),
            reasoning=change(sample.reasoning),
            refusal=map_texts(sample.refusal, change),
            tool_calls=tuple(
                dataclasses.replace(call, arguments=change(call.arguments))
                for call in sample.tool_calls
            ),
            token_ids=None,
            logprobs=None,
            logprobs_wire=None,
            trainable=False,
            not_trainable=sample.not_trainable or f"content_{level}",
        ),
        answer=dataclasses.replace(
            answer, text=change(answer.text), key=map_texts(answer.key, name_key)
        ),
        verdicts=tuple(
            dataclasses.replace(v, evidence=_mapping(v.evidence, level, change))
            for v in scored.verdicts
        ),
    )


def _tally(tally: Tally, name_key: Change) -> Tally:
    return dataclasses.replace(
        tally,
        votes=tuple((name_key(key), count) for key, count in tally.votes),
        leader=map_texts(tally.leader, name_key),
        runner_up=map_texts(tally.runner_up, name_key),
        weights=tuple((name_key(key), weight) for key, weight in tally.weights),
    )
