"""rollout/experiment.py, as far as no cluster is needed: where the load finds the service."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from rollout.experiment import first_to_answer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"version": "v1", "pod": "a"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_a_pod_that_is_ready_before_it_listens_is_waited_for() -> None:
    """As v1's are; a load from inside the cluster instead would be another experiment."""
    port = free_port()
    nobody, late = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{port}"
    with HTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False) as server:

        def listen() -> None:
            time.sleep(0.5)  # not a wait for something: how late it is
            server.server_bind()
            server.server_activate()
            server.serve_forever(poll_interval=0.05)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            assert first_to_answer([nobody, late], None, 20) == late
        finally:
            server.shutdown()
            thread.join()


def test_nodes_that_never_answer_are_given_up() -> None:
    assert first_to_answer([f"http://127.0.0.1:{free_port()}"], None, 0.3) is None
    assert first_to_answer([], None) is None
