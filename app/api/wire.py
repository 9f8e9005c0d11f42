"""The request as it comes over the wire, one pydantic form each; every limit is stated here once.

The forms describe and check, they do not rewrite: messages, tools and schemas go on as the client
wrote them. `parse.py` turns a checked form into a task; `invalid.py` words what did not fit.
It is long because the request is: a form is one declaration, and they are read side by side.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from app.task import CacheMode, Effort, Mode, OnUnverified, RuleName

MAX_CHOICES = 128
MAX_VERIFIERS = 32
INT64 = 2**63
DEPRECATED: dict[str, Any] = {"deprecated": True}

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]

OtherType = Literal["input_audio", "file", "refusal", "video_url", "audio_url"]
"""Parts whose content only the upstream reads."""

EXTENSIONS = (
    "top_k",
    "min_p",
    "repetition_penalty",
    "structured_outputs",
    "chat_template_kwargs",
    "priority",
    "return_token_ids",
)
"""Parameters beyond OpenAI's that are passed on to the engine as sent."""

WITHOUT_EFFECT = (
    "audio",
    "moderation",
    "prediction",
    "prompt_cache_options",
    "prompt_cache_retention",
    "web_search_options",
)
"""Parameters of OpenAI's that are accepted and have no effect here."""


class Form(BaseModel):
    """Strict: a string is no number. Unknown fields are kept apart, not refused."""

    model_config = ConfigDict(strict=True, extra="allow")


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 8.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tagged(key: str) -> Discriminator:
    """Choose a form by the string under `key`; tags are in angle brackets, no field name is."""

    def choose(value: Any) -> str | None:
        tag = value.get(key) if isinstance(value, dict) else None
        return f"<{tag}>" if isinstance(tag, str) else None

    choose.__name__ = key
    return Discriminator(choose)


def _shape(value: Any) -> str | None:
    names: dict[type, str] = {str: "<string>", list: "<array>", dict: "<object>"}
    return names.get(type(value))


_BY_SHAPE = Discriminator(_shape)
Int = Annotated[int, BeforeValidator(_whole)]
Object = dict[str, Any]
Text = Annotated[str, Tag("<string>")]


class TextPart(Form):
    type: Literal["text"]
    text: str


class ImageUrl(Form):
    url: str


class ImagePart(Form):
    type: Literal["image_url"]
    image_url: ImageUrl
    """Passed on untouched; the gateway never fetches it."""


class OtherPart(Form):
    type: OtherType


def _part(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        return None
    return "<other>" if kind in get_args(OtherType) else f"<{kind}>"


_part.__name__ = "type"
Part = Annotated[
    Annotated[TextPart, Tag("<text>")]
    | Annotated[ImagePart, Tag("<image_url>")]
    | Annotated[OtherPart, Tag("<other>")],
    Discriminator(_part),
]
Content = Annotated[
    Text | Annotated[list[Part], Tag("<array>"), Field(min_length=1)],
    _BY_SHAPE,
]


class CalledFunction(Form):
    name: str
    arguments: str


class FunctionCallEntry(Form):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class CustomCall(Form):
    name: str
    input: str


class CustomCallEntry(Form):
    id: str
    type: Literal["custom"]
    custom: CustomCall


def _call_type(value: Any) -> str | None:
    """A call without a type is a function call: many servers leave it out."""
    kind = value.get("type", "function") if isinstance(value, dict) else None
    return f"<{kind}>" if isinstance(kind, str) else None


_call_type.__name__ = "type"
CallEntry = Annotated[
    Annotated[FunctionCallEntry, Tag("<function>")] | Annotated[CustomCallEntry, Tag("<custom>")],
    Discriminator(_call_type),
]


class DeveloperMessage(Form):
    role: Literal["developer"]
    content: Content
    name: str | None = None


class SystemMessage(Form):
    role: Literal["system"]
    content: Content
    name: str | None = None


class UserMessage(Form):
    role: Literal["user"]
    content: Content
    name: str | None = None


class AssistantMessage(Form):
    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[CallEntry] | None = None
    function_call: CalledFunction | None = None


class ToolMessage(Form):
    role: Literal["tool"]
    content: Content
    tool_call_id: str


class FunctionMessage(Form):
    role: Literal["function"]
    content: str | None = None
    name: str


Message = Annotated[
    Annotated[DeveloperMessage, Tag("<developer>")]
    | Annotated[SystemMessage, Tag("<system>")]
    | Annotated[UserMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[ToolMessage, Tag("<tool>")]
    | Annotated[FunctionMessage, Tag("<function>")],
    _tagged("role"),
]

FunctionName = Annotated[str, Field(min_length=1, max_length=128)]


class FunctionDefinition(Form):
    name: FunctionName
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class FunctionTool(Form):
    type: Literal["function"]
    function: FunctionDefinition


class CustomDefinition(Form):
    name: FunctionName
    description: str | None = None
    format: Object | None = None


class CustomTool(Form):
    type: Literal["custom"]
    custom: CustomDefinition


Tool = Annotated[
    Annotated[FunctionTool, Tag("<function>")] | Annotated[CustomTool, Tag("<custom>")],
    _tagged("type"),
]


class NamedFunction(Form):
    name: FunctionName


class FunctionChoice(Form):
    type: Literal["function"]
    function: NamedFunction


class CustomChoice(Form):
    type: Literal["custom"]
    custom: NamedFunction


class AllowedTools(Form):
    mode: Literal["auto", "required"]
    tools: list[Object]


class AllowedChoice(Form):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ChoiceObject = Annotated[
    Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[CustomChoice, Tag("<custom>")]
    | Annotated[AllowedChoice, Tag("<allowed_tools>")],
    _tagged("type"),
]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<string>")]
    | Annotated[ChoiceObject, Tag("<object>")],
    _BY_SHAPE,
]
FunctionChoiceOld = Annotated[
    Annotated[Literal["none", "auto"], Tag("<string>")] | Annotated[NamedFunction, Tag("<object>")],
    _BY_SHAPE,
]


class TextFormat(Form):
    type: Literal["text"]


class JsonObjectFormat(Form):
    type: Literal["json_object"]


class JsonSchema(Form):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    schema_: Annotated[Object | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchemaFormat(Form):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")],
    _tagged("type"),
]


class StreamOptions(Form):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted; nothing is obfuscated."""


class VerifierForm(Form):
    """One verifier by name; the other keys are its options."""

    use: str = Field(min_length=1, description="Name of a registered verifier.")


class VerifyForm(Form):
    """The gateway options of one request."""

    model_config = ConfigDict(strict=True, extra="forbid")

    mode: Mode | None = Field(
        None, description="auto: the router decides; off: one sample; always: vote."
    )
    n: Annotated[Int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        None, description="Samples at most."
    )
    effort: Effort | None = Field(None, description="low: 8 samples at most, medium 16, high 40.")
    rule: RuleName | None = Field(None, description="When the vote is settled; see the docs.")
    deadline_ms: Annotated[Int, Field(ge=1, le=3_600_000)] | None = Field(
        None, description="Milliseconds for the whole request."
    )
    verifiers: Annotated[list[VerifierForm], Field(max_length=MAX_VERIFIERS)] | None = None
    on_unverified: OnUnverified | None = Field(
        None, description="return: answer, marked; error: 422; hold: no text until reviewed."
    )
    cache: CacheMode | None = None
    include: list[Literal["trace"]] | None = Field(
        None, description="Extra parts of the reply; `trace` adds the whole group."
    )


class ChatForm(Form):
    """The body of `POST /v1/chat/completions`."""

    model: str = Field(
        min_length=1,
        max_length=256,
        description="An alias or a model of the upstream; `:fast` never votes, `:verified` always.",
    )
    messages: Annotated[list[Message], Field(min_length=1)]

    n: Annotated[Int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        None, description="Choices to return, best first."
    )
    seed: Annotated[Int, Field(ge=-INT64, lt=INT64)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Int, Field(ge=0, le=20)] | None = None
    stop: (
        Annotated[Text | Annotated[list[str], Tag("<array>"), Field(max_length=4)], _BY_SHAPE]
        | None
    ) = None
    max_completion_tokens: Annotated[Int, Field(ge=0, lt=INT64)] | None = None
    max_tokens: Annotated[Int, Field(ge=0, lt=INT64)] | None = Field(
        None, json_schema_extra=DEPRECATED, description="Use max_completion_tokens."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionDefinition] | None = Field(
        None, json_schema_extra=DEPRECATED, description="Use tools."
    )
    function_call: FunctionChoiceOld | None = Field(
        None, json_schema_extra=DEPRECATED, description="Use tool_choice."
    )
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None

    stream: bool | None = None
    stream_options: StreamOptions | None = None

    service_tier: Tier | None = None
    store: bool | None = None
    metadata: (
        Annotated[
            dict[
                Annotated[str, Field(max_length=64)],
                Annotated[str, Field(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: str | None = None

    top_k: Annotated[Int, Field(ge=-1, lt=INT64)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    structured_outputs: Object | None = None
    chat_template_kwargs: Object | None = None
    priority: Annotated[Int, Field(ge=-INT64, lt=INT64)] | None = None
    return_token_ids: bool | None = None

    audio: Any = None
    moderation: Any = None
    prediction: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    web_search_options: Any = None

    verify: VerifyForm | None = None
