"""The decisions of MAMO that have one vector for each user, which starts from memories."""

from __future__ import annotations

from typing import Any

from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.list_decision import ListDecision, ListParts
from recbole_ext.meta.decisions.remembered_vector import RememberedVector
from recbole_ext.meta.decisions.ridge_decision import RidgeDecision


class PriorRidgeDecision(RememberedVector, RidgeDecision):  # type: ignore[misc]  # its start
    """MAMO's memories give the prior mean of a ridge regression.

    Args:
        user_content: embeddings of the users, by which the memories are read.
        **ridge: the arguments of :class:`~recbole_ext.meta.decisions.ridge_decision.RidgeDecision`.
    """

    def __init__(self, user_content: ContentEmbedding, **ridge: Any) -> None:
        super().__init__(**ridge)
        self.remember_by(user_content)


class PriorListDecision(RememberedVector, ListDecision):  # type: ignore[misc]  # its start
    """MAMO's memories give the start of a user's vector for lists.

    Args:
        user_content: embeddings of the users, by which the memories are read.
        parts: what the decision is made of.
    """

    def __init__(self, user_content: ContentEmbedding, parts: ListParts) -> None:
        super().__init__(parts._replace(user_content=None))
        self.remember_by(user_content)
