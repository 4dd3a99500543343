"""Which commit messages the policy admits. Pure: no Git, no files."""

import difflib
import re
from typing import Literal

from cifarops.errors import UsageError
from cifarops.flow.policy import Policy

MessageKind = Literal["run tests", "conventional", "merge"]

# What the pipeline's regular expressions call \s, so that hook and pipeline agree on every message.
_BLANK = r"[\t\n\f\r ]"
_MERGE = re.compile(
    r"Merge (branch|branches|commit|commits|remote-tracking branch|remote-tracking branches|tag) '"
)


def asks_for_tests(policy: Policy, text: str) -> bool:
    """Say whether a commit message is exactly the one that runs the unit tests; blanks at its end don't count."""
    return re.fullmatch(re.escape(policy.messages.run_tests) + f"{_BLANK}*", text) is not None


def check_message(policy: Policy, text: str) -> MessageKind:
    """Say which kind of commit message this is.

    Raises:
        UsageError: It is none that the policy admits; says what the nearest right one is.
    """
    messages = policy.messages
    if asks_for_tests(policy, text):
        return "run tests"
    if _MERGE.match(text):
        return "merge"
    header, _, rest = text.partition("\n")
    if not re.fullmatch(
        rf"({'|'.join(map(re.escape, messages.types))})(\([a-z0-9._/-]+\))?!?: \S.*", header.rstrip()
    ):
        raise UsageError(
            f"The commit message {header.rstrip()!r} has none of the admitted forms.",
            fix=_nearest_message(policy, header),
        )
    if rest and rest.partition("\n")[0].strip():
        raise UsageError(
            f"The commit message {header.rstrip()!r} goes on in its second line.",
            fix="Leave the second line empty and begin the body in the third.",
        )
    return "conventional"


def _nearest_message(policy: Policy, header: str) -> str:
    messages = policy.messages
    forms = f"Write '<type>: <what changes>' with a type of {', '.join(messages.types)}, or exactly {messages.run_tests!r}"
    words = re.sub(r"[\W_]+", " ", header).strip().lower()
    if difflib.SequenceMatcher(None, words, messages.run_tests).ratio() > 0.85:
        return f"{forms}. To run the unit tests: git commit --allow-empty -m {messages.run_tests!r}"
    reverted = re.match(r'Revert "(.+)"', header)
    if reverted:
        return f"{forms}; the nearest is: revert: {reverted[1]}"
    kind, colon, subject = header.strip().partition(":")
    close = difflib.get_close_matches(kind.strip().lower(), messages.types, n=1)
    if colon and close and subject.strip():
        return f"{forms}; the nearest is: {close[0]}: {subject.strip()}"
    return f"{forms}."
