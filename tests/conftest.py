"""Fixtures that several rooms' tests share."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no failure.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# A shell starts what runs in the background with Ctrl-C ignored, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data" / "cifar10-jpeg.tar.gz"


@pytest.fixture(scope="session")
def real_archive() -> Path:
    """The copy of real CIFAR-10 as JPEG files: skipped where absent, but a failure where it was named."""
    named = os.environ.get("CIFAROPS_TEST_DATA")
    path = Path(named) if named else _DEFAULT_DATA
    if not path.is_file():
        message = f"no real images at {path}; name the archive with CIFAROPS_TEST_DATA"
        if named:
            pytest.fail(message)
        pytest.skip(message)
    return path
