"""What this process may use of the machine."""

import os


def usable_cores() -> int:
    """Return how many processors this process may run on; all of them where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
