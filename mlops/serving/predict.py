"""``POST /predict``: from the bytes of a body to the bytes of its answer.

It is an ASGI application, and no route of FastAPI's kind, whose handling of arguments and answers costs more than
the model does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from mlops.serving import answering, answers, plain_lists, problems, questions
from mlops.serving.answering import Part
from mlops.serving.answers import Group
from mlops.serving.asgi import REQUEST_ID, App, Receive, Scope, Send, header, notes
from mlops.serving.models import Models
from mlops.serving.problems import ProblemError
from mlops.serving.together import Together

logger = logging.getLogger(__name__)

INLINE_BYTES: Final = (
    2_048  # up to this size a body is answered in the event loop: a thread costs more than that
)
PATH: Final = "/predict"
JSON: Final = b"application/json"


class PredictFirst:
    """Middleware that answers ``POST /predict`` itself; the way to a route has three more layers."""

    def __init__(self, app: App, predict: Predict) -> None:
        self._app, self._predict = app, predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        is_predict = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        await (self._predict if is_predict else self._app)(scope, receive, send)


class Predict:
    """Answers requests with the champions.

    Parameters
    ----------
    models : Models
    most_requests : int
        Longest list.
    watch : callable
        Called with the groups of each answer: for metrics and the request log.
    """

    def __init__(
        self,
        models: Models,
        most_requests: int,
        watch: Callable[[Sequence[Group]], None],
    ) -> None:
        self._models, self._most, self._watch = models, most_requests, watch
        self._large = Together(self._parts_of_large)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        request_id = notes(scope)[REQUEST_ID]
        try:
            _require_json(scope)
            body = await _body(receive)
            if body is None:  # the client is gone
                return
            if len(body) <= INLINE_BYTES:
                groups, text = self._answer(body, request_id)
            else:
                groups, text = await self._large.answer(body, request_id)
            self._watch(groups)
        except ProblemError as problem:
            await send_problem(send, problem, request_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            await send_problem(send, failure(), request_id)
        else:
            await _send(send, 200, JSON, text)

    def _answer(self, body: bytes, request_id: str) -> tuple[list[Group], bytes]:
        asked = questions.read(body, self._most)
        groups = answering.answer(asked, self._models.get, self._models.zone_names)
        return groups, answers.as_json(groups, asked.is_list, request_id)

    def _parts_of_large(self, body: bytes) -> tuple[list[Part], bool]:
        asked = plain_lists.read(body, self._most) or questions.read(body, self._most)
        return answering.split(asked, self._models.get, self._models.zone_names), asked.is_list


def failure() -> ProblemError:
    """The problem of a mistake in this program, or in a version's code."""
    return ProblemError(500, "the service failed. Its log says why.")


async def send_problem(send: Send, problem: ProblemError, request_id: str) -> None:
    """Answer with a problem."""
    text = problems.body(problem.status, problem.detail, request_id, problem.errors)
    more = tuple((name.encode(), value.encode()) for name, value in problem.headers.items())
    await _send(send, problem.status, problems.MEDIA_TYPE.encode(), text, more)


async def _send(
    send: Send, status: int, kind: bytes, text: bytes, more: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(text)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def _body(receive: Receive) -> bytes | None:
    """The body, which is complete if a middleware has limited it; None if the client is gone."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _require_json(scope: Scope) -> None:
    """Raise unless the body is said to be JSON in UTF-8, and not compressed."""
    kind = header(scope, b"content-type")
    if kind != JSON:
        name, _, parameters = (kind or b"nothing").decode("latin-1").lower().partition(";")
        if name.strip() != "application/json" or parameters.replace('"', "").strip() not in (
            "",
            "charset=utf-8",
        ):
            got = "nothing" if kind is None else repr(kind.decode("latin-1")[:60])
            raise ProblemError(415, f"content-type: expected application/json; got {got}")
    coding = header(scope, b"content-encoding")
    if coding and coding.lower() != b"identity":
        raise ProblemError(415, f"content-encoding: expected none; got {coding.decode('latin-1')[:60]!r}")
