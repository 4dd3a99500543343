"""How the C library's allocator treats the large blocks that every step asks for and frees again."""

import ctypes
import sys

# From malloc.h of the GNU C library; other libraries have no mallopt, or ignore these.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_LARGEST = 2**30
_AHEAD = 2**28


def keep_freed_memory() -> None:
    """Let this process keep what it frees for the next step, instead of giving it back to the system.

    By default every activation of some megabytes is fresh memory that the kernel must clear page by page, step after
    step. Does nothing where there is no such setting.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)  # only the main arena can grow beyond 64 MB
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, _AHEAD)
