"""Parquet gives what the same atomic files give; errors name the file, the column, the remedy."""

from __future__ import annotations

import datetime
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.worlds.helpers import Run, same
from tests.worlds.recboles_data import content_of

CHANCE = random.Random(4)
PAIRS = [(u, i) for u in range(20) for i in range(18) if (u + i) % 3]
CHANCE.shuffle(PAIRS)
TIMES = [1_700_000_000 + CHANCE.randrange(10**6) for _ in PAIRS]
STARS = [None if at == 7 else 1 + (u * i) % 5 for at, (u, i) in enumerate(PAIRS)]
USERS = [u for u, _ in PAIRS]
ITEMS = [f"i{i}" for _, i in PAIRS]
WORDS = [[f"w{u % 3}", f"w{u % 5}"][: u % 3] for u in range(20)]
NUMBERS = [[u / 4, 1.0, 2.0][: u % 4] for u in range(20)]
JOBS = [None if u == 3 else f"job{u % 4}" for u in range(20)]
SPLIT = {"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "user"}


def text(columns: dict[str, list[Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list):
            return " ".join(map(str, value))
        return "" if value is None else str(value)

    rows = zip(*columns.values(), strict=True)
    return "\n".join(["\t".join(columns), *("\t".join(map(cell, row)) for row in rows)]) + "\n"


def place(folder: Path) -> dict[str, Any]:
    (folder / "d").mkdir(parents=True, exist_ok=True)
    return {"dataset": "d", "data_path": str(folder), "eval_args": SPLIT}


@pytest.fixture
def as_text(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    inter = {"user_id:token": USERS, "item_id:token": ITEMS, "rating:float": STARS,
             "timestamp:float": TIMES}  # fmt: skip
    users = {"user_id:token": list(range(20)), "job:token": JOBS, "words:token_seq": WORDS,
             "taste:float_seq": NUMBERS}  # fmt: skip

    def write(*parts: str) -> dict[str, Any]:
        given = place(tmp_path / "text")
        for part in parts or ("inter",):
            (tmp_path / "text" / "d" / f"d.{part}").write_text(text(inter))
        (tmp_path / "text" / "d" / "d.user").write_text(text(users))
        return given

    return write


SECONDS = pa.timestamp("us")
INTER = {"user_id": pa.array(USERS), "item_id": pa.array(ITEMS), "rating": pa.array(STARS),
         "timestamp": pa.array(TIMES)}  # fmt: skip
FEATURES = {"user_id": pa.array(range(20)), "job": pa.array(JOBS), "words": pa.array(WORDS),
            "taste": pa.array(NUMBERS)}  # fmt: skip
TYPED = {"user_id:token": INTER["user_id"], "item_id:token": INTER["item_id"],
         "rating:float": INTER["rating"], "timestamp:float": INTER["timestamp"]}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "plain": INTER,
    "typed": TYPED,
    "dictionary": {**INTER, "user_id": INTER["user_id"].dictionary_encode(),
                   "item_id": INTER["item_id"].dictionary_encode()},
    "small dictionary": {**INTER, "item_id": INTER["item_id"].dictionary_encode().cast(
        pa.dictionary(pa.int8(), pa.string()))},
    "large texts": {**INTER, "item_id": INTER["item_id"].cast(pa.large_string())},
    "times": {**INTER, "timestamp": pa.array([t * 10**6 for t in TIMES]).cast(SECONDS)},
    "nanoseconds": {**INTER, "timestamp": pa.array(
        [t * 10**9 for t in TIMES]).cast(pa.timestamp("ns", "UTC"))},
    "small numbers": {**INTER, "rating": pa.array(STARS, pa.int8())},
    "floats": {**INTER, "rating": pa.array(STARS, pa.float32())},
    "row labels": {**INTER, "__index_level_0__": INTER["timestamp"]},
}  # fmt: skip


def as_parquet(folder: Path, inter: dict[str, Any], *parts: str, **how: Any) -> dict[str, Any]:
    given = place(folder / "parquet")
    for part in parts or ("inter",):
        parquet.write_table(pa.table(inter), folder / "parquet/d" / f"d.{part}.parquet", **how)
    parquet.write_table(pa.table(FEATURES), folder / "parquet/d/d.user.parquet")
    return given


@pytest.mark.parametrize("way", WAYS)
def test_parquet_gives_what_the_atomic_files_give(
    way: str, tmp_path: Path, as_text: Callable[..., dict[str, Any]]
) -> None:
    theirs, ours = content_of(as_text()), content_of(as_parquet(tmp_path, WAYS[way]))
    assert "error" not in ours, ours
    assert all(same(ours[name], theirs[name]) for name in theirs), way


@pytest.mark.parametrize(
    "more",
    [
        {"load_col": {"inter": ["user_id", "item_id"], "user": ["user_id", "words"]}},
        {"unload_col": {"inter": ["timestamp"], "user": ["taste"]}, "eval_args": {"order": "RO"}},
        {"seq_len": {"words": 1, "taste": 2}},
        {"benchmark_filename": ["a", "b", "c"]},
    ],
    ids=str,
)
def test_settings(more: Any, tmp_path: Path, as_text: Callable[..., dict[str, Any]]) -> None:
    parts = [f"{part}.inter" for part in more.get("benchmark_filename", ())]
    if "load_col" in more:
        more = {**more, "eval_args": {"order": "RO"}}
    theirs = content_of({**as_text(*parts), **more})
    ours = content_of({**as_parquet(tmp_path, INTER, *parts, row_group_size=50), **more})
    assert "error" not in ours, ours
    assert all(same(ours[name], theirs[name]) for name in theirs)


def test_of_two_files_the_text_is_read(
    tmp_path: Path, as_text: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    given = as_text()
    (tmp_path / "text/d/d.inter.parquet").write_bytes(b"no parquet")
    with caplog.at_level(logging.INFO):
        run = Run("BPR", **given, load_col=None, state="INFO")
    assert "d.inter is read, and d.inter.parquet beside it is not" in caplog.text
    assert len(run.data[0]._dataset) > 100


def test_an_atomic_file_of_users_stands_beside_ratings_in_parquet(
    tmp_path: Path, as_text: Callable[..., dict[str, Any]]
) -> None:
    given = as_text()
    theirs = content_of(given)
    (tmp_path / "text/d/d.inter").unlink()
    parquet.write_table(pa.table(INTER), tmp_path / "text/d/d.inter.parquet")
    ours = content_of(given)
    assert all(same(ours[name], theirs[name]) for name in theirs)


DAY = [datetime.date(2020, 1, 1 + u) for u, _ in PAIRS]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a missing column": (
        {n: v for n, v in INTER.items() if n != "item_id"},
        r"d\.inter\.parquet: no column item_id among the loaded ones .* check the names of its",
    ),
    "an id of numbers": (
        {**INTER, "item_id": pa.array([0.5] * len(PAIRS))},
        r"d\.inter\.parquet: item_id must be of type token, as in item_id:token",
    ),
    "a token of numbers": (
        {**INTER, "kind:token": pa.array([0.5] * len(PAIRS))},
        r"d\.inter\.parquet: the column kind:token is of type double, .* a string or an integer",
    ),
    "a number of texts": (
        {**INTER, "size:float": INTER["item_id"]},
        r"the column size:float is of type string, which is no float; a token is",
    ),
    "a list that is none": (
        {**INTER, "words:token_seq": INTER["item_id"]},
        r"the column words:token_seq is of type string, which is no token_seq",
    ),
    "an unknown type": (
        {**INTER, "raw": pa.array([b"x"] * len(PAIRS))},
        r"the column raw is of type binary; a token is a string or an integer",
    ),
    "an unknown kind": ({**INTER, "a:int": INTER["rating"]}, r"'a:int' is not named name or"),
    "twice": ({**INTER, "rating:float": INTER["rating"]}, r"has two columns rating; rename one"),
    "infinite": (
        {**INTER, "size": pa.array([float("inf")] * len(PAIRS))},
        r"d\.inter\.parquet: size is infinite in row 1",
    ),
    "no rows": ({n: v[:0] for n, v in INTER.items()}, r"d\.inter\.parquet has no rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    columns, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as told:
        Run("BPR", **as_parquet(tmp_path, columns), load_col=None)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b[:90] + b[120:]])
def test_a_broken_file_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    given = as_parquet(tmp_path, INTER)
    path = tmp_path / "parquet/d/d.inter.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"d\.inter\.parquet cannot be read as Parquet \(.*write"):
        Run("BPR", **given, load_col=None)


def test_days_are_times_in_seconds(tmp_path: Path) -> None:
    given = as_parquet(tmp_path, {**INTER, "timestamp": pa.array(DAY)})
    found = content_of(given)["inter_feat"]["timestamp"]
    assert {(x - 1_577_836_800) % 86_400 for x in found.double().tolist()} <= {0.0, 64.0, 86_336.0}


def test_a_knowledge_graph(tmp_path: Path) -> None:
    given = as_parquet(tmp_path, INTER)
    triples = {"head_id": ["e0", "e1"], "relation_id": ["r", "r"], "tail_id": ["e1", "e2"]}
    names = {"item_id": [f"i{i}" for i in range(18)], "entity_id": [f"e{i}" for i in range(18)]}
    for suffix, columns in (("kg", triples), ("link", names)):
        parquet.write_table(pa.table(columns), tmp_path / f"parquet/d/d.{suffix}.parquet")
    run = Run("CFKG", **given, load_col=None, embedding_size=4)
    assert run.data[0]._dataset.item2entity == {"i0": "e0", "i1": "e1", "i2": "e2"}
