"""Kill a command between two of its steps, as a power cut would."""

import os
import signal
from collections.abc import Callable


def killed_after(steps: int, command: Callable[..., object]) -> None:
    """Run `command(listener=…)` in a child process that gets SIGKILL when it has taken that many steps."""
    child = os.fork()
    if child == 0:
        seen = 0

        def listener(what: str, outcome: str) -> None:
            nonlocal seen
            seen += 1
            if seen == steps:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            command(listener=listener)
        finally:
            os._exit(17)  # it ended by itself: fewer steps than the test thinks
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself before step {steps}"
    assert os.WTERMSIG(status) == signal.SIGKILL
