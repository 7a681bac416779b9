"""Measure what a rollout of a workload loses, and find out why.

- `load`: clients that send requests at a steady rate, retry nothing and keep every failure;
- `watch`: the pods of a workload over time, and what belongs to them;
- `verdict`: what was lost, brought together with what happened to the pods and what the manifest says;
- `report`: the figures, the JSON, the terminal's text and the page of all of it.

This module imports nothing: the load's process needs none of the rest.
"""
