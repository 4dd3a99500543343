"""The `cifarops` command: its groups, and what happens when something goes wrong."""

import errno
import importlib
import json
import os
import sys
import traceback

import click
import typer

from cifarops.cli.common import notes
from cifarops.errors import CifaropsError

_GROUPS = ("data", "evaluate", "registry", "deploy", "monitor", "simulate")
_COMMANDS = ("train", "package", "serve", "predict", "retrain", "demo", "doctor")
_INTERRUPTED = 1


def build() -> typer.Typer:
    """Assemble the command from one module per group; those import nothing heavy before they run."""
    app = typer.Typer(
        name="cifarops",
        help="From images to a served, promoted and reversible model. Start with: cifarops demo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in _COMMANDS:
        app.command(name)(importlib.import_module(f"cifarops.cli.{name}").command)
    for name in _GROUPS:
        app.add_typer(importlib.import_module(f"cifarops.cli.{name}").app, name=name)
    return app


def main() -> None:
    """Run the command line; exits 0 done, 1 refused or failed, 2 bad usage."""
    try:
        code = build()(standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        code = 2
    except CifaropsError as error:
        _report(error.message, error.fix)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _report("Interrupted.", "Nothing is half-written; run the same command again to go on.")
        code = _INTERRUPTED
    except ModuleNotFoundError as error:
        _report(
            f"The package {error.name!r} is not installed.",
            "Run make install, or: pip install 'cifarops[train]' -c constraints.txt",
        )
        code = 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        _report(*_explain(error))
        code = 1
    except MemoryError:
        _report("Memory ran out.", "Use fewer or smaller images, or a smaller batch_size in params.yaml.")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _report(message: str, fix: str) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": message, "fix": fix}) + "\n")
    notes.print(f"error: {message}", style="bold red", markup=False, highlight=False)
    notes.print(f"  do: {fix}", markup=False, highlight=False)


def _explain(error: OSError) -> tuple[str, str]:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}.", "Free some space; nothing is half-written. Then run it again."
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"No permission to write or read{where}.", "Correct the rights, or set CIFAROPS_WORKSPACE."
    if os.environ.get("CIFAROPS_DEBUG"):
        traceback.print_exc()
    return f"{error.strerror or error}{where}.", "Set CIFAROPS_DEBUG=1 and run again for the details."


if __name__ == "__main__":
    main()
