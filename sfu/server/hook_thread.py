"""A thread with an event loop for one extension module: what blocks there, or exits, harms no call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

CLOSE_S = 2.0
"""How long a module's code may take to end when the server stops; then it is left behind."""
SERVER_S = 10.0
"""How long a module's code waits for the server to do what it asks."""
MOST_THREADS = 8
"""For `asyncio.to_thread` of one module."""


class HookError(Exception):
    """A hook ended in a way that would end a task or a program: the text says how."""


class HookThread:
    """Made in the server's event loop, and called from there; `ask_server` is for the module's code."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = asyncio.get_running_loop()
        self._server_thread = threading.get_ident()
        self._ended = asyncio.Event()
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_Threads())
        self._loop.set_exception_handler(self._complain)
        # It is not waited for when the process ends: code that never comes back would keep it from that.
        threading.Thread(target=self._run, name=f"extension {name}", daemon=True).start()

    async def call(
        self, function: Callable[[Any], Awaitable[Any]], argument: object, timeout_s: float | None
    ) -> Any:
        """What `function` returns there. Raises what it raises, always an `Exception`, or `TimeoutError`.

        One that takes longer is cancelled and left to itself, whether it heeds that or not.
        """
        outcome: asyncio.Future[Any] = self._server.create_future()
        tasks: list[asyncio.Task[Any]] = []

        def begin() -> None:
            if not outcome.done():
                tasks.append(self._loop.create_task(_sheltered(function, argument)))
                tasks[0].add_done_callback(ended)

        def ended(task: asyncio.Task[Any]) -> None:
            error = HookError("cancelled") if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, Exception):
                error = HookError(repr(error))
            result = task.result() if error is None else None
            with contextlib.suppress(RuntimeError):
                # Where it is raised the server is gone.
                self._server.call_soon_threadsafe(_settle, outcome, result, error)

        self._loop.call_soon_threadsafe(begin)
        try:
            done, _ = await asyncio.wait({outcome}, timeout=timeout_s)
            if not done:
                raise TimeoutError(f"it took longer than {timeout_s:g} s")
            return outcome.result()
        finally:
            if not outcome.done():
                outcome.cancel()
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])

    def ask_server(self, work: Callable[[], T]) -> T:
        """Have `work` done by the server, and wait for it. From any thread; raises what it raises."""
        if threading.get_ident() == self._server_thread:
            return work()
        outcome: Future[T] = Future()

        def do() -> None:
            try:
                outcome.set_result(work())
            except Exception as error:
                outcome.set_exception(error)

        self._server.call_soon_threadsafe(do)
        return outcome.result(SERVER_S)

    async def wait_for_server(self, work: Callable[[], Awaitable[T]]) -> T:
        """Like `ask_server` for what has to be awaited; the module's other code goes on meanwhile."""

        async def run() -> T:
            return await work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._server))

    async def close(self) -> None:
        """End what runs there, within `CLOSE_S`."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._wind_up()))
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._ended.wait()
        except TimeoutError:
            log.error("the extension %s does not end: it is left behind", self.name)

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                log.error("a task of the extension %s wanted to exit: %r", self.name, error)
        self._loop.close()
        with contextlib.suppress(RuntimeError):
            self._server.call_soon_threadsafe(self._ended.set)

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CLOSE_S / 2)
        self._closing = True
        self._loop.stop()

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._closing:
            error = context.get("exception")
            log.error("the extension %s: %s", self.name, context["message"], exc_info=error)


async def _sheltered(function: Callable[[Any], Awaitable[Any]], argument: object) -> Any:
    """What is raised inside ends neither the loop nor more than this call."""
    try:
        made = function(argument)
        if not isinstance(made, Awaitable):
            raise TypeError("a hook is an async function")
        return await made
    except (SystemExit, KeyboardInterrupt) as error:
        raise HookError(repr(error)) from error


def _settle(outcome: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if outcome.done():
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)


class _Threads(ThreadPoolExecutor):
    """Python waits for the threads of the usual pool when it ends, however long they take; not for these."""

    def __init__(self) -> None:
        super().__init__(1)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()

        def call() -> None:
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    outcome.set_exception(error)

        self._calls.put(call)
        if self._started < MOST_THREADS:
            self._started += 1
            threading.Thread(target=self._work, name="extension's own", daemon=True).start()
        return outcome

    def _work(self) -> None:
        while True:
            self._calls.get()()
