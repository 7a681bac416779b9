"""What an experiment found: `Report`, and how it is told (figures, terminal table, chart, page)."""

from kubectl_lossless.measure.report.model import FORMAT, Report

__all__ = ["FORMAT", "Report"]
