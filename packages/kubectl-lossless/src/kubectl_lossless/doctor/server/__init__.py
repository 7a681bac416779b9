"""Known facts of a container's server, from its command line and its environment.

What each server does at SIGTERM was measured with a request in flight for 3 s and an idle kept connection,
on loopback with defaults: uvicorn, hypercorn, granian and Gunicorn finish the request; daphne, waitress and
uWSGI drop it; a bare Python program, `flask run` and `http.server` have no handler, so as PID 1 they ignore
SIGTERM and are killed at the end of the grace period.
"""
