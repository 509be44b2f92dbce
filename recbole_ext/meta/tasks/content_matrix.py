"""The content of the items or users as a sparse matrix, for linear models."""

from __future__ import annotations

import numpy as np
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from scipy.sparse import csr_matrix, diags, hstack


def content_matrix(dataset: Dataset, fields: list[str], side: str = "item") -> csr_matrix:
    """A column for each token of the fields, and one for each number of a float or vector.

    Tokens of a sequence share a weight of 1; numbers are standardised; RecBole's padding is 0.

    Args:
        dataset: its features are in tensors.
        fields: names of the items' or users' fields.
        side: ``item`` or ``user``.

    Returns:
        shape: [n_items or n_users, n_columns]
    """
    feature = dataset.user_feat if side == "user" else dataset.item_feat
    parts = []
    for field in fields:
        values = feature[field].numpy()
        values = values.reshape(len(values), -1)
        if dataset.field2type[field] in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
            spread = values[1:].std(0)
            known = (values - values[1:].mean(0)) / np.where(spread > 0, spread, 1)
            parts.append(csr_matrix(known))
            continue
        rows, places = values.nonzero()
        columns = values[rows, places]
        shape = (len(values), dataset.num(field))
        counts = csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
        lengths = np.maximum((values > 0).sum(-1), 1)
        parts.append(diags(1 / lengths) @ counts)
    return csr_matrix(hstack(parts))
