"""The command `verivote`: one file a command, loaded when it is called.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 something that is needed is away.
A failure is one line on standard error; no traceback for what the caller can mend.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from app.errors import ConfigError, VerivoteError

COMMANDS = {
    "demo": "Answer sample tasks on a small real model, with and without checking.",
    "serve": "Serve the gateway in front of one model server.",
    "chat": "Ask the gateway from the terminal.",
    "trace": "List and show traces.",
    "grade": "Grade completions of a file with any verifiers.",
    "replay": "Replay recorded samples through the vote.",
    "doctor": "Check what this machine lacks, with the fix.",
    "config": "Check, show and describe the settings.",
    "db": "Bring the database to this version's schema.",
    "keys": "Create, list and revoke API keys.",
    "route": "Show what the router has learned, explain it, fit it and swap it.",
    "retrain": "Run a night, see how nights went, promote a policy and take it back.",
    "policies": "List the policies, newest first, and which one serves.",
    "drift": "Compare the traffic of the last days with that of the days before.",
    "evaluate": "Have a policy answer held-out prompts, and say how often it is right.",
    "cache": "Look into the cache and empty it.",
    "version": "Print the version.",
}

FAILED, USAGE, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130


class LazyGroup(TyperGroup):
    """Imports `app.cli.<command>` when that command is called, so that others start quickly."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"app.cli.{cmd_name}")
        command = typer.main.get_command(module.cli)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


cli = typer.Typer(
    name="verivote",
    cls=LazyGroup,
    help="Verify-and-vote inference gateway: an OpenAI-compatible server that checks its answers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@cli.callback()
def _root() -> None:
    """Options of the whole command; there are none yet."""


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    try:
        cli(prog_name="verivote")
    except VerivoteError as error:
        typer.echo(f"verivote: {error.message}", err=True)
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def exit_code(error: VerivoteError) -> int:
    if isinstance(error, ConfigError):
        return USAGE
    return UNAVAILABLE if error.http_status >= 500 else FAILED
