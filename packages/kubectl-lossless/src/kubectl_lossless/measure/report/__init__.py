"""Results of an experiment: `Report`, and its forms (figures, terminal table, chart, page)."""

from kubectl_lossless.measure.report.model import FORMAT, Report

__all__ = ["FORMAT", "Report"]
