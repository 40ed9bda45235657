"""Reports that explain themselves: one HTML file without a network, or Markdown with pictures."""

from tfinv.report.builder import Report
from tfinv.report.terms import TERMS, explain

__all__ = ["TERMS", "Report", "explain"]
