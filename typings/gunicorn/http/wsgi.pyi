# Beyond types-gunicorn: names with an underscore; headers are a list and the environ is a dict (PEP 3333);
# wsgi.errors is of text.
import socket
from abc import ABCMeta
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from gunicorn.config import Config
from gunicorn.http.message import Request

_R = TypeVar("_R", bound=Response)

class FileWrapper:
    def __init__(self, filelike: Any, blksize: int = 8192) -> None: ...

# An io.RawIOBase, which would be of bytes.
class WSGIErrorsWrapper(metaclass=ABCMeta):
    def __init__(self, cfg: Config) -> None: ...
    def write(self, data: str) -> None: ...
    def writelines(self, lines: Iterable[str], /) -> None: ...

def _make_early_hints_callback(
    req: Request, sock: socket.socket, resp: Response
) -> Callable[[list[tuple[str, str]]], None]: ...
@overload
def create(
    req: Request,
    sock: socket.socket,
    client: Any,
    server: Any,
    cfg: Config,
    response_class: None = None,
    response_args: tuple[Any, ...] = (),
) -> tuple[Response, dict[str, Any]]: ...
@overload
def create(
    req: Request,
    sock: socket.socket,
    client: Any,
    server: Any,
    cfg: Config,
    response_class: type[_R],
    response_args: tuple[Any, ...] = (),
) -> tuple[_R, dict[str, Any]]: ...

class Response:
    req: Request
    sock: socket.socket
    version: str
    status: str | None
    status_code: int | None
    chunked: bool
    must_close: bool
    headers: list[tuple[str, str]]
    headers_sent: bool
    response_length: int | None
    sent: int
    upgrade: bool
    cfg: Config
    _omits_body: bool
    def __init__(self, req: Request, sock: socket.socket, cfg: Config) -> None: ...
    def force_close(self) -> None: ...
    def should_close(self) -> bool: ...
    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]: ...
    def default_headers(self) -> list[str]: ...
    def send_headers(self) -> None: ...
    def write(self, arg: bytes) -> None: ...
    def write_file(self, respiter: FileWrapper) -> None: ...
    def close(self) -> None: ...
