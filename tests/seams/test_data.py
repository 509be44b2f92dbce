from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataset import Dataset

from recbole_ext.seams.download import download
from tests.worlds.helpers import QUICK, Run, small_world


def settings(path: str, **more: object) -> dict[str, object]:
    return {"dataset": "world", "data_path": path, "load_col": {"inter": "*"}, **more}


def test_a_dataset_without_ratings(write_dataset: Callable[..., str]) -> None:
    path = write_dataset([])
    with pytest.raises(ValueError, match=r"world\.inter: nothing stands after the first line"):
        Run(**settings(path))


def test_a_dataset_with_one_user(write_dataset: Callable[..., str]) -> None:
    path = write_dataset([(1, item) for item in range(9)])
    with pytest.raises(ValueError, match="9 interactions of 1 users with 9 items are left"):
        Run(**settings(path))


def test_a_filter_that_leaves_nothing(write_dataset: Callable[..., str]) -> None:
    path = write_dataset(small_world())
    with pytest.raises(ValueError, match="Some feat is empty, please check the filtering settings"):
        Run(**settings(path, user_inter_num_interval="[100,inf)"))


def test_a_missing_column(write_dataset: Callable[..., str]) -> None:
    path = write_dataset(small_world(), header="user_id:token\tmovie:token")
    with pytest.raises(ValueError, match=r"no column item_id among the loaded ones \(user"):
        Run(**settings(path))


@pytest.mark.parametrize("split", [{"RS": [0.8, 0.0, 0.2]}, {"LS": "test_only"}])
def test_a_validation_set_that_nobody_asked_for(
    split: dict[str, object], write_dataset: Callable[..., str]
) -> None:
    given = settings(write_dataset(small_world()), eval_args={"split": split})
    assert Run(**given, lambda_source="holdout").fit().test()["recall@10"] > 0
    with pytest.raises(ValueError, match="lambda_source: split needs a validation set"):
        Run(**given).fit()


def test_a_validation_set_without_positives(write_dataset: Callable[..., str]) -> None:
    given = settings(write_dataset([(1, 1), (2, 2)]), topk=1, valid_metric="MRR@1")
    with pytest.raises(ValueError, match=r"the validation set has no positives; change eval_args"):
        Run(**given)


def test_parts_that_are_split_already(write_dataset: Callable[..., str]) -> None:
    names = ["train", "valid", "test"]
    for at, name in enumerate(names):
        path = write_dataset(small_world()[at::3], name="world")
        (Path(path) / "world" / "world.inter").rename(Path(path) / "world" / f"world.{name}.inter")
    given = settings(path, benchmark_filename=names, eval_args={"split": {"RS": [8, 2]}})
    assert Run(**given).fit().test()["recall@10"] > 0


@pytest.mark.parametrize("evaluation", [{"order": "TO"}, {"split": {"TS": [0.8, 0.1, 0.1]}}])
def test_a_split_by_time(
    evaluation: dict[str, object], tmp_path: Path, write_dataset: Callable[..., str]
) -> None:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    pairs = [(u, i) for u in range(20) for i in range(14) if (u + i) % 7]
    rows = [(u, f"{i}\t{1 + (u + i) % 5}\t{u + 100 * i}") for u, i in pairs]
    given = {"dataset": "world", "data_path": write_dataset(rows, header=header)}
    labeled = {"eval_args": {**evaluation, "mode": "labeled"}}
    for model in ("BPR", "LambdaOptMF"):
        ranks = {"eval_args": evaluation, "load_col": None, "topk": 5, "valid_metric": "MRR@5"}
        assert Run(model, **given, **ranks).fit().test()["recall@5"] > 0
    parts = Run("ResNetMF", **given, **labeled).fit().data
    items = parts[0]._dataset.inter_feat["timestamp"], parts[2]._dataset.inter_feat["timestamp"]
    assert items[0].float().mean() < items[1].float().mean()


def test_a_split_by_time_without_times(write_dataset: Callable[..., str]) -> None:
    given = settings(write_dataset(small_world()), eval_args={"order": "TO"})
    for model in ("BPR", "LambdaOptMF"):
        with pytest.raises(ValueError, match="order: TO needs the column timestamp, which is not"):
            Run(model, **given)


def test_a_split_without_three_parts(write_dataset: Callable[..., str]) -> None:
    path = write_dataset(small_world())
    with pytest.raises(ValueError, match=r"eval_args\.split must give three parts"):
        Run(**settings(path, eval_args={"split": {"RS": [0.8, 0.2]}}))


def test_lambda_from_a_validation_set_that_was_left_out(write_dataset: Callable[..., str]) -> None:
    path, split = write_dataset(small_world()), {"split": {"LS": "test_only"}}
    run = Run(**settings(path, eval_args=split, lambda_source="valid"))
    with pytest.raises(ValueError, match="lambda_source: valid needs a validation set"):
        run.fit()


def test_users_too_small_for_a_holdout(write_dataset: Callable[..., str]) -> None:
    path = write_dataset([(u, i) for u in range(6) for i in range(u, u + 3)])
    split = {"split": {"RS": [1, 1, 1]}, "group_by": "user", "order": "RO", "mode": "full"}
    short = {"topk": 5, "valid_metric": "MRR@5"}
    run = Run(**settings(path, eval_args=split, lambda_source="holdout", **short))
    with pytest.raises(ValueError, match=r"lambda_holdout_ratio: 0\.1 leaves nothing to learn"):
        run.fit()


def test_lambda_from_an_unranked_validation_set_is_refused(
    write_dataset: Callable[..., str],
) -> None:
    run = Run(**settings(write_dataset(small_world()), lambda_source="valid"))
    with pytest.raises(ValueError, match="lambda_source: valid needs a validation set"):
        run.fit(valid=False)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    for model in ("LambdaOptMF", "BPR"):
        config = Config(model, "nowhere", config_dict={**QUICK, "data_path": str(tmp_path)})
        with pytest.raises(
            FileNotFoundError,
            match=r"'nowhere': there is no folder .*nowhere, and RecBole's.* Put nowhere\.i",
        ):
            create_dataset(config)
        assert not (tmp_path / "nowhere").exists()


class Wanted:
    """As much of a dataset as the download needs."""

    def __init__(self, folder: Path) -> None:
        self.dataset_path, self.dataset_name = str(folder), "wanted"


def test_a_download_that_breaks_leaves_no_folder(tmp_path: Path) -> None:
    def broken(dataset: Dataset) -> None:
        Path(dataset.dataset_path).mkdir()
        (Path(dataset.dataset_path) / "part.zip").write_text("half")
        raise OSError("connection reset")

    with pytest.raises(FileNotFoundError, match=r"did not work \(connection reset\)"):
        download(broken)(Wanted(tmp_path / "wanted"))
    assert not (tmp_path / "wanted").exists()


def test_a_half_extracted_download_is_not_taken_for_the_data(tmp_path: Path) -> None:
    def full_disk(dataset: Dataset) -> None:
        Path(dataset.dataset_path).mkdir()
        (Path(dataset.dataset_path) / "wanted.inter").write_text("user_id:tok")
        raise OSError(28, "No space left on device")

    with pytest.raises(FileNotFoundError, match="No space left on device"):
        download(full_disk)(Wanted(tmp_path / "wanted"))
    assert not (tmp_path / "wanted").exists()


def test_ctrl_c_during_a_download_leaves_no_folder(tmp_path: Path) -> None:
    def interrupted(dataset: Dataset) -> None:
        Path(dataset.dataset_path).mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(interrupted)(Wanted(tmp_path / "wanted"))
    assert not (tmp_path / "wanted").exists()


def test_recboles_barrier_after_a_download_is_passed_over(tmp_path: Path) -> None:
    """In one process RecBole 1.2.1 fails after every successful download; the next run works."""
    with pytest.raises((ValueError, RuntimeError), match="process group"):
        torch.distributed.barrier()

    def complete(dataset: Dataset) -> None:
        Path(dataset.dataset_path).mkdir()
        (Path(dataset.dataset_path) / "wanted.inter").write_text("user_id:token\titem_id:token\n")
        torch.distributed.barrier()

    download(complete)(Wanted(tmp_path / "wanted"))
    assert (tmp_path / "wanted" / "wanted.inter").exists()


def test_columns_that_the_file_lacks_and_nobody_needs_are_no_error(
    write_dataset: Callable[..., str],
) -> None:
    """RecBole's default load_col names a timestamp; ml-1m of some sources has none."""
    run = Run(dataset="world", data_path=write_dataset(small_world()))
    assert set(run.data[0]._dataset.inter_feat.columns) >= {"user_id", "item_id"}
