"""What goes over the wire under `/admin`."""

from pydantic import BaseModel, ConfigDict, Field

from cifarops.ledger.records import EnvironmentName

LONGEST_REASON = 500


class Change(BaseModel):
    """Why something is changed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(min_length=1, max_length=LONGEST_REASON)


class VersionChange(Change):
    """Which version is meant: its number in the registry."""

    version: int = Field(ge=1)


class CanaryChange(VersionChange):
    """The share of the clients that it gets, in percent."""

    percent: float = Field(gt=0, lt=100)


class Beside(BaseModel):
    """A version beside the stable one; `percent` is null for a shadow."""

    version: int
    digest: str
    percent: float | None = None


class EnvironmentRecord(BaseModel):
    """What an environment is to run; `GET /version` says when this server does."""

    environment: EnvironmentName
    generation: int
    version: int | None
    digest: str | None
    previous_version: int | None
    canary: Beside | None
    shadow: Beside | None
