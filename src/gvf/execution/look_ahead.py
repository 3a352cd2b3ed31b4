"""Map a function over items in threads that work a few items ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def look_ahead(function: Callable[[Item], Value], items: Iterable[Item], threads: int) -> Generator[Value, None, None]:
    """Yield the function's values in the order of the items, while `threads` threads compute the next ones.

    At most `threads` values are computed or kept ahead of the one that is yielded; with 0, each is computed when it is asked for.
    An exception of the function is raised in its turn. When the generator is closed, nothing more is begun, and it waits for
    what is being computed.
    """
    if threads == 0:
        yield from map(function, items)
        return
    ahead: deque[Future[Value]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
