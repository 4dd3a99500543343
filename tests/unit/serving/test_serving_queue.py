import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from cifarops.serving import queue as queues
from cifarops.serving.caller import Caller, introduce, note_leaving
from cifarops.serving.metrics import Metrics
from cifarops.serving.problems import ProblemError
from cifarops.serving.queue import BURST, PATIENCE, Queue

Work = Callable[[], Awaitable[str]]


class Desk:
    """A queue with one place at work, and work that goes on until it is told to end."""

    def __init__(self) -> None:
        self.metrics = Metrics("production", "0")
        self.queue = Queue(1, self.metrics)
        self.begun: list[str] = []
        self.done: dict[str, asyncio.Future[str]] = {}

    def ask(self, name: str, client: str = "", timeout_s: float = 30) -> "asyncio.Task[str]":
        return self.ask_as(Caller(client or name, timeout_s=timeout_s), name)

    def ask_as(self, caller: Caller, name: str) -> "asyncio.Task[str]":
        def begin() -> asyncio.Future[str]:
            self.begun.append(name)
            self.done[name] = asyncio.get_running_loop().create_future()
            return self.done[name]

        return asyncio.get_running_loop().create_task(self.queue.run(caller, begin))

    async def finish(self, name: str) -> None:
        self.done[name].set_result(name)
        await settle()

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"cifarops_{name}", labels)
        return found or 0.0


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def kind_of(task: "asyncio.Task[str]") -> str:
    error = task.exception()
    assert isinstance(error, ProblemError), task
    return error.kind


def test_lines_are_served_in_turn_so_a_flood_waits_behind_itself() -> None:
    async def test() -> None:
        desk = Desk()
        tasks = [desk.ask(f"flood{k}", "flood") for k in range(5)]
        await settle()
        tasks += [desk.ask("a"), desk.ask("b")]
        await settle()
        for _ in range(7):
            await desk.finish(desk.begun[-1])
        assert desk.begun == ["flood0", "flood1", "a", "b", "flood2", "flood3", "flood4"]
        assert [task.result() for task in tasks]
        assert desk.value("queue_length") == 0

    run(test())


def test_a_full_queue_refuses_and_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        desk = Desk()
        monkeypatch.setattr(desk.queue, "_work_s", 0.25)
        tasks = [desk.ask(f"{k}", "one") for k in range(1 + BURST)]
        await settle()
        late = desk.ask("late", "one")
        await settle()
        error = late.exception()
        assert isinstance(error, ProblemError)
        assert (error.status_code, error.kind) == (503, "overloaded")
        assert dict(error.headers or {}) == {"Retry-After": str(math.ceil(BURST * 0.25))}
        with pytest.raises(ProblemError, match="more to do"):
            desk.queue.check(Caller("one"))
        assert desk.value("overloaded") == 1
        assert desk.value("refused_total", reason="queue") == 2
        for task in tasks:
            task.cancel()

    run(test())


def test_while_overloaded_only_few_wait_until_a_calm_second_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "CALM_SECONDS", 0.05)

    async def test() -> None:
        desk = Desk()
        for k in range(2 + BURST):
            desk.ask(f"{k}", "one")
        await settle()
        while len(desk.begun) <= BURST - PATIENCE:
            await desk.finish(desk.begun[-1])
        assert desk.value("queue_length") == PATIENCE
        refused = desk.ask("more", "one")
        await settle()
        assert kind_of(refused) == "overloaded"
        while desk.value("queue_length"):
            await desk.finish(desk.begun[-1])
        assert desk.value("overloaded") == 1
        await asyncio.sleep(0.06)
        desk.queue.check(Caller("one"))
        assert desk.value("overloaded") == 0

    run(test())


def test_in_a_full_queue_the_longest_line_makes_room_for_others() -> None:
    async def test() -> None:
        desk = Desk()
        flood = [desk.ask(f"flood{k}", "flood") for k in range(1 + BURST)]
        await settle()
        bystander = desk.ask("bystander")
        await settle()
        assert kind_of(flood[-1]) == "too-many-requests"
        await desk.finish("flood0")
        await desk.finish("flood1")
        await desk.finish("bystander")
        assert bystander.result() == "bystander"
        for task in flood:
            task.cancel()

    run(test())


def test_who_has_more_waiting_than_others_is_told_so() -> None:
    async def test() -> None:
        desk = Desk()
        desk.ask("working")
        tasks = [desk.ask("small", "small"), *(desk.ask(f"{k}", "flood") for k in range(BURST - 1))]
        await settle()
        refused = desk.ask("more", "flood")
        await settle()
        error = refused.exception()
        assert isinstance(error, ProblemError)
        assert error.status_code == 429
        for task in tasks:
            task.cancel()

    run(test())


def test_what_waits_too_long_is_not_begun() -> None:
    async def test() -> None:
        desk = Desk()
        working = desk.ask("working")
        waiting = desk.ask("waiting", timeout_s=0.02)
        await asyncio.sleep(0.05)
        assert kind_of(waiting) == "deadline-exceeded"
        await desk.finish("working")
        assert working.result() == "working"
        assert desk.begun == ["working"]
        assert desk.value("refused_total", reason="deadline") == 1

    run(test())


def test_what_would_wait_too_long_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        desk = Desk()
        monkeypatch.setattr(desk.queue, "_work_s", 1.0)
        tasks = [desk.ask(f"{k}", "one") for k in range(4)]
        await settle()
        hurried = desk.ask("hurried", "one", timeout_s=2)
        patient = desk.ask("patient", "one", timeout_s=4)
        await settle()
        assert kind_of(hurried) == "overloaded"
        assert not patient.done()
        for task in [*tasks, patient]:
            task.cancel()

    run(test())


def test_work_that_takes_too_long_keeps_its_place_until_it_ends() -> None:
    async def test() -> None:
        desk = Desk()
        slow = desk.ask("slow", timeout_s=0.02)
        next_one = desk.ask("next")
        await asyncio.sleep(0.05)
        assert kind_of(slow) == "deadline-exceeded"
        assert desk.begun == ["slow"]
        await desk.finish("slow")
        assert desk.begun == ["slow", "next"]
        await desk.finish("next")
        assert next_one.result() == "next"

    run(test())


def test_work_of_a_client_that_has_left_is_not_begun() -> None:
    async def test() -> None:
        desk = Desk()
        desk.ask("working")
        scope: dict[str, Any] = {}
        caller = Caller("leaver")
        introduce(scope, caller)
        waiting = desk.ask_as(caller, "waiting")
        other = desk.ask("other")
        await settle()
        note_leaving(scope)
        await settle()
        assert kind_of(waiting) == "client-gone"
        again = desk.ask_as(caller, "again")
        await settle()
        assert kind_of(again) == "client-gone"
        await desk.finish("working")
        await desk.finish("other")
        assert other.result() == "other"
        assert desk.begun == ["working", "other"]

    run(test())


def test_work_that_fails_or_can_not_begin_frees_its_place() -> None:
    async def test() -> None:
        desk = Desk()

        def unable() -> Awaitable[str]:
            raise RuntimeError("no thread")

        for _ in range(3):
            with pytest.raises(RuntimeError, match="no thread"):
                await desk.queue.run(Caller("a"), unable)
        failing = desk.ask("failing")
        await settle()
        desk.done["failing"].set_exception(ValueError("broken"))
        await settle()
        with pytest.raises(ValueError, match="broken"):
            failing.result()
        fine = desk.ask("fine")
        await settle()
        await desk.finish("fine")
        assert fine.result() == "fine"

    run(test())


def test_cancelled_tasks_leave_no_place_taken() -> None:
    async def test() -> None:
        desk = Desk()
        working = desk.ask("working")
        waiting = [desk.ask(f"{k}") for k in range(5)]
        await settle()
        desk.done["working"].set_result("working")
        for task in waiting:
            task.cancel()
        await settle()
        assert working.result() == "working"
        fine = desk.ask("fine")
        await settle()
        while "fine" not in desk.begun:
            await desk.finish(desk.begun[-1])
        await desk.finish("fine")
        assert fine.result() == "fine"
        assert desk.value("queue_length") == 0

    run(test())
