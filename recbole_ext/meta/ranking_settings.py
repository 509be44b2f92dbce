"""The hyper-parameters of ranking tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.settings.declared import (
    FLAG,
    Declared,
    all_or_whole,
    real,
    whole,
)


@dataclass(frozen=True)
class RankingSettings(Declared):
    """What a model for ``task: ranking`` is made of."""

    softmax_items: Annotated[
        int | None,
        all_or_whole(1),
        "The items of the softmax, for `task: ranking`. `all`, or how many are drawn for each "
        "batch; a drawn item stands for others.",
    ] = None
    item_dropout: Annotated[
        float,
        real(minimum=0, below=1),
        "The share of the items' vectors that training leaves out, for `task: ranking`.",
    ] = 0.0
    item_content: Annotated[
        bool,
        FLAG,
        "Whether an item's vector also depends on the item's content, for `task: ranking`.",
    ] = True
    content_start: Annotated[
        bool,
        FLAG,
        "Whether a user's vector starts from the user's content, for `task: ranking`. The start "
        "counts less with each rating that is given.",
    ] = True
    neighbour_weight: Annotated[
        float,
        real(minimum=0),
        "How much a list counts what goes with the given items, for `task: ranking`. It is EASE, "
        "fitted to the training ratings; 0 leaves it out.",
    ] = 0.0
    neighbour_strength: Annotated[
        float, real(above=0), "The ridge penalty of `neighbour_weight`."
    ] = 500.0
    neighbour_items: Annotated[
        int,
        whole(1),
        "The most items for which `neighbour_weight` counts. Its matrix has that number squared.",
    ] = 20000
