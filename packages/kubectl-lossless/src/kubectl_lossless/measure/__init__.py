"""Measure the losses of a workload's rollout, and find out why.

- `load`: clients that send requests at a steady rate, retry nothing and keep every failure;
- `watch`: the pods of a workload over time, and their objects;
- `verdict`: losses, related to events of the pods and settings of the manifest;
- `report`: the figures, the JSON, the terminal's text and the page of all of it.

This module imports nothing: the load's process needs none of the rest.
"""
