"""Example images of a drift: nine from before the alarm began to build up, nine of the newest."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from cifarops.files import write_atomic
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger

_MARGIN = 200  # predictions before the alarm that may have drifted already
_GAP = 4
_SIDE = 64


def save_examples(
    ledger: Ledger, environment: EnvironmentName, version: int, alarm_seq: int, path: Path
) -> Path | None:
    """Write a PNG file with images before (above) and after (below); None where none were kept.

    Args:
        ledger: Holds the images.
        environment: Where they were answered.
        version: Which version answered.
        alarm_seq: Position of the prediction that raised the alarm.
        path: The file.
    """
    before = ledger.images(environment, version=version, first=0, last=max(0, alarm_seq - _MARGIN))
    after = ledger.images(environment, version=version, first=alarm_seq, last=2**62)
    if not len(after):
        return None
    rows = [images for images in (before, after) if len(images)]
    width = max(len(images) for images in rows) * (_SIDE + _GAP)
    sheet = np.full((len(rows) * (_SIDE + _GAP), width, 3), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            enlarged = np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.NEAREST))
            top, left = row * (_SIDE + _GAP), column * (_SIDE + _GAP)
            sheet[top : top + _SIDE, left : left + _SIDE] = enlarged
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, format="PNG")
    write_atomic(path, content.getvalue())
    return path
