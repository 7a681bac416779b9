"""Tests of app/errors.py."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient


def test_unknown_path_is_reported_with_the_known_paths(client: FlaskClient) -> None:
    response = client.get("/nowhere")
    problem = response.get_json()
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
    assert problem["type"] == "about:blank"
    assert (problem["title"], problem["status"], problem["instance"]) == ("Not Found", 404, "/nowhere")
    assert {"/api", "/api/sleep/<seconds>", "/health", "/metrics"} <= set(problem["allowed"])


def test_forbidden_method_is_reported_with_the_allowed_methods(client: FlaskClient) -> None:
    response = client.delete("/api")
    assert (response.status_code, response.mimetype) == (405, "application/problem+json")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert response.get_json()["allowed"] == ["GET", "HEAD", "OPTIONS"]


def test_log_has_the_traceback_that_the_client_must_not_see(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/breaks")
    def breaks() -> str:
        raise RuntimeError("the secret")

    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/breaks")
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert b"secret" not in response.data
    assert b"RuntimeError" not in response.data
    assert "RuntimeError: the secret" in caplog.text
    assert "Traceback" in caplog.text


def test_problem_under_a_path_prefix_names_the_requested_path(client: FlaskClient) -> None:
    problem = client.get("/no where?a=b", environ_overrides={"SCRIPT_NAME": "/flask"}).get_json()
    assert problem["instance"] == "/flask/no%20where"
    assert problem["detail"] == "There is nothing at /flask/no where."
    assert {"/flask/api", "/flask/health"} <= set(problem["allowed"])
    problem = client.delete("/api", environ_overrides={"SCRIPT_NAME": "/flask"}).get_json()
    assert (problem["instance"], problem["detail"].split()[0]) == ("/flask/api", "/flask/api")


def test_redirect_names_neither_scheme_nor_host(client: FlaskClient) -> None:
    response = client.get("/api//sleep/1")
    assert (response.status_code, response.headers["Location"]) == (308, "/api/sleep/1")
    assert b"/api/sleep/1" in response.data
    assert b"http:" not in response.data
