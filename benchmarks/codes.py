"""Code releases to swap: this commit's, one that differs in a comment, and one whose server never gets ready."""

import subprocess
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT
from cifarops.deployment.code import CodeRelease, build_code
from tests.support.releases import variant


def good_and_bad_code(releases: Path) -> tuple[list[CodeRelease], CodeRelease]:
    """Build this checkout's commit and make variants of it; changes that no commit holds are left out."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "checkout"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
        base = build_code(source, releases=releases)
    return variants(base)


def variants(base: CodeRelease) -> tuple[list[CodeRelease], CodeRelease]:
    """Return a code release with another good one, and one whose server never gets ready."""
    title = '"""Running a server'
    other = variant(base, "serving/server.py", title, '"""Another one. Running a server')
    bad = variant(base, "serving/server.py", title, 'raise SystemExit("broken")\n"""Running a server')
    return [base, other], bad
