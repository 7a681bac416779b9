"""kubectl lossless: the requests that a rolling update of a workload loses, and the lines that lose them."""

__version__ = "0.2.0"
