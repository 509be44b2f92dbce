"""RecBole's download of a missing data set, with a clear error if it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from recbole.data.dataset import Dataset


def download(original: Callable[[Dataset], None]) -> Callable[[Dataset], None]:
    """Wrap ``Dataset._download``: an error says what was tried and what to do instead.

    In a single process RecBole 1.2.1 raises an error after the files are in place, as it waits at a
    barrier without a process group; this error is ignored. A folder that a failed download
    left behind is removed, because the next run would mistake it for the data.
    """

    def download_or_explain(dataset: Dataset) -> None:
        folder = Path(dataset.dataset_path)
        try:
            original(dataset)
        except Exception as error:
            if "process group" in str(error) and any(folder.glob("*.inter")):
                return
            shutil.rmtree(folder, ignore_errors=True)
            raise FileNotFoundError(_explain(dataset.dataset_name, folder, error)) from error
        except BaseException:  # Ctrl-C
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return download_or_explain


def _explain(name: str, folder: Path, error: Exception) -> str:
    return (
        f"dataset {name!r}: there is no folder {folder}, and RecBole's download did not work "
        f"({error}). Put {name}.inter (and, if there are any, {name}.user and {name}.item) into "
        f"{folder}, or set data_path to the folder that holds {name}/"
    )
