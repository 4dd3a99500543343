"""The server-side hooks: `python -m cifarops.flow.local.hook pre-receive|post-receive`, run by git in the bare repository.

`pre-receive` refuses a push as a whole before anything changes; `post-receive` remembers what happened and opens the
merge request that a push option asks for.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from cifarops.errors import CifaropsError
from cifarops.flow.git import Git
from cifarops.flow.local.forge import USER, LocalForge
from cifarops.flow.local.guard import Update, may_update
from cifarops.flow.local.state import Store


def refuse_push(root: Path, updates: Iterable[Update], user: str) -> list[str]:
    """Return a line for each change that the policy forbids, saying why and what to do instead."""
    git, state = Git(root), Store(root).read()
    answers = [may_update(git, state, user, update) for update in updates]
    return [f"{answer.reason} do: {answer.instead}" for answer in answers if not answer.allowed]


def take_push(root: Path, updates: Iterable[Update], user: str, options: Mapping[str, str]) -> list[str]:
    """Remember a push that was let in and return lines to show to who pushed.

    Args:
        root: The bare repository.
        updates: What changed.
        user: Login of who pushed.
        options: Push options as `name: value`; `merge_request.create` opens a merge request.
    """
    forge = LocalForge(root, user)
    told = []
    for update in updates:
        if update.deletes:
            continue
        if update.tag is not None:
            forge.note_tag(update.tag)
        if update.branch is not None:
            if "merge_request.create" in options:
                opened = forge.open(
                    update.branch,
                    options.get("merge_request.target", "develop"),
                    title=options.get("merge_request.title", ""),
                    description=options.get("merge_request.description", ""),
                )
                told.append(f"merge request !{opened.number} into {opened.target}: {opened.url}")
            forge.note_push(update.branch)
    return told


def _options(environ: Mapping[str, str]) -> dict[str, str]:
    count = int(environ.get("GIT_PUSH_OPTION_COUNT", "0"))
    pairs = (environ[f"GIT_PUSH_OPTION_{index}"].partition("=") for index in range(count))
    return {name: value for name, _, value in pairs}


def main() -> int:
    """Run the hook that the first argument names on the changes that git writes to stdin."""
    root, user = Path.cwd(), os.environ.get(USER, "")
    updates = [Update(*line.split()) for line in sys.stdin if line.strip()]
    try:
        if sys.argv[1] == "pre-receive":
            refused = refuse_push(root, updates, user)
            sys.stderr.write("".join(f"{line}\n" for line in refused))
            return 1 if refused else 0
        told = take_push(root, updates, user, _options(os.environ))
        sys.stderr.write("".join(f"{line}\n" for line in told))
    except CifaropsError as error:
        sys.stderr.write(f"{error.message} do: {error.fix}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
