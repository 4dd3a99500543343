"""The `cifarops` program: Ctrl-C gets its sentence even while the command line is still being loaded."""

import sys


def main() -> None:
    """Load the command line and run it."""
    try:
        from cifarops.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit("error: Interrupted.\n  do: Run the same command again; it had not begun.")
    run()


if __name__ == "__main__":
    main()
