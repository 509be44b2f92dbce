"""Recommend items to people that a checkpoint's data never saw: ``recbole-ext recommend``."""

from __future__ import annotations

import argparse

import pandas as pd
from tabulate import tabulate

from recbole_ext.tools.new_users import ORDERS, Answer, Recommender, load, read_atomic

DESCRIPTION = """\
Recommend items to people that the data of a checkpoint never saw.

    recbole-ext recommend saved/MeLU-….pth --users new.user --ratings new.inter --topk 10

The files are atomic files with the data's own columns. Items that a user has rated are not shown.
A list begins with what a user is likely to meet and to like; --by rating puts first what has the
highest predicted rating, if the model predicts ratings.
"""
TAKES_SETTINGS = False
Tables = tuple[pd.DataFrame | None, pd.DataFrame | None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checkpoint, the users and the length of the list."""
    add_new_user_arguments(parser)
    parser.add_argument("--topk", type=int, default=10, help="number of items for each user")
    parser.add_argument("--by", choices=list(ORDERS), help="what the list is ordered by")


def main(options: argparse.Namespace) -> str:
    """The recommendations, as a table."""
    if not (options.users or options.ratings):
        raise ValueError("give --users, --ratings or both")
    recommender = load(options.checkpoint)
    users, ratings = tables_of(options, recommender)
    answer = recommender.recommend(users, ratings, topk=options.topk, by=options.by)
    said = [answer_text(answer, options.output), f"ordered by: {ORDERS[options.by or 'likely']}"]
    if answer.counts["users without ratings"]:
        said += ["users without ratings get what is popular, or what their content lets expect"]
    return "\n".join(said)


def add_new_user_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checkpoint, the new users and the output."""
    parser.add_argument("checkpoint", help="path of the run's checkpoint")
    parser.add_argument("--users", metavar="FILE", help="atomic .user file of the new users")
    parser.add_argument("--ratings", metavar="FILE", help="atomic .inter file of their ratings")
    parser.add_argument("--output", metavar="FILE", help="file for a tab-separated table")


def tables_of(options: argparse.Namespace, recommender: Recommender) -> Tables:
    """The users and the ratings of the options; ``None`` for a file that is not given."""
    separator = recommender.config["field_separator"]
    users, ratings = (
        read_atomic(file, separator) if file else None for file in (options.users, options.ratings)
    )
    return users, ratings


def answer_text(answer: Answer, output: str | None) -> str:
    """The table of an answer, unless it is written to a file, and the counts."""
    counts = ", ".join(f"{name} {count}" for name, count in answer.counts.items())
    if output:
        answer.table.to_csv(output, sep="\t", index=False)
        return counts
    rows = answer.table.to_dict("list")
    return tabulate(rows, headers="keys", floatfmt=".4f", disable_numparse=[2]) + f"\n{counts}"
