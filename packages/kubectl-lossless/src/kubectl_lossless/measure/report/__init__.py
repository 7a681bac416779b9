"""Results of an experiment: `Report`, and its forms (figures, terminal table, chart, page)."""

from kubectl_lossless.measure.report.model import Report

__all__ = ["Report"]
