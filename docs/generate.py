"""Write the pages that are made from code, files and results, so that they can't disagree with them.

python -m docs.generate            write the pages of docs/reference/ that are made
python -m docs.generate --check    exit with 1 where a page on disk differs
"""

import sys
from pathlib import Path

from docs.pages.benchmarks import benchmarks_page
from docs.pages.bundle import bundle_page
from docs.pages.flow import flow_page
from docs.pages.params import params_page
from docs.pages.process import process_page
from docs.pages.serving import serving_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "params.md": params_page,
    "bundle.md": bundle_page,
    "serving.md": serving_page,
    "benchmarks.md": benchmarks_page,
    "flow.md": flow_page,
    "process.md": process_page,
}


def main() -> None:
    """Write the pages, or compare them with what lies there."""
    reference = ROOT / "docs" / "reference"
    stale = []
    for name, page in PAGES.items():
        path, text = reference / name, page(ROOT)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        sys.exit(f"docs/reference/{', '.join(stale)} is out of date; do: make docs")


if __name__ == "__main__":
    main()
