"""The experiment: a rolling update under load, watched and measured.

Three concepts, each usable alone:

- `rollout.load`: clients that send requests at a steady rate, retry nothing and keep every failure.
- `rollout.watch`: the pods of a Deployment over time, as kubectl tells them.
- `rollout.report`: the figures, the JSON, the terminal table and the page made of both.

`rollout.stage` is the part of the cluster they need, given back as it was found. `rollout.experiment` puts
them together for one update, `rollout.course` for all rungs; `python -m rollout --help` is the command line.
This module imports nothing, so that the load (gevent) and the rest never share a process by accident.
"""
