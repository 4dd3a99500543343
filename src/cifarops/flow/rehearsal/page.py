"""The transcript as one page that loads nothing."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from cifarops.files import write_atomic
from cifarops.flow.rehearsal.transcript import Chapter, Summary


def write_page(path: Path, summary: Summary, chapters: Sequence[Chapter]) -> None:
    """Write the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifarops.flow.rehearsal", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = _words
    page = environment.get_template("transcript.html").render(
        summary=summary, chapters=chapters, made=time.strftime("%Y-%m-%d %H:%M"), place=path.parent
    )
    write_atomic(path, page.encode())


def _words(text: str) -> Markup:
    """Show what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704
