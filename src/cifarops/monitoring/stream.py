"""Where the test stands in an environment's stream of predictions: kept in a file, read on from there."""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.bundle.reference import Reference, load_reference
from cifarops.bundle.store import Bundle
from cifarops.errors import DataError
from cifarops.files import locked, write_atomic
from cifarops.ledger.records import EnvironmentName, Window
from cifarops.ledger.store import Ledger
from cifarops.monitoring.detectors import Sample
from cifarops.monitoring.martingale import Martingale
from cifarops.monitoring.views import Views
from cifarops.progress import Progress, silent

_CHUNK = 10_000


class _Position(BaseModel):
    """What the file holds.

    Attributes:
        seq: Position in the ledger up to which predictions were seen.
        round: How often the test began anew after an alarm that was over.
        alarm_seq: Position of the prediction that raised the alarm, or 0.
        state: The martingale's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    seq: int = 0
    round: int = 0
    alarm_seq: int = 0
    state: str = ""


@dataclass(frozen=True)
class Yardstick:
    """What a bundle's predictions are compared with.

    Attributes:
        views: How predictions become numbers.
        sample: Those of `valid`.
    """

    bundle: Bundle
    reference: Reference
    views: Views
    sample: Sample

    @classmethod
    def of(cls, bundle: Bundle) -> "Yardstick":
        """Read it off a bundle.

        Raises:
            IntegrityError: Its reference can't be read.
        """
        reference, classes = load_reference(bundle), bundle.manifest.classes
        views = Views(reference, bundle.manifest.temperature, classes)
        probabilities = reference.probabilities(bundle.manifest.temperature)
        seen = views(probabilities, reference.traits)
        sample = Sample(probabilities.argmax(axis=1), seen, views.names, views.groups, classes)
        return cls(bundle, reference, views, sample)

    def sample_of(self, window: Window) -> Sample:
        """Return a window as detectors see it; what is missing stands at the reference's mean.

        Raises:
            DataError: The predictions are not this bundle's: they have another number of classes.
        """
        return Sample(
            window.predicted,
            np.nan_to_num(self._seen(window), nan=0.0),
            self.views.names,
            self.views.groups,
            self.sample.classes,
        )

    def martingale(self, alpha: float) -> Martingale:
        """Begin the test."""
        return Martingale(
            self.sample.views,
            self.sample.predicted,
            groups=self.views.groups,
            classes=len(self.sample.classes),
            alpha=alpha,
        )

    def bet(self, martingale: Martingale, window: Window) -> None:
        """Let the test see a window."""
        martingale.see(self._seen(window), window.predicted)

    def _seen(self, window: Window) -> NDArray[np.float32]:
        classes = len(self.sample.classes)
        if len(window) and window.probabilities.shape[1] != classes:
            raise DataError(
                f"The predictions have {window.probabilities.shape[1]} classes, the bundle {classes}.",
                fix="Check predictions against the version that answered them.",
            )
        return self.views(window.probabilities.reshape(len(window), classes), window.traits)


class StreamTest:
    """The test of one version in one environment.

    A file that is damaged or of another bundle is as good as none: the test then begins again with all predictions that
    the ledger still has.

    Args:
        yardstick: Of the bundle that the version is.
        environment: Where.
        version: Which version.
        ledger: Holds the predictions.
        folder: Where the position is kept.
        alpha: Chance that undrifted predictions ever raise the alarm; half of it is for the first round, a quarter
            for the second, and so on.
    """

    def __init__(
        self,
        yardstick: Yardstick,
        environment: EnvironmentName,
        version: int,
        *,
        ledger: Ledger,
        folder: Path,
        alpha: float,
    ) -> None:
        self._yardstick = yardstick
        self._environment = environment
        self._version = version
        self._ledger = ledger
        self._path = folder / f"stream-{environment}-{version}.json"
        self._alpha = alpha
        self._position, self.martingale = self._restore()

    @property
    def alarm_seq(self) -> int:
        """Position in the ledger of the prediction that raised the alarm; 0 without one."""
        return self._position.alarm_seq

    def catch_up(self, progress: Progress = silent) -> None:
        """See every prediction that has come since the last time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._path.with_suffix(".lock")):
            self._position, self.martingale = self._restore()  # another process may have seen more
            while self.martingale.alarm is None:
                window = self._ledger.predictions_after(
                    self._environment, seq=self._position.seq, version=self._version, limit=_CHUNK
                )
                if not len(window):
                    break
                before = self.martingale.images
                self._yardstick.bet(self.martingale, window)
                seen = self.martingale.images - before
                alarm_seq = int(window.seqs[seen - 1]) if self.martingale.alarm else 0
                update = {"seq": int(window.seqs[seen - 1]), "alarm_seq": alarm_seq}
                self._position = self._position.model_copy(update=update)
                progress("predictions", self.martingale.images, self.martingale.images + _CHUNK)
            self._save()

    def begin_anew(self, seq: int) -> None:
        """Take the alarm for over, and test what comes behind a position in the ledger."""
        with locked(self._path.with_suffix(".lock")):
            self._position = _Position(
                digest=self._yardstick.bundle.digest, seq=seq, round=self._position.round + 1
            )
            self.martingale = self._fresh(self._position)
            self._save()

    def _restore(self) -> tuple[_Position, Martingale]:
        fresh = _Position(digest=self._yardstick.bundle.digest)
        try:
            position = _Position.model_validate_json(self._path.read_bytes())
            if position.digest != fresh.digest:
                return fresh, self._fresh(fresh)
            return position, self._fresh(position).resume(base64.b64decode(position.state))
        except (OSError, ValidationError, ValueError):
            return fresh, self._fresh(fresh)

    def _fresh(self, position: _Position) -> Martingale:
        return self._yardstick.martingale(self._alpha / 2 ** (position.round + 1))

    def _save(self) -> None:
        state = base64.b64encode(self.martingale.to_bytes()).decode()
        self._position = self._position.model_copy(update={"state": state})
        write_atomic(self._path, self._position.model_dump_json().encode())
