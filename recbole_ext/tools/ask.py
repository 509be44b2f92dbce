"""Say which items to ask new users about: ``recbole-ext ask``."""

from __future__ import annotations

import argparse

import pandas as pd
from tabulate import tabulate

from recbole_ext.meta.judging.evidence import evidence_candidates
from recbole_ext.quick_start import load_data_and_model
from recbole_ext.tools.new_users import load
from recbole_ext.tools.recommend import add_new_user_arguments, answer_text, tables_of

DESCRIPTION = """\
Say which items to ask new users about next.

    recbole-ext ask saved/MeLU-….pth
    recbole-ext ask saved/MeLU-….pth --users new.user --ratings new.inter --topk 10

With --users or --ratings, any general model answers for each of these users. Without them, MeLU
and MAMO give one answer for everybody: the evidence candidates, which are the items whose ratings
move the model most and that many users know.
"""
TAKES_SETTINGS = False
FOR_EACH, FOR_EVERYBODY = 10, 20  # the items that are shown by default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checkpoint, the users and the length of the answer."""
    add_new_user_arguments(parser)
    default = f"by default {FOR_EACH} for each user, or {FOR_EVERYBODY} for everybody"
    parser.add_argument("--topk", type=int, help=f"number of items, {default}")


def main(options: argparse.Namespace) -> str:
    """The items to ask about, as a table."""
    if options.users or options.ratings:
        return _for_each(options, FOR_EACH if options.topk is None else options.topk)
    return _for_everybody(options, FOR_EVERYBODY if options.topk is None else options.topk)


def _for_each(options: argparse.Namespace, topk: int) -> str:
    recommender = load(options.checkpoint)
    users, ratings = tables_of(options, recommender)
    return answer_text(recommender.ask_next(users, ratings, topk=topk), options.output)


def _for_everybody(options: argparse.Namespace, topk: int) -> str:
    _, model, dataset, *_ = load_data_and_model(options.checkpoint)
    rows = evidence_candidates(model, dataset, topk)
    if options.output:
        pd.DataFrame(rows).to_csv(options.output, sep="\t", index=False)
        return f"items {len(rows)}"
    return tabulate(rows, headers="keys", floatfmt=".4f")
