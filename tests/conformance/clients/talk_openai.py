"""A scripted conversation through openai-python; run with the interpreter of one version of it.

Standard input: {"base_url", "stream", "turns"}. Standard output: one object a turn,
{"text", "finish_reason", "usage"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from openai import OpenAI

script = json.load(sys.stdin)
client = OpenAI(base_url=script["base_url"], api_key="unused", max_retries=0)
messages: list[Any] = []
turns = []
for question in script["turns"]:
    messages.append({"role": "user", "content": question})
    asked: dict[str, Any] = {"model": "auto", "messages": messages, **script["parameters"]}
    if script["stream"]:
        text, finish, usage = "", None, None
        options = {"include_usage": True}
        for chunk in client.chat.completions.create(
            **asked, stream=True, stream_options=options, extra_body=script["extra"]
        ):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    else:
        reply = client.chat.completions.create(**asked, extra_body=script["extra"])
        text, finish = reply.choices[0].message.content or "", reply.choices[0].finish_reason
        usage = reply.usage
    assert usage is not None
    counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]
    turns.append({"text": text, "finish_reason": finish, "usage": counts})
    messages.append({"role": "assistant", "content": text})
json.dump(turns, sys.stdout)
