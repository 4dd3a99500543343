"""The `cifarops` command: its groups, and what happens when something goes wrong."""

import errno
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from typer._click.exceptions import UsageError as BadUsage
from typer.core import TyperGroup

from cifarops.cli.common import notes
from cifarops.errors import CifaropsError

_GROUPS = ("data", "evaluate", "registry", "serve", "deploy", "monitor", "simulate", "flow")
_COMMANDS = ("demo", "doctor", "train", "package", "predict", "retrain", "why", "reproduce")
_INTERRUPTED = ("Interrupted.", "Nothing is half-written; run the same command again to go on.")


class _Root(TyperGroup):
    """The root command; turns what went wrong into a message, a remedy and an exit code."""

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        with _bad_usage_as_json():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _bad_usage_as_json():
                return super().invoke(ctx)
        except CifaropsError as error:
            return _fail(error.message, error.fix, error.exit_code)
        except KeyboardInterrupt:
            return _fail(*_INTERRUPTED)
        except ModuleNotFoundError as error:
            return _fail(
                f"The package {error.name!r} is not installed.",
                "Run make install, or: pip install 'cifarops[train]' -c constraints.txt",
            )
        except BrokenPipeError:
            raise
        except OSError as error:
            return _fail(*_explain(error))
        except MemoryError:
            return _fail(
                "Memory ran out.", "Use fewer or smaller images, or a smaller batch_size in params.yaml."
            )


def _show_version(wanted: bool) -> None:
    if wanted:
        from cifarops import __version__

        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From images to a served, promoted and reversible model. Start with: cifarops demo."""


def build(names: Sequence[str] = (*_COMMANDS, *_GROUPS)) -> typer.Typer:
    """Assemble the command from one module per group; those import nothing heavy before they run.

    Args:
        names: Only these commands and groups.
    """
    app = typer.Typer(
        name="cifarops",
        cls=_Root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in (each for each in _COMMANDS if each in names):
        app.command(name)(importlib.import_module(f"cifarops.cli.{name}").command)
    for name in (each for each in _GROUPS if each in names):
        app.add_typer(importlib.import_module(f"cifarops.cli.{name}").app, name=name)
    return app


def main() -> None:
    """Run the command line; exits 0 done, 1 refused or failed, 2 bad usage."""
    interrupts = _noted_interrupts()
    try:
        build(_asked_for(sys.argv[1:]))()
    except (KeyboardInterrupt, Exception) as error:
        # A compiled package that is interrupted while it is loaded raises something of its own.
        if not interrupts and isinstance(error, Exception):
            raise
        _say(*_INTERRUPTED)
        sys.exit(1)


def _asked_for(arguments: Sequence[str]) -> Sequence[str]:
    """Return the command that is asked for, so that the others need not be imported; all of them where none is known."""
    every = (*_COMMANDS, *_GROUPS)
    first = next((each for each in arguments if not each.startswith("-")), "")
    return (first,) if first in every else every


def _noted_interrupts() -> list[int]:
    """Return a list that every Ctrl-C is added to; where Ctrl-C is ignored, it stays so."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    return noted


def _fail(message: str, fix: str, exit_code: int = 1) -> None:
    _say(message, fix)
    raise typer.Exit(exit_code)


@contextmanager
def _bad_usage_as_json() -> Iterator[None]:
    """Let Typer tell people what is wrong with their words, and programs as any other refusal."""
    try:
        yield
    except BadUsage as error:
        command = error.ctx.command_path if error.ctx else "cifarops"
        _write_json(error.format_message(), f"See: {command} --help")
        raise


def _say(message: str, fix: str) -> None:
    _write_json(message, fix)
    notes.print(f"error: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    notes.print(f"  do: {fix}", markup=False, highlight=False, soft_wrap=True)


def _write_json(message: str, fix: str) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": message, "fix": fix}) + "\n")


def _explain(error: OSError) -> tuple[str, str]:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"The disk is full{where}.", "Free some space, then run it again; nothing is half-written."
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"No permission to write or read{where}.", "Correct the rights, or set CIFAROPS_WORKSPACE."
    if os.environ.get("CIFAROPS_DEBUG"):
        traceback.print_exc()
    return f"{error.strerror or error}{where}.", "Set CIFAROPS_DEBUG=1 and run again for the details."


if __name__ == "__main__":
    main()
