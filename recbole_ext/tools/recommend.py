"""Recommendations for people that a checkpoint's data never saw: ``recbole-ext recommend``."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from recbole_ext.tools.new_users import load, read_atomic

DESCRIPTION = """\
Recommend items to people that the data of a checkpoint never saw.

    recbole-ext recommend saved/MeLU-….pth --users new.user --ratings new.inter --topk 10

The files are atomic files with the data's own columns. Items that a user has rated are not shown.
"""
TAKES_SETTINGS = False


def add_new_user_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say who the new users are, and how much to print of the answer."""
    parser.add_argument("checkpoint", help="as its run printed it")
    parser.add_argument("--users", metavar="FILE", help="who they are: an atomic .user file")
    parser.add_argument("--ratings", metavar="FILE", help="what they rated: an atomic .inter file")
    parser.add_argument("--topk", type=int, default=10, help="items for each user")
    parser.add_argument("--output", metavar="FILE", help="write a tab-separated table there")


add_arguments = add_new_user_arguments


def main(options: argparse.Namespace) -> str:
    """The recommendations, as a table."""
    if not (options.users or options.ratings):
        raise ValueError("give --users, --ratings or both")
    return answer_for_new_users(options, ask=False)


def answer_for_new_users(options: argparse.Namespace, ask: bool) -> str:
    """A table for the users of the options, and what of their files could not be used.

    Args:
        options: of :func:`add_new_user_arguments`.
        ask: whether the table is of items to ask about; otherwise it is of recommendations.
    """
    recommender = load(options.checkpoint)
    separator = recommender.config["field_separator"]
    users, ratings = (
        read_atomic(file, separator) if file else None for file in (options.users, options.ratings)
    )
    question = recommender.ask_next if ask else recommender.recommend
    answer = question(users, ratings, topk=options.topk)
    counts = ", ".join(f"{name} {count}" for name, count in answer.counts.items())
    if options.output:
        answer.table.to_csv(options.output, sep="\t", index=False)
        return counts
    rows = answer.table.to_dict("list")
    return tabulate(rows, headers="keys", floatfmt=".4f", disable_numparse=[2]) + f"\n{counts}"
