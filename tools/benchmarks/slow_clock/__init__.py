"""A directory for PYTHONPATH: `sitecustomize` in it slows the leader worker's clock down."""
