"""The scripted conversation of `talk_openai.py` through LangChain's ChatOpenAI."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI

script = json.load(sys.stdin)
model = ChatOpenAI(
    model="auto",
    base_url=script["base_url"],
    api_key="unused",
    max_retries=0,
    stream_usage=True,
    extra_body=script["extra"],
    **script["parameters"],
)
messages: list[BaseMessage] = []
turns: list[dict[str, Any]] = []
for question in script["turns"]:
    messages.append(HumanMessage(question))
    reply: Any
    if script["stream"]:
        reply = AIMessageChunk("")
        for chunk in model.stream(messages):
            reply += chunk
    else:
        reply = model.invoke(messages)
    usage = reply.usage_metadata
    counts = [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]]
    finish = reply.response_metadata["finish_reason"]
    turns.append({"text": reply.content, "finish_reason": finish, "usage": counts})
    messages.append(AIMessage(reply.content))
json.dump(turns, sys.stdout)
