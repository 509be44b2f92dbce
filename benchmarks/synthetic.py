"""Random data of a given size, as RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv


def write_ratings(folder: Path, users: int, items: int, ratings: int) -> None:
    """Write ``<name>.inter`` into the folder ``<name>``; every user and item occurs in it."""
    random = np.random.default_rng(0)
    more = max(0, ratings - max(users, items))
    popular = (items * random.random(more) ** 3).astype(np.int64)
    every = np.arange(max(users, items))
    folder.mkdir(parents=True)
    users_of = np.concatenate([every % users, random.integers(users, size=more)])
    pairs = {"user_id:token": users_of, "item_id:token": np.concatenate([every % items, popular])}
    _write(folder, "inter", pairs)


def write_rated(folder: Path, ratings: int) -> None:
    """Write ``<name>.inter`` with about so many ratings and their times, user by user.

    As in MovieLens-10M, users have 157 ratings on average, eleven million ratings are of 70,000
    users and 10,000 items, both are skewed, and nobody rates an item twice.
    """
    random = np.random.default_rng(0)
    users = max(20, ratings // 157)
    items = max(60, int(3 * ratings**0.5))
    activity = random.lognormal(0, 1.1, users)
    counts = np.clip(1.3 * ratings * activity / activity.sum(), 20, items / 2).astype(np.int64)
    users_of = np.repeat(np.arange(users), counts)
    items_of = (items * random.random(len(users_of)) ** 2.5).astype(np.int64)
    pairs = np.unique(users_of * items + items_of)
    pairs = np.sort(random.permutation(pairs)[:ratings])
    users_of, items_of = np.divmod(pairs, items)
    first = 789_652_000 + random.integers(4 * 10**8, size=users)
    folder.mkdir(parents=True)
    columns = {
        "user_id:token": users_of + 1,
        "item_id:token": items_of + 1,
        "rating:float": random.integers(1, 11, len(pairs)) / 2,
        "timestamp:float": first[users_of] + random.integers(10**6, size=len(pairs)),
    }
    with open(folder / f"{folder.name}.inter", "wb") as file:
        file.write("\t".join(columns).encode() + b"\n")
        how = csv.WriteOptions(include_header=False, delimiter="\t")
        csv.write_csv(pa.table(columns), file, how)


def write_tasks(folder: Path, users: int, items: int) -> None:
    """Write ratings, users and items, with about ml-1m's ratings per user and at least 20."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    counts = np.clip(random.lognormal(4.56, 1.0, users), 20, items // 2).astype(int)
    weights = 1 / np.arange(10, items + 10)
    rated = [random.choice(items, n, replace=False, p=weights / weights.sum()) for n in counts]
    _write(
        folder,
        "inter",
        {
            "user_id:token": np.repeat(np.arange(users), counts),
            "item_id:token": np.concatenate(rated),
            "rating:float": random.integers(1, 6, counts.sum()),
        },
    )
    _write(
        folder,
        "user",
        {
            "user_id:token": np.arange(users),
            "gender:token": random.integers(2, size=users),
            "age:token": random.integers(7, size=users),
            "occupation:token": random.integers(21, size=users),
            "zip_code:token": random.integers(3000, size=users),
        },
    )
    genres = [
        " ".join(map(str, random.integers(18, size=random.integers(1, 4)))) for _ in range(items)
    ]
    _write(
        folder,
        "item",
        {
            "item_id:token": np.arange(items),
            "release_year:token": random.integers(80, size=items),
            "genre:token_seq": [" ".join(map(str, some)) for some in genres],
        },
    )


def _write(folder: Path, kind: str, columns: dict) -> None:
    frame = pd.DataFrame(columns).drop_duplicates()
    frame.to_csv(folder / f"{folder.name}.{kind}", sep="\t", index=False)
