"""Large bodies: one is answered at a time, and those that wait meanwhile are answered together.

Their requests become one table for each version: in a long table the trees need less time for a row, and what
comes before and after them is done once. Each body keeps its own answer, and a mistake in one does not touch the
others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from mlops.serving import answering, answers
from mlops.serving.answering import Part
from mlops.serving.answers import Group

MOST_BYTES: Final = 2**20  # of the bodies that are answered together: about eight lists of 1,000

Answered = tuple[list[Group], bytes]
"""The groups of a body's answers, and their JSON."""


@dataclass(eq=False)
class _Waiting:
    """A body until it is answered; then it has a text or an error."""

    body: bytes
    request_id: str
    parts: Sequence[Part] = ()
    groups: list[Group] = field(default_factory=list)
    text: bytes = b""
    error: Exception | None = None
    is_list: bool = False

    @property
    def is_done(self) -> bool:
        return bool(self.text) or self.error is not None

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, `Together.answer` raises it again
            self.error = error


class Together:
    """Answers large bodies in a thread of its own.

    Parameters
    ----------
    read : callable
        From a body to its parts, and whether it is a list; it may raise `ProblemError`.
    """

    def __init__(self, read: Callable[[bytes], tuple[list[Part], bool]]) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(1, "lists")  # one: the arithmetic of a table has threads of its own
        self._waiting: deque[_Waiting] = deque()

    async def answer(self, body: bytes, request_id: str) -> Answered:
        """The answer to a body.

        Raises
        ------
        ProblemError, MlopsError
            As `answering.answer`.
        """
        waiting = _Waiting(body, request_id)
        self._waiting.append(waiting)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._finish, waiting)
        if waiting.error:
            raise waiting.error
        return waiting.groups, waiting.text

    def _finish(self, waiting: _Waiting) -> None:
        """Answer the bodies that came first until this one is among them; its turn may have come before."""
        while not waiting.is_done:
            self._answer(self._take())

    def _take(self) -> list[_Waiting]:
        """The next bodies, as many as may be answered together."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].body)
        while self._waiting and (size := size + len(self._waiting[0].body)) <= MOST_BYTES:
            taken.append(self._waiting.popleft())
        return taken

    def _answer(self, bodies: Sequence[_Waiting]) -> None:
        for each in bodies:
            with each.own_errors():
                each.parts, each.is_list = self._read(each.body)
        of_version: dict[int, list[tuple[_Waiting, Part]]] = defaultdict(list)
        for each in bodies:
            for part in each.parts:
                of_version[id(part.served)].append((each, part))
        for asked in of_version.values():
            _compute(asked)
        for each in bodies:
            if not each.error:
                with each.own_errors():
                    each.text = answers.as_json(each.groups, each.is_list, each.request_id)


def _compute(asked: Sequence[tuple[_Waiting, Part]]) -> None:
    """Give each body the answers to its part; if that fails for all together, each part is computed alone."""
    try:
        groups = answering.compute([part for _, part in asked])
    except Exception as error:
        if len(asked) == 1:
            asked[0][0].error = error
            return
        for each in asked:
            _compute([each])
        return
    for (body, _), group in zip(asked, groups, strict=True):
        body.groups.append(group)
