"""`app.retrain.train` with its weights spread over processes on CPUs: accelerate spreads them over
GPUs only, by its own choice, though what it calls in torch works on both."""

from __future__ import annotations

import sys
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from app.retrain.train import main

_begin = AcceleratorState.__init__


def _begin_sharded(self: Any, *arguments: Any, fsdp_plugin: Any = None, **more: Any) -> None:
    _begin(self, *arguments, fsdp_plugin=fsdp_plugin, **more)
    if fsdp_plugin is None:  # somebody only looks at the state that there is
        return
    self.fsdp_plugin = fsdp_plugin
    self.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    AcceleratorState.__init__ = _begin_sharded  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
