"""The experiment: a rolling update under load, watched and measured.

Three concepts, each usable alone:

- `rollout.load`: clients that send requests at a steady rate, retry nothing and keep every failure.
- `rollout.watch`: the pods of a Deployment over time, as kubectl tells them.
- `rollout.report`: the figures, the JSON, the terminal table and the page made of both.

`rollout.experiment` puts them together; `python -m rollout --help` is its command line.
This module imports nothing, so that the load (gevent) and the rest never share a process by accident.
"""
