"""The id of a request and the headers of each answer."""

from __future__ import annotations

import asyncio

import pytest
from support.asgi_calls import answering, call, scope

from mlops.serving.asgi import Receive, Refusal, Scope, Send, refuse
from mlops.serving.headers import Headers


def test_every_answer_has_the_headers_for_security() -> None:
    answer = call(Headers(answering(headers=[(b"content-type", b"text/plain")])), scope("/model", "GET"))
    assert answer.status == 200
    headers = answer.headers
    assert len(headers.pop("x-request-id")) == 16
    assert headers == {
        "content-type": "text/plain",
        "content-security-policy": (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
        "cache-control": "no-store",
    }


def test_a_route_keeps_its_own_policy() -> None:
    own = [(b"content-security-policy", b"style-src 'self'"), (b"cache-control", b"max-age=60")]
    headers = call(Headers(answering(headers=own)), scope("/docs", "GET")).headers
    assert headers["content-security-policy"] == "style-src 'self'"
    assert headers["cache-control"] == "max-age=60"
    assert headers["x-content-type-options"] == "nosniff"


def test_each_request_has_an_id_of_its_own_that_the_route_knows() -> None:
    seen: list[Scope] = []
    app = Headers(answering(seen))
    sent = [call(app, scope()).headers["x-request-id"] for _ in range(2)]
    assert sent == [each["state"]["request_id"] for each in seen]
    assert sent[0] != sent[1]


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("0f8fad5b-d9cb-469f-a165-70867728950e", True),
        ("trace_01", True),
        ("short", False),
        ("x" * 65, False),
        ("<script>alert(1)</script>", False),
        ("trace 01 level=error", False),
        ("trace_01\n", False),
    ],
)
def test_only_a_harmless_id_of_the_client_is_taken(given: str, is_taken: bool) -> None:
    found = call(Headers(answering()), scope(x_request_id=given)).headers["x-request-id"]
    assert (found == given) is is_taken


def test_a_refusal_has_the_id_and_the_headers_too() -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, send, Refusal(429, "rate", "expected fewer requests", ((b"retry-after", b"1"),)))

    answer = call(Headers(refusing), scope())
    assert answer.problem == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "expected fewer requests",
        "errors": [],
        "request_id": answer.headers["x-request-id"],
    }
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-length"] == str(len(answer.body))


def test_what_is_no_request_passes() -> None:
    seen: list[Scope] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    asyncio.run(Headers(lifespan)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]
