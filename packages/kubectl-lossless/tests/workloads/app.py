"""A Flask application as a tutorial has it."""

import os
import time

from flask import Flask

app = Flask(__name__)
time.sleep(float(os.environ.get("START_TAKES", "0")))


@app.get("/")
def index():
    return {"hello": "world"}


@app.get("/unavailable")
def unavailable():
    return {"hello": "nobody"}, 503


@app.get("/slow")
def slow():
    time.sleep(3)
    return {"hello": "at last"}
