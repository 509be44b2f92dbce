"""Which rows of the users' and of the items' embeddings each process holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from recbole_ext.processes.row_table import Held, Near, RowOwner

__all__ = ["WHOLE", "Held", "Near", "Owners", "RowOwner", "owners_of"]


class Owners(NamedTuple):
    """The owners of the rows of both tables.

    What a process has of a table, of its gradient or of its λ is that of its own rows; ids are
    those of the whole table, until ``held`` turns them into rows of what the process has.

    Attributes:
        user: the owner of the users' rows.
        item: the owner of the items' rows.
    """

    user: RowOwner
    item: RowOwner

    @property
    def are_spread(self) -> bool:
        """Whether other processes own other rows."""
        return self.user.is_spread


# Tables, of any size, all of which each process holds.
WHOLE = Owners(RowOwner(0), RowOwner(0))


def owners_of(model: Any) -> Owners:
    """The owners of a model's rows; a model that does not name them holds all rows itself."""
    found = getattr(model, "owners", None)
    if found is not None:
        return found
    tables = model.user_embedding, model.item_embedding
    return Owners(*(RowOwner(len(table.weight)) for table in tables))
