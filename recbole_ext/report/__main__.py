"""One self-contained page about one or several runs.

    python -m recbole_ext.report saved/LambdaOptMF-….pth saved/BPR-….pth --output report.html

A run is given by its checkpoint. Its data set is loaded and the model is tested again; nothing is
trained, and no checkpoint is changed.
"""

from __future__ import annotations

import argparse
import logging
import sys


def main(arguments: list[str]) -> int:
    """Write the report; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_ext.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a checkpoint, as its run printed it"
    )
    parser.add_argument("--output", default="report.html", help="the page's file")
    options = parser.parse_args(arguments)
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    logging.basicConfig(level=logging.ERROR)  # before RecBole prints the runs' whole settings

    from recbole_ext.report import write_report

    try:
        write_report(options.runs, options.output)
    except (ValueError, OSError, NotImplementedError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
