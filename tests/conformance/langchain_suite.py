"""LangChain's standard integration tests for a text model without tool calling.

Run by `test_langchain.py` with the interpreter of .build/langchain; the gateway's address is in
GATEWAY_URL.
"""

from __future__ import annotations

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestGateway(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "auto",
            "base_url": os.environ["GATEWAY_URL"] + "/v1",
            "api_key": "unused",
            "max_retries": 0,
            "stream_usage": True,
            # The same samples in every run.
            "temperature": 0.0,
            "seed": 1,
        }

    @property
    def has_tool_calling(self) -> bool:
        return False  # the small model has not learned it

    @property
    def has_tool_choice(self) -> bool:
        return False

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @property
    def model_override_value(self) -> str:
        return "auto:fast"
