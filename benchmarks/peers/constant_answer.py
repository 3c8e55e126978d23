"""An ASGI app that reads a request and always answers the same: what HTTP alone costs.

It runs in the environment of the service, under the same server.
"""

from __future__ import annotations

import json

ANSWER = {
    "duration_minutes": 11.733333, "low_80_minutes": 7.366667, "high_80_minutes": 17.216667,
    "low_95_minutes": 5.483333, "high_95_minutes": 24.833333, "out_of_range": False, "distance": "given",
    "calibrated": True, "service": "green", "model_version": "12",
    "request_id": "0f6ad2f0a1b24c0e8c3f5b7d9e1a2b3c",
}  # fmt: skip
ONE, LIST = json.dumps(ANSWER).encode(), json.dumps([ANSWER] * 1000).encode()


async def app(scope, receive, send):
    """Answer ``ONE`` to an object, ``LIST`` to a list."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    parts, more = [], True
    while more:
        event = await receive()
        parts.append(event.get("body", b""))
        more = event.get("more_body", False)
    answer = LIST if b"".join(parts)[:1] == b"[" else ONE
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
