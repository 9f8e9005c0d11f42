"""What a client may see of a group: hidden verifiers leave no name and no verdict."""

from __future__ import annotations

from dataclasses import replace

from app.group import Group
from app.plan import Plan


def without_hidden(group: Group) -> Group:
    """The group as a client may see it: every stage, without its hidden verifiers."""
    hidden = {ref.name for ref in group.plan.verifiers if ref.hidden}
    if not hidden:
        return group
    open_refs = tuple(ref for ref in group.plan.verifiers if not ref.hidden)

    def opened(plan: Plan) -> Plan:  # every stage has the same verifiers
        return replace(plan, verifiers=open_refs)

    names = hidden - {ref.name for ref in open_refs}
    options = replace(
        group.task.options,
        verifiers=tuple(
            spec for spec in group.task.options.verifiers if not spec.options.get("hidden")
        ),
    )
    return replace(
        group,
        task=replace(group.task, options=options),
        plan=opened(group.plan),
        earlier=tuple(replace(s, plan=opened(s.plan)) for s in group.earlier),
        unused=group.unused and replace(group.unused, plan=opened(group.unused.plan)),
        scored=tuple(
            replace(each, verdicts=tuple(v for v in each.verdicts if not v.hidden))
            for each in group.scored
        ),
        spans=tuple(s for s in group.spans if s.name.removeprefix("verify:") not in names),
    )
