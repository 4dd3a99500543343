"""What the ledger holds for comparing versions that run at the same time: attempts at requests, and second answers."""

from collections.abc import Sequence

import numpy as np

from cifarops.ledger.predictions import Predictions
from cifarops.ledger.records import Attempt, Attempts, EnvironmentName, Pairs, Prediction, Shadowed


class Comparisons(Predictions):
    """What was answered, how it went, and what another version would have said."""

    def add_records(self, records: Sequence[Prediction | Attempt | Shadowed]) -> None:
        """Store what a server has to tell, in the order given and in one transaction."""
        predictions = [record for record in records if isinstance(record, Prediction)]
        attempts = [
            (record.at, record.environment, record.version, record.failed, record.seconds)
            for record in records
            if isinstance(record, Attempt)
        ]
        shadowed = [
            (
                record.prediction_id,
                record.at,
                record.environment,
                record.version,
                record.label,
                record.probabilities.astype("<f4").tobytes(),
            )
            for record in records
            if isinstance(record, Shadowed)
        ]
        with self._transaction() as connection:
            self._insert_predictions(connection, predictions)
            connection.executemany(
                "INSERT INTO attempts (at, environment, version, failed, seconds) VALUES (?, ?, ?, ?, ?)",
                attempts,
            )
            connection.executemany(
                "INSERT INTO shadows (prediction_id, at, environment, version, label, probabilities)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                shadowed,
            )

    def attempts(self, environment: EnvironmentName, *, since: float) -> Attempts:
        """Return how every request of an environment fared that was recorded since a time while a canary ran."""
        rows = self._rows(
            "SELECT version, failed, seconds FROM attempts WHERE environment = ? AND at >= ? ORDER BY seq",
            (environment, since),
        )
        versions, failed, seconds = zip(*rows, strict=True) if rows else ((), (), ())
        return Attempts(
            np.array(versions, np.int64), np.array(failed, np.bool_), np.array(seconds, np.float64)
        )

    def pairs(
        self, environment: EnvironmentName, *, answered_by: int, shadowed_by: int, since: float
    ) -> Pairs:
        """Return the requests since a time that one version answered and another one shadowed."""
        rows = self._rows(
            "SELECT p.label, s.label, COALESCE(f.label, -1) FROM shadows s"
            " JOIN predictions p ON p.id = s.prediction_id"
            " LEFT JOIN feedback f ON f.prediction_id = s.prediction_id"
            " WHERE s.environment = ? AND s.version = ? AND s.at >= ? AND p.version = ? ORDER BY s.seq",
            (environment, shadowed_by, since, answered_by),
        )
        answered, shadowed, truth = zip(*rows, strict=True) if rows else ((), (), ())
        return Pairs(np.array(answered, np.int64), np.array(shadowed, np.int64), np.array(truth, np.int64))
