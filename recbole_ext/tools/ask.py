"""Which items to ask new users about: ``recbole-ext ask``."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from recbole_ext.meta.judging.evidence import evidence_candidates
from recbole_ext.quick_start import load_data_and_model
from recbole_ext.tools.recommend import add_new_user_arguments, answer_for_new_users

DESCRIPTION = """\
Say which items to ask new users about next.

    recbole-ext ask saved/MeLU-….pth
    recbole-ext ask saved/MeLU-….pth --users new.user --ratings new.inter --topk 10

With --users or --ratings the answer is for each of these users, of any general model. Without them
it is the same for everybody: the evidence candidates of a MeLU or MAMO, whose ratings tell most.
"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, the users and how much to print."""
    add_new_user_arguments(parser)


def main(options: argparse.Namespace) -> str:
    """The items to ask about, as a table."""
    if options.users or options.ratings:
        return answer_for_new_users(options, ask=True)
    _, model, dataset, *_ = load_data_and_model(options.checkpoint)
    rows = evidence_candidates(model, dataset, options.topk)
    return tabulate(rows, headers="keys", floatfmt=".4f")
