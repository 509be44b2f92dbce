"""A data set of ratings with checks: ratings that no model can learn raise an error."""

from __future__ import annotations

from recbole.utils import FeatureType

from recbole_ext.seams.checked_dataset import CheckedDataset


class RatingDataset(CheckedDataset):
    """A ``Dataset`` whose interactions have ratings, in a column of numbers without gaps."""

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        super()._load_inter_feat(token, dataset_path)
        field, file = self.config["RATING_FIELD"], f"{dataset_path}/{token}.inter"
        if field not in self.inter_feat:
            raise ValueError(
                f"{file}: no column {field} among the loaded ones "
                f"({', '.join(self.inter_feat.columns)}); check load_col and RATING_FIELD"
            )
        if self.field2type[field] != FeatureType.FLOAT:
            raise ValueError(f"{file}: {field} must be a column of numbers, as in {field}:float")
        missing = self.inter_feat[field].isna()
        if missing.any():
            raise ValueError(
                f"{file}: {field} is NaN in {int(missing.sum())} rows, the first in line "
                f"{int(missing.to_numpy().argmax()) + 2}; remove them"
            )
