"""A report on one or several runs, as one page in one file."""

from recbole_ext.tools.report.evaluated_run import evaluate_run
from recbole_ext.tools.report.writing import chapter, write_report

__all__ = ["chapter", "evaluate_run", "write_report"]
