"""The ledger's predictions and their true labels."""

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.errors import ConflictError, DataError, UsageError
from cifarops.ledger.database import Database
from cifarops.ledger.records import Answered, EnvironmentName, Feedback, Prediction, Window

_IMAGE_CHANNELS = 3
_EXAMPLES = 9
_SELECT_WINDOW = (
    "SELECT p.seq, p.id, p.at, p.version, p.label, p.probabilities, COALESCE(f.label, -1), p.traits"
    " FROM predictions p LEFT JOIN feedback f ON f.prediction_id = p.id WHERE p.environment = ?"
)


class Predictions(Database):
    """What was answered, and what was true."""

    def add_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch of predictions, and what their versions call the classes."""
        with self._transaction() as connection:
            self._insert_predictions(connection, predictions)

    @staticmethod
    def _insert_predictions(connection: sqlite3.Connection, predictions: Sequence[Prediction]) -> None:
        rows = [
            (
                p.id,
                p.at,
                p.environment,
                p.version,
                p.label,
                p.probabilities.astype("<f4").tobytes(),
                p.image.tobytes() if p.keep_image and p.image is not None else None,
                None if p.traits is None else p.traits.astype("<f2").tobytes(),
            )
            for p in predictions
        ]
        names = {(p.version, p.classes) for p in predictions if p.classes}
        connection.executemany(
            "INSERT OR REPLACE INTO classes (version, names) VALUES (?, ?)",
            [(version, json.dumps(classes)) for version, classes in names],
        )
        connection.executemany(
            "INSERT INTO predictions (id, at, environment, version, label, probabilities, image, traits)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def answered(self, prediction_id: str) -> Answered:
        """Return one prediction with everything that is known of it.

        Raises:
            UsageError: No such prediction.
        """
        rows = self._rows(
            "SELECT p.at, p.environment, p.version, p.label, p.probabilities, p.image IS NOT NULL, c.names,"
            " f.label, f.at, f.actor FROM predictions p LEFT JOIN classes c ON c.version = p.version"
            " LEFT JOIN feedback f ON f.prediction_id = p.id WHERE p.id = ?",
            (prediction_id,),
        )
        if not rows:
            raise _no_prediction(prediction_id)
        at, environment, version, label, probabilities, kept, names, truth, told_at, told_by = rows[0]
        return Answered(
            prediction=Prediction(
                id=prediction_id,
                at=at,
                environment=environment,
                version=version,
                label=label,
                probabilities=np.frombuffer(probabilities, dtype="<f4"),
                classes=tuple(json.loads(names or "[]")),
            ),
            image_kept=bool(kept),
            feedback=None if truth is None else Feedback(truth, told_at, told_by),
        )

    def class_index(self, prediction_id: str, name: str) -> int:
        """Return which class the version that answered a prediction calls `name`.

        Raises:
            UsageError: No such prediction.
            DataError: That version knows no such class.
        """
        rows = self._rows(
            "SELECT p.version, c.names FROM predictions p LEFT JOIN classes c ON c.version = p.version WHERE p.id = ?",
            (prediction_id,),
        )
        if not rows:
            raise _no_prediction(prediction_id)
        version, names = rows[0][0], json.loads(rows[0][1] or "[]")
        if name not in names:
            raise DataError(
                f"{name!r} is not a class of version {version}, which answered {prediction_id}.",
                fix=f"Its classes: {', '.join(names) or 'not known'}.",
            )
        return int(names.index(name))

    def add_feedback(
        self, prediction_id: str, label: int, *, actor: str | None = None
    ) -> Literal["recorded", "known"]:
        """Store the true class index of a prediction; saying the same again changes nothing.

        Args:
            prediction_id: Which one.
            label: The class index.
            actor: Who says so, where that is known.

        Raises:
            UsageError: No such prediction.
            ConflictError: Another label was given before.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT f.label FROM predictions p LEFT JOIN feedback f ON f.prediction_id = p.id WHERE p.id = ?",
                (prediction_id,),
            ).fetchone()
            if row is None:
                raise _no_prediction(prediction_id)
            if row[0] is None:
                connection.execute(
                    "INSERT INTO feedback (prediction_id, label, at, actor) VALUES (?, ?, ?, ?)",
                    (prediction_id, label, time.time(), actor),
                )
                return "recorded"
            if row[0] != label:
                raise ConflictError(
                    f"Prediction {prediction_id} was labelled {row[0]} before; {label} contradicts it.",
                    fix="Settle which label is right; the first one stands.",
                )
            return "known"

    def window(
        self,
        environment: EnvironmentName,
        *,
        last: int,
        version: int | None = None,
        labelled: bool = False,
    ) -> Window:
        """Return the `last` predictions of an environment, oldest first.

        Args:
            environment: Which environment.
            last: How many at most.
            version: Only those that this version answered.
            labelled: Only those whose true label is known.

        Raises:
            DataError: The versions among them know different numbers of classes.
        """
        rows = self._rows(
            f"{_SELECT_WINDOW} AND (? IS NULL OR p.version = ?) AND (NOT ? OR f.label IS NOT NULL)"
            " ORDER BY p.seq DESC LIMIT ?",
            (environment, version, version, labelled, last),
        )[::-1]
        return _window(rows, environment)

    def predictions_after(
        self, environment: EnvironmentName, *, seq: int, version: int, limit: int
    ) -> Window:
        """Return the next predictions of a version behind a position in the ledger, in the order they were written.

        Args:
            environment: Which environment.
            seq: The position; 0 begins at the first one.
            version: Which version answered.
            limit: How many at most.
        """
        rows = self._rows(
            f"{_SELECT_WINDOW} AND p.version = ? AND p.seq > ? ORDER BY p.seq LIMIT ?",
            (environment, version, seq, limit),
        )
        return _window(rows, environment)

    def images(
        self, environment: EnvironmentName, *, version: int, first: int, last: int
    ) -> NDArray[np.uint8]:
        """Return the newest nine images that were kept of a version's predictions from position `first` to `last`.

        Returns:
            uint8 (N, S, S, 3), oldest first; N is 0 where none were kept.
        """
        rows = self._rows(
            "SELECT image FROM predictions WHERE environment = ? AND version = ? AND seq BETWEEN ? AND ?"
            " AND image IS NOT NULL ORDER BY seq DESC LIMIT ?",
            (environment, version, first, last, _EXAMPLES),
        )[::-1]
        return _stacked([image for (image,) in rows])

    def labelled_images(
        self, environment: EnvironmentName, *, last: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the newest `last` images kept with a true label, oldest first; only those of the newest one's size.

        Returns:
            Images uint8 (N, S, S, 3) and labels int64 (N,); N is 0 where no image was kept or labelled.
        """
        rows = self._rows(
            "SELECT p.image, f.label FROM predictions p JOIN feedback f ON f.prediction_id = p.id"
            " WHERE p.environment = ? AND p.image IS NOT NULL ORDER BY p.seq DESC LIMIT ?",
            (environment, last),
        )[::-1]
        rows = [row for row in rows if len(row[0]) == len(rows[-1][0])]
        return _stacked([image for image, _ in rows]), np.array([label for _, label in rows], dtype=np.int64)


def _stacked(images: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return images of the newest one's size, uint8 (N, S, S, 3); the others are left out."""
    same = [image for image in images if len(image) == len(images[-1])]
    side = round((len(same[-1]) / _IMAGE_CHANNELS) ** 0.5) if same else 0
    return np.frombuffer(b"".join(same), dtype=np.uint8).reshape(len(same), side, side, _IMAGE_CHANNELS)


def _window(rows: Sequence[tuple[Any, ...]], environment: EnvironmentName) -> Window:
    seqs, ids, at, versions, predicted, probabilities, truth, traits = (
        zip(*rows, strict=True) if rows else [()] * 8
    )
    if len({len(row) for row in probabilities}) > 1:
        raise DataError(
            f"The newest predictions of {environment} have different numbers of classes.",
            fix="Look at one version at a time.",
        )
    flat = np.frombuffer(b"".join(probabilities), dtype="<f4")
    return Window(
        ids=tuple(ids),
        at=np.array(at, dtype=np.float64),
        versions=np.array(versions, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        probabilities=flat.reshape(len(rows), -1) if rows else flat.reshape(0, 0),
        truth=np.array(truth, dtype=np.int64),
        traits=_traits(traits),
        seqs=np.array(seqs, dtype=np.int64),
    )


def _traits(stored: Sequence[bytes | None]) -> NDArray[np.float16]:
    """Return the rows of one length, the newest's; what has another length or is not there is NaN."""
    size = next((len(row) for row in reversed(stored) if row), 0)
    missing = np.full(size // 2, np.nan, "<f2").tobytes()
    whole = b"".join(row if row and len(row) == size else missing for row in stored)
    return np.frombuffer(whole, dtype="<f2").reshape(len(stored), size // 2)


def _no_prediction(prediction_id: str) -> UsageError:
    return UsageError(
        f"There is no prediction {prediction_id!r}.", fix="Send the prediction_id that /predict answered."
    )
