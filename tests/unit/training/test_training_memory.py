import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, resource, sys
from cifarops.training.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
def use():
    block = library.malloc(ctypes.c_size_t(64 << 20))
    ctypes.memset(block, 1, 64 << 20)
    library.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(setting: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, setting], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of the GNU C library")
def test_a_block_that_was_freed_is_used_again_without_asking_the_system() -> None:
    pages = (64 << 20) // 4096
    assert _page_faults("kept") < pages / 100
    assert _page_faults("kept") < _page_faults("as it is")
