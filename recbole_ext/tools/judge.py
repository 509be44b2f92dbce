"""Judge a checkpoint by users that its data never saw: ``recbole-ext judge``."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from recbole_ext.tools.new_users import GIVEN, judge, load
from recbole_ext.tools.recommend import add_new_user_arguments, tables_of

DESCRIPTION = """\
Judge a checkpoint by people that its data never saw.

    recbole-ext judge saved/MeLU-….pth --users new.user --ratings new.inter --given 0 1 5 20

Of each user so many ratings are given to the model; the lists that it then makes, and the ratings
that it predicts if it does, are judged by the user's other ratings.
"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checkpoint, the users and what is given of them."""
    add_new_user_arguments(parser)
    parser.add_argument(
        "--given", type=int, nargs="+", default=list(GIVEN), help="how many ratings are given"
    )
    parser.add_argument("--topk", type=int, default=10, help="length of a list")
    parser.add_argument("--seed", type=int, default=0, help="draws the ratings that are given")


def main(options: argparse.Namespace) -> str:
    """The measures, as a table."""
    if not options.ratings:
        raise ValueError("give --ratings: all ratings of the new users")
    recommender = load(options.checkpoint)
    users, ratings = tables_of(options, recommender)
    assert ratings is not None
    table = judge(recommender, users, ratings, options.given, options.topk, options.seed)
    if options.output:
        table.to_csv(options.output, sep="\t", index=False)
    return tabulate(table.to_dict("list"), headers="keys", floatfmt=".4f")
