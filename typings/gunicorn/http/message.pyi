# Beyond types-gunicorn: names with an underscore; and no attribute is None once a request is parsed.
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import Body
from gunicorn.http.unreader import Unreader

class HeaderPolicy:
    cfg: Config
    peer_addr: Any
    scheme: str | None
    version: Any  # two numbers; None before the request line is parsed
    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]: ...

class Message(HeaderPolicy):
    unreader: Unreader
    remote_addr: Any
    headers: list[tuple[str, str]]
    trailers: list[tuple[str, str]]
    body: Body
    must_close: bool
    limit_request_fields: int
    limit_request_field_size: int
    max_buffer_headers: int
    def __init__(self, cfg: Config, unreader: Unreader, peer_addr: Any) -> None: ...
    def force_close(self) -> None: ...
    def should_close(self) -> bool: ...

class Request(Message):
    method: str
    uri: str
    path: str
    query: str
    fragment: str
    limit_request_line: int
    req_number: int
    _use_fast: bool
    def __init__(self, cfg: Config, unreader: Unreader, peer_addr: Any, req_number: int = 1) -> None: ...
    def parse_request_line(self, line_bytes: bytes) -> None: ...
