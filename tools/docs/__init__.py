"""Tools that test and fill the pages in docs/: the commands run, and the figures come from measurements.

blocks.py runs the commands of a page and compares their output; figures.py and pictures.py put the figures of
the experiment's JSON into the pages; editions.py fills translations; load_tools.py runs load generators. The
entry point is `python -m tools.docs --help`.
"""
