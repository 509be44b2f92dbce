"""RecBole's data set with checks: data that no model can be trained on raise an error."""

from __future__ import annotations

from collections.abc import Sequence

from recbole.data.dataset import Dataset

from recbole_ext.settings.evaluation import LEFT_ONE_OUT


class CheckedDataset(Dataset):
    """A ``Dataset`` with an early, readable error for too little data and empty parts."""

    def _data_filtering(self) -> None:
        super()._data_filtering()
        users = self.inter_feat[self.uid_field].nunique()
        items = self.inter_feat[self.iid_field].nunique()
        if users < 2 or items < 2:
            raise ValueError(
                f"dataset {self.dataset_name}: {len(self.inter_feat)} interactions of {users} "
                f"users with {items} items are left after filtering; at least 2 users and 2 items "
                "are needed. Check val_interval, user_inter_num_interval, item_inter_num_interval"
            )

    def build(self) -> list[Dataset]:
        """Split into training, validation and test parts.

        A part may be empty if the split says so (``LS: valid_only``, ``test_only``, ``RS`` with 0).

        Raises:
            ValueError: names the part without positives.
        """
        parts = super().build()
        source = "benchmark_filename" if self.benchmark_filename_list else "eval_args.split"
        value = self.benchmark_filename_list or self.config["eval_args"]["split"]
        if len(parts) != 3:
            raise ValueError(
                f"{source} must give three parts (training, validation, test), got {value}"
            )
        names = ("training", "validation", "test")
        for name, part, share in zip(names, parts, self._shares(), strict=True):
            if len(part) == 0 and (name == "training" or share):
                raise ValueError(
                    f"dataset {self.dataset_name}: the {name} set has no positives; change "
                    f"{source}, got {value}"
                )
        return parts

    def _shares(self) -> Sequence[float]:
        """The share of each part that the settings ask for; a part with share 0 may be empty."""
        if self.benchmark_filename_list:
            return (1, 1, 1) if len(self.benchmark_filename_list) == 3 else (1, 0, 1)
        ((kind, how),) = self.config["eval_args"]["split"].items()
        return LEFT_ONE_OUT[how] if kind == "LS" else how
