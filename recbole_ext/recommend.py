"""Recommendations for people that a checkpoint's data never saw.

    python -m recbole_ext.recommend saved/MeLU-….pth --users new.user --ratings new.inter --topk 10

The files are atomic files with the data's own columns. Items that a user has rated are not shown.
``--ask`` tells what to ask each of them next instead.
"""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate


def main(arguments: list[str]) -> int:
    """Print or write the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_ext.recommend",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="as its run printed it")
    parser.add_argument("--users", metavar="FILE", help="who they are: an atomic .user file")
    parser.add_argument("--ratings", metavar="FILE", help="what they rated: an atomic .inter file")
    parser.add_argument("--topk", type=int, default=10, help="items for each user")
    parser.add_argument("--ask", action="store_true", help="items to ask about next")
    parser.add_argument("--output", metavar="FILE", help="write a tab-separated table there")
    options = parser.parse_args(arguments)
    sys.argv = sys.argv[:1]  # RecBole reads the command line

    from recbole_ext.cold_start import load, read_atomic

    try:
        if not (options.users or options.ratings):
            raise ValueError("give --users, --ratings or both")
        recommender = load(options.checkpoint)
        separator = recommender.config["field_separator"]
        users, ratings = (
            read_atomic(file, separator) if file else None
            for file in (options.users, options.ratings)
        )
        ask = recommender.ask_next if options.ask else recommender.recommend
        answer = ask(users, ratings, topk=options.topk)
        if options.output:
            answer.table.to_csv(options.output, sep="\t", index=False)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not options.output:
        rows = answer.table.to_dict("list")
        print(tabulate(rows, headers="keys", floatfmt=".4f", disable_numparse=[2]))
    print(", ".join(f"{name} {count}" for name, count in answer.counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
