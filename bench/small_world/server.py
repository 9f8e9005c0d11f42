"""A model server for the small world, in the dialect of vLLM as far as the gateway speaks it.

    PYTHONPATH=bench python -m small_world.server FOLDER [--port P]

It samples for real: requests that come together are drawn as one batch with a KV cache, each choice
from its own seed (the request's and its place), so a sample does not depend on what else is asked.
Log probabilities are those after temperature. `/v1/load_lora_adapter` takes an adapter or, unlike
vLLM, the folder of a whole model. Whatever would cut or bend the distribution is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

NEUTRAL = {
    "top_p": (1, None),
    "top_k": (0, -1, None),
    "min_p": (0, None),
    "repetition_penalty": (1, None),
    "presence_penalty": (0, None),
    "frequency_penalty": (0, None),
    "logit_bias": ({}, None),
    "top_logprobs": (0, 1, None),
}
"""Values that change nothing."""
GATHER_S = 0.004
"""How long the first request of a batch waits for others."""
LONGEST = 12
"""Tokens of a completion: working a chain out takes eight."""
MOST_ROWS = 1_024


class Refused(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Row:
    """One choice of one request."""

    prompt: tuple[int, ...]
    seed: int
    temperature: float
    limit: int


@dataclass(frozen=True)
class Said:
    """What was drawn for a row."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    best: tuple[tuple[int, float], ...]
    """The likeliest token at each place, and its log probability."""
    finish_reason: str


class Models:
    """The base and what was loaded beside it, by name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.end: int = self.tokenizer.eos_token_id
        self._loaded = {name: (self.folder, _load(self.folder))}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            raise Refused(f"The model `{name}` does not exist.", 404)
        return self._loaded[name][1]

    def listed(self) -> list[dict[str, Any]]:
        return [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "vllm",
                "root": str(path),
                "parent": None if name == self.name else self.name,
                "max_model_len": 64,
            }
            for name, (path, _) in self._loaded.items()
        ]

    def load(self, name: str, path: Path) -> None:
        if name in self._loaded:
            raise Refused(f"The lora adapter '{name}' has already been loaded.")
        if not path.is_dir():
            raise Refused(f"No adapter found for {path}", 404)
        self._loaded[name] = (path, self._read(path))

    def unload(self, name: str) -> None:
        if name == self.name or self._loaded.pop(name, None) is None:
            raise Refused(f"The lora adapter '{name}' cannot be found.", 404)

    def _read(self, path: Path) -> Any:
        if not (path / "adapter_config.json").exists():
            return _load(path)
        from peft import PeftModel

        return PeftModel.from_pretrained(_load(self.folder), path).merge_and_unload().eval()


def _load(folder: Path) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()
    except (OSError, ValueError) as broken:
        raise Refused(f"{folder} is not a model: {broken}") from None


@torch.inference_mode()
def sample(model: Any, rows: Sequence[Row], end: int) -> list[Said]:
    """Draw all rows; their prompts have the same length."""
    wide = max(row.limit for row in rows)
    symbols = model.config.vocab_size
    noise = torch.empty(len(rows), wide, symbols)
    for place, row in enumerate(rows):
        torch.rand(
            wide, symbols, generator=torch.Generator().manual_seed(row.seed), out=noise[place]
        )
    gumbel = -torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))
    temperatures = torch.tensor([row.temperature for row in rows])[:, None]
    is_greedy = temperatures == 0
    temperatures = torch.where(is_greedy, 1.0, temperatures)
    ids, cache = torch.tensor([row.prompt for row in rows]), None
    drawn: list[torch.Tensor] = []
    logprobs: list[torch.Tensor] = []
    best: list[Any] = []
    ended = torch.zeros(len(rows), dtype=torch.bool)
    for step in range(wide):
        out = model(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=1)
        cache = out.cache
        law = torch.log_softmax(out.logits[:, -1].float() / temperatures, dim=-1)
        token = (law + torch.where(is_greedy, 0.0, gumbel[:, step])).argmax(-1)
        drawn.append(token)
        logprobs.append(law.gather(-1, token[:, None])[:, 0])
        best.append(law.max(-1))
        ended |= token == end
        if bool(ended.all()):
            break
        ids = token[:, None]
    columns = (drawn, logprobs, [each.indices for each in best], [each.values for each in best])
    tables = [torch.stack(column, 1).tolist() for column in columns]
    return [_said(row, end, *lines) for row, *lines in zip(rows, *tables, strict=True)]


def _said(
    row: Row, end: int, tokens: list[int], mus: list[float], best: list[int], highest: list[float]
) -> Said:
    tokens = tokens[: row.limit]
    reason = "length"
    if end in tokens:
        tokens, reason = tokens[: tokens.index(end) + 1], "stop"
    count = len(tokens)
    likeliest = tuple(zip(best, highest, strict=True))[:count]
    return Said(tuple(tokens), tuple(mus[:count]), likeliest, reason)


class Batcher:
    """Draws what was asked within a few milliseconds as one batch, in a thread."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._waiting: asyncio.Queue[tuple[str, Sequence[Row], asyncio.Future[list[Said]]]]
        self._waiting = asyncio.Queue()

    async def draw(self, model: str, rows: Sequence[Row]) -> list[Said]:
        done: asyncio.Future[list[Said]] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((model, rows, done))
        return await done

    async def run(self) -> None:
        while True:
            asked = [await self._waiting.get()]
            await asyncio.sleep(GATHER_S)
            rows = len(asked[0][1])
            while rows < MOST_ROWS and not self._waiting.empty():
                asked.append(self._waiting.get_nowait())
                rows += len(asked[-1][1])
            alike = defaultdict(list)
            for each in asked:
                alike[each[0], len(each[1][0].prompt)].append(each)
            for (model, _), those in alike.items():
                await self._draw(model, those)

    async def _draw(self, model: str, those: Sequence[Any]) -> None:
        rows = [row for _, wanted, _ in those for row in wanted]
        try:
            said = await asyncio.to_thread(sample, self._models[model], rows, self._models.end)
        except Exception as failed:
            for *_, done in those:
                if not done.done():
                    done.set_exception(failed)
            return
        found = iter(said)
        for _, wanted, done in those:
            mine = list(itertools.islice(found, len(wanted)))
            if not done.done():
                done.set_result(mine)


def make_app(models: Models) -> Starlette:
    batcher = Batcher(models)

    async def complete(request: Request) -> Response:
        body = await request.json()
        for name, fine in NEUTRAL.items():
            if body.get(name) not in fine:
                raise Refused(f"{name} is {body[name]!r}, which is not known here")
        name = body["model"]
        models[name]
        prompt = models.tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        if not 0 < len(prompt) <= 64 - LONGEST:
            raise Refused(f"the prompt has {len(prompt)} tokens; 1 to {64 - LONGEST} fit")
        seed = int(body.get("seed") or 0)
        temperature = body.get("temperature")
        row = {
            "prompt": tuple(prompt),
            "temperature": 1.0 if temperature is None else float(temperature),
            "limit": min(LONGEST, int(body.get("max_tokens") or LONGEST)),
        }
        rows = [Row(seed=seed + i, **row) for i in range(int(body.get("n") or 1))]
        said = await batcher.draw(name, rows)
        return _reply(models, body, prompt, said)

    async def load(request: Request) -> Response:
        body = await request.json()
        if not body.get("lora_name") or not body.get("lora_path"):
            raise Refused("Both 'lora_name' and 'lora_path' must be provided.")
        await asyncio.to_thread(models.load, body["lora_name"], Path(body["lora_path"]))
        return PlainTextResponse(f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(request: Request) -> Response:
        name = (await request.json()).get("lora_name", "")
        models.unload(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def listed(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": models.listed()})

    async def refused(request: Request, why: Exception) -> Response:
        assert isinstance(why, Refused)
        error = {"message": str(why), "type": "BadRequestError", "param": None, "code": why.status}
        return JSONResponse({"error": error}, why.status)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()

    return Starlette(
        routes=[
            Route("/v1/models", listed),
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/load_lora_adapter", load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", unload, methods=["POST"]),
        ],
        exception_handlers={Refused: refused},
        lifespan=lifespan,
    )


def _reply(
    models: Models, body: Mapping[str, Any], prompt: Sequence[int], said: Sequence[Said]
) -> Response:
    tokens = sum(len(each.ids) for each in said)
    usage = {
        "prompt_tokens": len(prompt),
        "completion_tokens": tokens,
        "total_tokens": len(prompt) + tokens,
    }
    top: dict[str, Any] = {
        "id": "chatcmpl-small",
        "created": int(time.time()),
        "model": body["model"],
    }
    if body.get("return_token_ids"):
        top["prompt_token_ids"] = list(prompt)
    streamed = bool(body.get("stream"))
    choices = [_choice(models, body, place, each, streamed) for place, each in enumerate(said)]
    if not streamed:
        return JSONResponse(
            {**top, "object": "chat.completion", "choices": choices, "usage": usage}
        )
    chunk = {**top, "object": "chat.completion.chunk"}
    events: list[dict[str, Any]] = [{**chunk, "choices": [choice]} for choice in choices]
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({**chunk, "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
    return StreamingResponse(iter(lines), media_type="text/event-stream")


def _choice(
    models: Models, body: Mapping[str, Any], place: int, said: Said, streamed: bool
) -> dict[str, Any]:
    text = models.tokenizer.decode(said.ids, skip_special_tokens=True)
    choice: dict[str, Any] = {"index": place, "finish_reason": said.finish_reason}
    choice["delta" if streamed else "message"] = {"role": "assistant", "content": text}
    if body.get("return_token_ids"):
        choice["token_ids"] = list(said.ids)
    if body.get("logprobs"):
        top = bool(body.get("top_logprobs"))
        entries = []
        for token, mu, best in zip(said.ids, said.logprobs, said.best, strict=True):
            entry = _entry(models, token, mu)
            entries.append(entry | {"top_logprobs": [_entry(models, *best)] if top else []})
        choice["logprobs"] = {"content": entries}
    return choice


def _entry(models: Models, token: int, logprob: float) -> dict[str, Any]:
    word = models.tokenizer.decode([token])
    return {"token": word, "logprob": logprob, "bytes": list(word.encode())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="small")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable_progress_bar()
    app = make_app(Models(arguments.folder, arguments.name))
    with socket.create_server(("127.0.0.1", arguments.port)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", http="httptools")).run(
            sockets=[listening]
        )


if __name__ == "__main__":
    main()
