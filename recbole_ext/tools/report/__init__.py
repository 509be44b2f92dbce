"""One page about one or several runs: everything that is known of them, in one file."""

from recbole_ext.tools.report.evaluated_run import evaluate_run
from recbole_ext.tools.report.writing import chapter, write_report

__all__ = ["chapter", "evaluate_run", "write_report"]
