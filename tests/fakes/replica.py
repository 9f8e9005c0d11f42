"""A fake model server that loads adapters, as vLLM 0.32 was measured to."""

from __future__ import annotations

from tests.fakes.upstream import FakeUpstream, Request, Steps, error_reply, json_reply


class Replica:
    """The part of a vLLM that is about adapters."""

    def __init__(self, fake: FakeUpstream) -> None:
        self.fake = fake
        self.loaded: dict[str, str] = {}
        self.missing: set[str] = set()
        """Folders that this replica does not see."""
        fake.models, fake.adapters = self.list, self.change

    def list(self, request: Request) -> Steps:
        base = {"id": "smol", "object": "model", "owned_by": "vllm", "root": "/m", "parent": None}
        adapters = [
            {**base, "id": name, "root": path, "parent": "smol"}
            for name, path in self.loaded.items()
        ]
        return json_reply({"object": "list", "data": [base, *adapters]})

    def change(self, request: Request) -> Steps:
        name, path = request.body.get("lora_name"), request.body.get("lora_path")
        if name is None:
            return error_reply(400, "[{'type': 'missing', 'loc': ('body', 'lora_name')}]")
        if request.path.endswith("/unload_lora_adapter"):
            self.loaded.pop(name)
        elif name in self.loaded:
            return error_reply(400, f"The lora adapter '{name}' has already been loaded.")
        elif path in self.missing:
            return error_reply(404, f"No adapter found for {path}")
        else:
            self.loaded[name] = path
        return Steps((b"Success",), content_type="text/plain")

    @property
    def changes(self) -> list[str]:
        """Names of the adapters that were asked for, in order."""
        asked = (r.body.get("lora_name") for r in self.fake.requests if "_lora_" in r.path)
        return [name for name in asked if name]
