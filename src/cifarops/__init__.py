"""cifarops: the whole life of an image classifier, from images to a served, promoted and reversible model."""

import os

# ONNX Runtime from 1.29 on reports its use to its maker and keeps an id of the machine. It decides that once, when it
# is imported, so this must be said before anything of ours imports it. Who wants to report sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # takes longer to import than all of this package's root

    return version(__name__)
