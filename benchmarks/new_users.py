"""New users for ``compare.py``: some users are left out of the data, and judge a trained model.

A protocol with ``new_users`` says which: ``test`` and ``valid`` are shares of the users, and
``rule`` is ``drawn`` or ``newest`` (by the time of the first rating). The test users are in the
table. The validation users select the best of a grid. No rating of either is in the files that a
run reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from recbole.config import Config
from tabulate import tabulate

from recbole_ext.tools.new_users import judge, load, read_atomic

TOPK = 10
NAME = "known"


class Parts(NamedTuple):
    """The new users of one seed, as tables of text.

    Attributes:
        users: the ``.user`` file, or ``None`` if there is none.
        ratings: the ratings of the validation users and of the test users.
    """

    users: pd.DataFrame | None
    ratings: dict[str, pd.DataFrame]


def leave_out(settings: dict[str, Any], wanted: dict[str, Any], seed: int, folder: Path) -> Parts:
    """Write a data set without the new users into a folder, and return these.

    It is called ``known``, as RecBole has a place of its own for ``ml-100k``.

    Args:
        settings: RecBole's settings of the run, with ``dataset``.
        wanted: the value of ``new_users`` in the protocol.
        seed: draws the users.
        folder: the new ``data_path``.
    """
    where = {key: settings[key] for key in ("data_path", "TIME_FIELD") if key in settings}
    config = Config("Pop", settings["dataset"], config_dict=where)
    name, source = config["dataset"], Path(config["data_path"])
    target = folder / NAME
    target.mkdir(parents=True)
    for file in source.glob(f"{name}.*"):
        if file.suffix != ".inter":
            shutil.copy(file, target / f"{NAME}{file.suffix}")
    table = _read(source / f"{name}.inter")
    user, time = "user_id", config["TIME_FIELD"]
    typed = {column.split(":")[0]: column for column in table.columns}
    owner = table[typed[user]]
    everyone = np.sort(owner.unique())
    if wanted.get("rule", "drawn") == "newest":
        first = pd.to_numeric(table[typed[time]]).groupby(owner).min()
        order = first.loc[everyone].sort_values(ascending=False, kind="stable").index.to_numpy()
    else:
        order = np.random.default_rng(seed).permutation(everyone)
    test = round(wanted["test"] * len(order))
    valid = round(wanted["valid"] * len(order))
    chosen = {"test": order[:test], "valid": order[test : test + valid]}
    known = ~owner.isin([*chosen["test"], *chosen["valid"]])
    table[known].to_csv(target / f"{NAME}.inter", sep="\t", index=False, quoting=3)
    plain = table.rename(columns={column: column.split(":")[0] for column in table.columns})
    users = source / f"{name}.user"
    return Parts(
        read_atomic(users) if users.is_file() else None,
        {part: plain[plain[user].isin(names)] for part, names in chosen.items()},
    )


def judged(checkpoint: str, parts: Parts, wanted: dict[str, Any], seed: int) -> dict[str, Any]:
    """The rows of the test users, and the mean NDCG of the validation users as a score."""
    recommender = load(checkpoint)
    rows = {
        part: judge(recommender, parts.users, ratings, wanted["given"], TOPK, seed)
        for part, ratings in parts.ratings.items()
    }
    return {
        "by_given": rows["test"].to_dict("records"),
        "best_valid_score": mean(rows["valid"][f"ndcg@{TOPK}"]),
        "valid_score_bigger": True,
    }


def tables(groups: dict[str, list[dict[str, Any]]], spread: Callable[[list[float]], str]) -> str:
    """A table for each measure: a row for each group, a column for each number of given ratings.

    Args:
        groups: the results of each group, one for each seed.
        spread: writes the mean and the standard deviation of some values.
    """
    texts = []
    for measure in (f"recall@{TOPK}", f"ndcg@{TOPK}", "mae"):
        rows, given = [], []
        for group, runs in groups.items():
            found = [[row.get(measure) for row in run["by_given"]] for run in runs]
            if not found or None in found[0]:
                continue
            given = [str(row["given"]) for row in runs[0]["by_given"]]
            cells = [spread(list(values)) for values in zip(*found, strict=True)]
            rows.append([group, str(len(runs)), *cells])
        headers = [f"{measure}, of so many given", "seeds", *given]
        texts.append(tabulate(rows, headers, disable_numparse=True, tablefmt="github"))
    return "\n\n".join(texts)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
