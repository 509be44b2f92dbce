"""``recbole-ext recommend`` and ``recbole-ext ask`` from their arguments to what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_ext import run_recbole
from recbole_ext.__main__ import main
from tests.worlds.helpers import QUICK


def test_recommend_and_ask_answer_for_each_user(
    cold_world: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = run_recbole("MeLU", None, None, {**QUICK, **cold_world})
    Path("new.user").write_text("user_id:token\tjob:token\tage:float\nann\t1\t0.3\nbob\t2\t0.9\n")
    Path("new.inter").write_text("user_id:token\titem_id:token\trating:float\nann\ti3\t5\n")
    given = [result["checkpoint"], "--users=new.user", "--ratings=new.inter", "--topk=3"]
    capsys.readouterr()
    assert main(["recommend", *given, "--output=best.tsv"]) == 0
    said = capsys.readouterr().out
    for part in ("users 2", "ordered by: likely to like", "users without ratings get what is pop"):
        assert part in said
    table = pd.read_csv("best.tsv", sep="\t")
    assert list(table) == ["user_id", "rank", "item_id", "score", "genre", "spread"]
    assert table["user_id"].tolist() == ["ann"] * 3 + ["bob"] * 3
    assert main(["ask", *given]) == 0
    assert "worth" in capsys.readouterr().out
    assert main(["ask", *given, "--output=ask.tsv"]) == 0
    assert "users 2" in capsys.readouterr().out
    assert list(pd.read_csv("ask.tsv", sep="\t"))[:4] == ["user_id", "rank", "item_id", "worth"]
    with pytest.raises(SystemExit, match="2"):
        main(["recommend", *given, "--ask"])
    assert "unrecognized arguments: --ask" in capsys.readouterr().err
    for wrong, message in (
        ([result["checkpoint"]], "give --users, --ratings or both"),
        ([*given[:1], "--users=nowhere.user"], "no file nowhere.user"),
        (["nowhere.pth", "--users=new.user"], "nowhere.pth"),
        ([*given, "--output=no/such/folder.tsv"], "no/such"),
    ):
        assert main(["recommend", *wrong]) == 1
        assert message in capsys.readouterr().err


def test_without_users_there_is_one_answer_for_everybody(
    cold_world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run_recbole("MeLU", None, None, {**QUICK, **cold_world})["checkpoint"]
    capsys.readouterr()
    assert main(["ask", checkpoint]) == 0
    header, _, *shown = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["item_id", "score", "gradient", "popularity"]
    assert len(shown) == 20
    assert main(["ask", checkpoint, "--topk=3", "--output=ask.tsv"]) == 0
    assert capsys.readouterr().out == "items 3\n"
    written = pd.read_csv("ask.tsv", sep="\t")
    assert written["item_id"].tolist() == [line.split()[0] for line in shown[:3]]
    assert main(["ask", checkpoint, "--topk=0"]) == 1
    assert "topk must be a whole number of at least 1, got 0" in capsys.readouterr().err


def test_a_model_that_does_not_adapt_is_asked_about_given_users_only(
    world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run_recbole("BPR", None, None, {**QUICK, **world})["checkpoint"]
    Path("new.inter").write_text("user_id:token\titem_id:token\nann\t3\n")
    capsys.readouterr()
    assert main(["ask", checkpoint, "--ratings=new.inter"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 10 + 1
    assert main(["ask", checkpoint]) == 1
    assert "error: BPR is no meta-learner" in capsys.readouterr().err


def test_the_data_may_have_another_separator_and_a_column_named_as_ours(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "commas"
    folder.mkdir(parents=True)
    pairs = [f"{u},{i}" for u in range(20) for i in range(16) if u % 2 == i % 2]
    (folder / "commas.inter").write_text("\n".join(["user_id:token,item_id:token", *pairs]))
    items = [f"{i},{i * 10}" for i in range(16)]
    (folder / "commas.item").write_text("\n".join(["item_id:token,score:float", *items]) + "\n")
    settings = {"dataset": "commas", "data_path": str(folder.parent), "field_separator": ","}
    result = run_recbole("BPR", None, None, {**QUICK, **settings, "load_col": None})
    Path("new.inter").write_text("user_id:token,item_id:token\nann,4\nann,6\n")
    given = [result["checkpoint"], "--ratings=new.inter", "--topk=2", "--output=best.tsv"]
    assert main(["recommend", *given]) == 0
    table = pd.read_csv("best.tsv", sep="\t")
    assert list(table) == ["user_id", "rank", "item_id", "score", "score of the item"]
    assert table["score of the item"].tolist() == [10 * item for item in table["item_id"]]
