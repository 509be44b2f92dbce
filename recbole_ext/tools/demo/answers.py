"""The answer to a visitor: the items to ask about next, and the list of recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recbole_ext.tools.demo.form import Field, Form, title_column, words
from recbole_ext.tools.new_users import Recommender

ASKED = 5  # items to ask about at a time
MOST_ITEMS = 200  # the most rated items, and the most items that the visitor does not know
MOST_CHARACTERS = 500  # the longest value of the profile
SHOWN_CHARACTERS = 120  # the longest text of an item's column
VISITOR = "visitor"
KEYS = ("profile", "ratings", "skipped")


@dataclass(frozen=True)
class Said:
    """What a visitor has said.

    Attributes:
        profile: the values by field; a field that is missing is unknown.
        ratings: the ratings by item.
        skipped: items that the visitor does not know.
    """

    profile: dict[str, str]
    ratings: dict[str, float]
    skipped: list[str]


def read_said(body: object, form: Form, items: Mapping[str, int]) -> Said:
    """Read a request and check every part of it.

    Args:
        body: the request's content, read from JSON.
        form: the fields and ratings that a visitor may choose.
        items: RecBole's id of each item's token; 0 is padding.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(body, dict) or not set(body) <= set(KEYS):
        raise ValueError(f"the request must be an object with no keys but {', '.join(KEYS)}")
    ratings: dict[str, float] = {}
    for pair in _list(body, "ratings"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("ratings must be pairs of an item and a number")
        ratings[_item(pair[0], items)] = _rating(pair[1], form)
    skipped = [_item(token, items) for token in _list(body, "skipped")]
    profile = body.get("profile", {})
    if not isinstance(profile, dict):
        raise ValueError("profile must be an object")
    fields = {field.name: field for field in form.fields}
    return Said({k: v for k, v in profile.items() if _told(k, v, fields)}, ratings, skipped)


def _list(body: dict[str, Any], key: str) -> list[Any]:
    found = body.get(key, [])
    if not isinstance(found, list) or len(found) > MOST_ITEMS:
        raise ValueError(f"{key} must be a list of at most {MOST_ITEMS}")
    return found


def _item(token: object, items: Mapping[str, int]) -> str:
    if not isinstance(token, str) or items.get(token, 0) == 0:
        raise ValueError("there is no such item")
    return token


def _rating(number: object, form: Form) -> float:
    low, high = form.choices[0], form.choices[-1]
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not low <= number <= high:  # type: ignore[operator]
        raise ValueError(f"a rating must be a number from {low:g} to {high:g}")
    return float(number)  # type: ignore[arg-type]


def _told(name: str, value: object, fields: dict[str, Field]) -> bool:
    """Whether a value of the profile is known; raises an error if the value is not allowed."""
    if name not in fields:
        raise ValueError(f"profile must have no fields but {', '.join(fields) or 'none'}")
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise ValueError(f"{name} must be a text of at most {MOST_CHARACTERS} characters")
    bounds = fields[name].bounds
    if bounds is None or not value:
        return bool(value)
    try:
        within = bounds[0] <= float(value) <= bounds[1]
    except ValueError:
        within = False
    if not within:
        raise ValueError(f"{name} must be a number from {bounds[0]:g} to {bounds[1]:g}")
    return True


class Guide:
    """Chooses the items to ask about and to recommend.

    Args:
        recommender: a model for new users.
        topk: the number of items in the list.
    """

    def __init__(self, recommender: Recommender, topk: int) -> None:
        self._recommender, self._topk = recommender, topk
        described = recommender.item_columns
        columns = [] if described is None else [str(name) for name in described.columns]
        self._title = title_column(columns)
        self._details = [name for name in columns if name != self._title]

    def answer(self, said: Said) -> dict[str, list[dict[str, Any]]]:
        """The items that the page shows.

        Returns:
            ``ask`` has the items to ask about next, and ``recommended`` the list, best first. Each
            item has its ``token``, ``title`` and ``details`` (names and texts); an item of the list
            also has its ``score``.
        """
        model, item = self._recommender, self._recommender.item
        users = pd.DataFrame([{model.user: VISITOR, **said.profile}])
        ratings = pd.DataFrame({item: list(said.ratings)}).assign(**{model.user: VISITOR})
        if model.value is not None:
            ratings[model.value] = list(said.ratings.values())
        best = model.recommend(users, ratings, topk=self._topk).table
        ask = model.ask_next(users, ratings, topk=ASKED + len(said.skipped)).table
        ask = ask[~ask[item].isin(said.skipped)].head(ASKED)
        return {
            "ask": [self._shown(row) for row in ask.to_dict("records")],
            "recommended": [
                {**self._shown(row), "score": row["score"]} for row in best.to_dict("records")
            ],
        }

    def _shown(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        token = str(row[self._recommender.item])
        cells = {name: _clipped(row[name]) for name in self._details}
        return {
            "token": token,
            "title": (self._title and _clipped(row[self._title])) or token,
            "details": [[words(name), text] for name, text in cells.items() if text],
        }


def _clipped(cell: object) -> str:
    """A cell's text; an item that the ``.item`` file does not name has NaN there."""
    text = cell.strip() if isinstance(cell, str) else ""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
