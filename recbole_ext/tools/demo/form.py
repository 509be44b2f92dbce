"""The form of the page: the fields of a profile and the ratings to choose from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.tools.new_users import Recommender

MOST_CHOICES = 11  # the most buttons of an item; more ratings are thinned out
MOST_OPTIONS = 2000  # a field with more tokens is typed, not chosen from a list


@dataclass(frozen=True)
class Field:
    """A field that describes a user.

    Attributes:
        name: the field's name in the data.
        tokens: the values to choose from; empty if the value is typed.
        several: the separator between several tokens; ``None`` if there is only one token.
        bounds: the least and the largest number; ``None`` for text.
    """

    name: str
    tokens: list[str]
    several: str | None = None
    bounds: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """The name in words."""
        return words(self.name)


@dataclass(frozen=True)
class Form:
    """The fields and ratings that a visitor may choose.

    Attributes:
        fields: the fields of the profile; empty if the model uses ratings only.
        choices: the ratings to choose from, lowest first.
        likes: whether only the fact of a rating counts, so that there is one choice.
    """

    fields: list[Field]
    choices: list[float]
    likes: bool


def form_of(recommender: Recommender) -> Form:
    """The form that a model needs."""
    fields = [_field(recommender, name) for name in recommender.fields]
    if recommender.value is None:
        return Form(fields, [1.0], likes=True)
    return Form(fields, rating_choices(_ratings(recommender, recommender.value)), likes=False)


def rating_choices(ratings: Tensor) -> list[float]:
    """The distinct ratings, or round numbers between the lowest and the highest if they are many.

    Args:
        ratings: shape: [n]
    """
    distinct = sorted({round(rating, 6) for rating in ratings.unique().tolist()})
    if len(distinct) <= MOST_CHOICES:
        return distinct
    low, high = distinct[0], distinct[-1]
    ticks = MaxNLocator(MOST_CHOICES - 1, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [low, *(round(float(tick), 6) for tick in ticks if low < tick < high), high]


def words(name: str) -> str:
    """The words of a column's name: ``movie_title`` gives ``movie title``."""
    return re.sub(r"[\s_]+", " ", name).strip()


def title_column(columns: list[str]) -> str | None:
    """The column of an item's title, by its name, such as ``title``, ``movie_title``, ``name``."""
    for pattern in ("title", r".*[\W_]title", "name", r".*[\W_]name"):
        for column in columns:
            if re.fullmatch(pattern, column, re.IGNORECASE):
                return column
    return None


def _ratings(recommender: Recommender, value: str) -> Tensor:
    """The ratings of the data that lie within the model's range, if it has one."""
    ratings: Tensor = recommender.dataset.inter_feat[value]
    low, high = getattr(recommender.model, "rating_range", (-math.inf, math.inf))
    return ratings[(ratings >= low) & (ratings <= high)]


def _field(recommender: Recommender, name: str) -> Field:
    dataset = recommender.dataset
    kind = dataset.field2type[name]
    if kind == FeatureType.FLOAT:
        known = dataset.user_feat[name][1:]  # 0 is the padding
        return Field(name, [], bounds=(float(known.min()), float(known.max())))
    tokens = [str(token) for token in dataset.field2id_token[name][1:]]
    tokens = sorted(tokens, key=_order) if len(tokens) <= MOST_OPTIONS else []
    several = dataset.config["seq_separator"] if kind == FeatureType.TOKEN_SEQ else None
    return Field(name, tokens, several)


def _order(token: str) -> tuple[float, str]:
    """The sorting key of a token; numbers come first, by size."""
    try:
        number = float(token)
    except ValueError:
        number = math.inf
    return number if number == number else math.inf, token
