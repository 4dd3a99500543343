"""Keeping the registry's aliases in line with the ledger, without depending on the registry."""

from dataclasses import dataclass
from typing import Protocol

from cifarops.errors import CifaropsError
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings


class Aliases(Protocol):
    """What has aliases: a `Registry`, or one that is opened later."""

    def sync_aliases(self, ledger: Ledger) -> None:
        """Let the aliases say what the ledger's environments say."""


@dataclass(frozen=True)
class UnopenedRegistry:
    """A registry that is opened only when its aliases are due, so that a rollback works while it is damaged.

    Attributes:
        settings: Of the workspace whose registry it is.
    """

    settings: Settings

    def sync_aliases(self, ledger: Ledger) -> None:
        """Open the registry and bring its aliases in line."""
        from cifarops.registry.versions import Registry

        Registry.of(self.settings).sync_aliases(ledger)


def sync(registry: Aliases, ledger: Ledger) -> str | None:
    """Bring the aliases in line; returns why that failed, or None. The ledger is right either way."""
    try:
        registry.sync_aliases(ledger)
    except CifaropsError as error:
        return f"The registry's aliases are out of date: {error.message} {error.fix}"
    return None
