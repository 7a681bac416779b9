"""Keeps the pages in docs/ true: their commands are run, and their figures come from measurements.

blocks.py runs the commands of a page and compares what they print; figures.py puts the figures of the
experiment's JSON into the pages. `python -m tools.docs --help` is the way in.
"""
