"""What the page offers, and what its command says of arguments that cannot be."""

from __future__ import annotations

import re

import pytest
import torch

from recbole_ext.__main__ import main
from recbole_ext.tools.demo import serving
from recbole_ext.tools.demo.form import rating_choices, title_column


@pytest.mark.parametrize(
    ("ratings", "choices"),
    [
        ([3, 1, 5, 5], [1, 3, 5]),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ([k / 2 for k in range(1, 11)], [k / 2 for k in range(1, 11)]),
        (list(range(-10, 11)), list(range(-10, 11, 2))),
        (list(range(1, 101)), [1, *range(10, 101, 10)]),
        ([k / 7 for k in range(30)], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, round(29 / 7, 6)]),
    ],
)
def test_ratings_to_choose_from(ratings: list[float], choices: list[float]) -> None:
    assert rating_choices(torch.tensor(ratings, dtype=torch.float32)) == choices


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        (["release_year", "movie_title", "class"], "movie_title"),
        (["developer_name", "Title"], "Title"),
        (["price", "app_name"], "app_name"),
        (["surname", "entitled"], None),
    ],
)
def test_the_title_is_found_by_its_name(columns: list[str], title: str | None) -> None:
    assert title_column(columns) == title


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "waitress" else name)
    assert main(["demo", "saved/some.pth"]) == 1
    error = "error: the web page needs waitress: pip install 'recbole_ext[demo]'\n"
    assert capsys.readouterr().err == error


def test_a_missing_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "nowhere.pth"]) == 1
    assert re.search(r"^error: .*nowhere\.pth", capsys.readouterr().err, re.M)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--port=70000", "must be from 0 to 65535, got 70000"),
        ("--host=evil.example", "invalid IPv4Address value: 'evil.example'"),
    ],
)
def test_an_argument_that_cannot_be_is_named(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "some.pth", argument])
    assert message in capsys.readouterr().err
