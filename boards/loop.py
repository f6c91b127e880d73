"""Coroutines from ordinary code: one event loop in a thread of its own, for the whole process.

PYNQ binds its interrupts to the loop in which they are made and keeps them, and a notebook has a loop of its own that
must not be blocked: so there is one loop, made once and never closed.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _work(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _the_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_work, args=(_loop,), name="moesaic", daemon=True).start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine; if the waiting is interrupted (Ctrl-C), the coroutine is cancelled first."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _the_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
