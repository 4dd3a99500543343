"""What the routes do: one server's version, ledger and counters behind them."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from cifarops.bundle.code import CodeRecord
from cifarops.errors import CifaropsError, ConflictError, DataError, UsageError
from cifarops.ledger.records import Attempt, EnvironmentName, Prediction
from cifarops.serving import protocol
from cifarops.serving.engine import Engine, Outcome
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Mirror
from cifarops.serving.protocol import ProblemError
from cifarops.serving.recorder import Recorded, Recorder
from cifarops.serving.router import Assignment, Router

_OTHERS_WRITE_SECONDS = (0.1, 0.3)


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        pool: Where images are decoded and classified, so that the event loop stays free.
        keep_images: Whether the images themselves go to the ledger.
        code: The code release that this process runs from, or None.
    """

    environment: EnvironmentName
    router: Router
    recorder: Recorder
    metrics: Metrics
    mirror: Mirror
    pool: Executor
    keep_images: bool
    code_version: str
    code: CodeRecord | None = None

    def assign(self, key: str | None = None) -> Assignment:
        """Say which version answers now.

        Args:
            key: Whose requests go to the same version each time; None asks for the stable version.

        Raises:
            ProblemError: There is none yet (503).
        """
        route = self.router.route
        assignment = route.assign(key)
        if assignment is None:
            reason = route.error or f"Nothing was promoted to {self.environment} yet."
            raise ProblemError(
                503,
                "not-ready",
                f"{reason} Promote a version: cifarops deploy promote VERSION --to {self.environment}",
                headers={"Retry-After": "1"},
            )
        return assignment

    async def predict(self, assignment: Assignment, content: bytes) -> tuple[int, bytes]:
        """Answer one image file; returns the version that did, and the JSON of an `Answer`.

        Raises:
            ProblemError: The image can't be used (422).
        """
        loop = asyncio.get_running_loop()
        try:
            with self.mirror.first_answer():
                return await loop.run_in_executor(self.pool, self._predict, assignment, content)
        except DataError as error:
            raise ProblemError(422, "unusable-image", f"{error.message} {error.fix}") from error

    async def feedback(self, feedback: protocol.Feedback) -> protocol.FeedbackAnswer:
        """Write the true label of a prediction to the ledger."""
        try:
            status = await self._record(feedback.prediction_id, feedback.label)
        except UsageError as error:
            raise ProblemError(404, "unknown-prediction", f"{error.message} {error.fix}") from error
        except DataError as error:
            raise ProblemError(422, "unknown-label", f"{error.message} {error.fix}") from error
        except ConflictError as error:
            detail = f"Prediction {feedback.prediction_id} was labelled differently before than {feedback.label!r}."
            raise ProblemError(409, "contradicting-label", f"{detail} {error.fix}") from error
        except CifaropsError as error:
            raise ProblemError(
                503, "ledger-unavailable", f"{error.message} {error.fix}", headers={"Retry-After": "5"}
            ) from error
        return protocol.FeedbackAnswer(
            prediction_id=feedback.prediction_id, label=feedback.label, status=status
        )

    async def _record(self, prediction_id: str, label: str) -> Recorded:
        """Write a label; another process may have answered just now and be about to write the prediction."""
        for pause in _OTHERS_WRITE_SECONDS:
            try:
                return await asyncio.wrap_future(self.recorder.feedback(prediction_id, label))
            except UsageError:
                await asyncio.sleep(pause)
        return await asyncio.wrap_future(self.recorder.feedback(prediction_id, label))

    def version(self) -> protocol.ServerVersion:
        """Say what answers, and what should."""
        route = self.router.route
        return protocol.ServerVersion(
            environment=self.environment,
            model_version=route.engine.version if route.engine else None,
            digest=route.engine.digest if route.engine else None,
            generation=route.generation,
            wanted_generation=route.wanted,
            error=route.error,
            canary_version=route.canary.version if route.canary else None,
            canary_percent=route.percent,
            shadow_version=route.shadow.version if route.shadow else None,
            beside_error=route.beside_error,
            code_version=self.code_version,
            code_release=self.code.sha256 if self.code else None,
            code_commit=self.code.commit if self.code else None,
            keep_images=self.keep_images,
            pid=os.getpid(),
        )

    def _predict(self, assignment: Assignment, content: bytes) -> tuple[int, bytes]:
        def ask(version: Engine) -> Outcome:
            return version.answer(content)

        engine, outcome = self._first_answer(assignment, ask)
        prediction = Prediction(
            id=uuid.uuid4().hex,
            at=time.time(),
            environment=self.environment,
            version=engine.version,
            label=outcome.label,
            probabilities=outcome.probabilities,
            image=outcome.image if self.keep_images else None,
            classes=engine.classes,
        )
        self.recorder.add(prediction)
        if assignment.mirror is not None and engine is assignment.engine:
            self.mirror.offer(prediction.id, assignment.mirror, ask, size=len(content))
        probabilities = outcome.probabilities.tolist()
        # Built by hand: validating our own answer would cost a good part of the time of a small model.
        answer = {
            "prediction_id": prediction.id,
            "label": engine.classes[outcome.label],
            "confidence": probabilities[outcome.label],
            "probabilities": dict(zip(engine.classes, probabilities, strict=True)),
            "model_version": engine.version,
            "environment": self.environment,
        }
        return engine.version, json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()

    def _first_answer(
        self, assignment: Assignment, ask: Callable[[Engine], Outcome]
    ) -> tuple[Engine, Outcome]:
        """Let the assigned version answer, and its fallback where it fails; returns who did, and the answer."""
        begun = time.perf_counter()
        try:
            outcome = ask(assignment.engine)
        except DataError:
            raise
        except Exception:  # ONNX Runtime raises a type of its own for each cause
            self._note(assignment, begun, failed=True)
            if assignment.fallback is None:
                raise
            return assignment.fallback, ask(assignment.fallback)
        self._note(assignment, begun, failed=False)
        return assignment.engine, outcome

    def _note(self, assignment: Assignment, begun: float, *, failed: bool) -> None:
        version, seconds = assignment.engine.version, time.perf_counter() - begun
        self.metrics.model_seconds.labels(version).observe(seconds)
        if failed:
            self.metrics.version_failures.labels(version).inc()
        if assignment.compared:
            self.recorder.add(Attempt(time.time(), self.environment, version, failed, seconds))
