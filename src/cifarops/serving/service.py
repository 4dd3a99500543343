"""What the routes do: one server's version, ledger and counters behind them."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from cifarops.bundle.code import CodeRecord
from cifarops.errors import CifaropsError, ConflictError, DataError, UsageError
from cifarops.ledger.records import Attempt, EnvironmentName, Prediction
from cifarops.serving import protocol
from cifarops.serving.caller import Caller
from cifarops.serving.engine import Engine, Outcome
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Ask, Mirror
from cifarops.serving.problems import ProblemError
from cifarops.serving.queue import Queue
from cifarops.serving.recorder import Recorded, Recorder
from cifarops.serving.router import Assignment, Router

_OTHERS_WRITE_SECONDS = (0.1, 0.3)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        pool: Where images are decoded and classified, so that the event loop stays free.
        queue: Whose turn it is there.
        bodies_bytes: Bytes of request bodies that are held in memory at once.
        keep_images: Whether the images themselves go to the ledger.
        code: The code release that this process runs from, or None.
    """

    environment: EnvironmentName
    router: Router
    recorder: Recorder
    metrics: Metrics
    mirror: Mirror
    pool: Executor
    queue: Queue
    bodies_bytes: int
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
                "not-ready",
                f"{reason} Promote a version: cifarops deploy promote VERSION --to {self.environment}",
                headers={"Retry-After": "1"},
            )
        return assignment

    async def predict(self, caller: Caller, assignment: Assignment, content: bytes) -> tuple[int, bytes]:
        """Answer one image file; returns the version that did, and the JSON of an `Answer`; raises as `answer` does."""
        return await self.answer(
            caller, assignment, lambda engine: [engine.answer(content)], _one_answer, size=len(content)
        )

    async def answer(
        self,
        caller: Caller,
        assignment: Assignment,
        ask: Ask,
        write: Callable[[Sequence[Prediction]], _T],
        *,
        size: int,
    ) -> tuple[int, _T]:
        """Ask a version about the images of one request, off the event loop, and record what it says.

        Args:
            caller: Whose turn it has to be.
            assignment: Which versions deal with it.
            ask: Reads the images as a version takes them, and puts them to it.
            write: Makes the answer to the client.
            size: Bytes that `ask` keeps in memory.

        Returns:
            The version that answered, and what `write` made.

        Raises:
            ProblemError: An image can't be used (422), it is not answered in time or at all (see `Queue.run`), or whatever
                `ask` raises.
        """
        loop = asyncio.get_running_loop()
        try:
            with self.mirror.first_answer():
                return await self.queue.run(
                    caller,
                    lambda: loop.run_in_executor(self.pool, self._answer, assignment, ask, write, size),
                )
        except DataError as error:
            raise ProblemError("unusable-image", f"{error.message} {error.fix}") from error

    async def feedback(self, feedback: protocol.Feedback, caller: Caller) -> protocol.FeedbackAnswer:
        """Write the true label of a prediction to the ledger, and who gave it.

        Raises:
            ProblemError: It does not fit the prediction (404, 409, 422), or the ledger is not ready for it (503, 504).
        """
        try:
            async with asyncio.timeout(caller.timeout_s):
                status = await self._record(feedback.prediction_id, feedback.label, caller.client)
        except TimeoutError as error:
            detail = f"The ledger took no label within {caller.timeout_s:g} s. Say it again: it counts once."
            raise ProblemError("deadline-exceeded", detail) from error
        except UsageError as error:
            raise ProblemError("unknown-prediction", f"{error.message} {error.fix}") from error
        except DataError as error:
            raise ProblemError("unknown-label", f"{error.message} {error.fix}") from error
        except ConflictError as error:
            detail = f"Prediction {feedback.prediction_id} was labelled differently before than {feedback.label!r}."
            raise ProblemError("contradicting-label", f"{detail} {error.fix}") from error
        except CifaropsError as error:
            raise ProblemError(
                "ledger-unavailable", f"{error.message} {error.fix}", headers={"Retry-After": "5"}
            ) from error
        return protocol.FeedbackAnswer(
            prediction_id=feedback.prediction_id, label=feedback.label, status=status
        )

    async def _record(self, prediction_id: str, label: str, by: str) -> Recorded:
        """Write a label; another process may have answered just now and be about to write the prediction."""
        for pause in _OTHERS_WRITE_SECONDS:
            try:
                return await asyncio.wrap_future(self.recorder.feedback(prediction_id, label, by))
            except UsageError:
                await asyncio.sleep(pause)
        return await asyncio.wrap_future(self.recorder.feedback(prediction_id, label, by))

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

    def _answer(
        self,
        assignment: Assignment,
        ask: Ask,
        write: Callable[[Sequence[Prediction]], _T],
        size: int,
    ) -> tuple[int, _T]:
        engine, outcomes = self._first_answer(assignment, ask)
        predictions = [self._prediction(engine, outcome) for outcome in outcomes]
        answer = write(predictions)
        for prediction in predictions:
            self.recorder.add(prediction)
        if assignment.mirror is not None and engine is assignment.engine:
            ids = [prediction.id for prediction in predictions]
            self.mirror.offer(ids, assignment.mirror, ask, size=size)
        return engine.version, answer

    def _prediction(self, engine: Engine, outcome: Outcome) -> Prediction:
        return Prediction(
            id=uuid.uuid4().hex,
            at=time.time(),
            environment=self.environment,
            version=engine.version,
            label=outcome.label,
            probabilities=outcome.probabilities,
            image=outcome.image,
            classes=engine.classes,
            keep_image=self.keep_images,
            traits=outcome.sketch,
        )

    def _first_answer(self, assignment: Assignment, ask: Ask) -> tuple[Engine, Sequence[Outcome]]:
        """Let the assigned version answer, and its fallback where it fails; returns who did, and the answer."""
        begun = time.perf_counter()
        try:
            outcomes = ask(assignment.engine)
        except (DataError, ProblemError):
            raise
        except Exception:  # ONNX Runtime raises a type of its own for each cause
            self._note(assignment, begun, failed=True)
            if assignment.fallback is None:
                raise
            return assignment.fallback, ask(assignment.fallback)
        self._note(assignment, begun, failed=False)
        return assignment.engine, outcomes

    def _note(self, assignment: Assignment, begun: float, *, failed: bool) -> None:
        version, seconds = assignment.engine.version, time.perf_counter() - begun
        self.metrics.attempted(version, seconds, failed=failed)
        if assignment.compared:
            self.recorder.add(Attempt(time.time(), self.environment, version, failed, seconds))


def _one_answer(predictions: Sequence[Prediction]) -> bytes:
    return json.dumps(protocol.answer_document(predictions[0]), ensure_ascii=False, allow_nan=False).encode()
