"""A small ASGI application."""

import os
import time

time.sleep(float(os.environ.get("START_TAKES", "0")))


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b'{"hello": "world"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
