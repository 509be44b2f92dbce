"""What a worker of a Ray cluster does: it trains its share, and hands over what it writes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from recbole_ext.processes.group import from_first, is_first, working_together
from recbole_ext.processes.joining import lost_connection
from recbole_ext.processes.quiet import keep_quiet

KEPT = Path("saved")  # in the working folder of a worker, the same in all of them


def train_on_worker(given: dict[str, Any]) -> None:
    """Train in a folder of this worker's own; the files go home from there."""
    import ray

    at_home = given["home"]
    if ray.get(at_home.failed.remote()):
        return  # the others were ended by an error that would come again
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    logging.root.handlers.clear()  # Ray's: RecBole sets up the log where nobody has done so
    # Ray's folder of the run: what a killed worker leaves there goes when Ray's session does.
    with (
        tempfile.TemporaryDirectory(dir=".", ignore_cleanup_errors=True) as folder,
        contextlib.chdir(folder),
        working_together(),
    ):
        try:
            hand_over = _HandOver(at_home)
            result = given["work"](_own_settings(at_home, given["use_gpu"]), hand_over)
            if is_first():
                hand_over("")
                ray.get(at_home.finish.remote(result))
        except Exception as error:
            if not _comes_from_others(error):
                ray.get(at_home.fail.remote(getattr(error, "cause", error)))
            raise


class _HandOver:
    """Hands over the files of a run that are new or have changed."""

    def __init__(self, at_home: Any) -> None:
        self.at_home = at_home
        self.sent: dict[Path, tuple[int, int]] = {}

    def __call__(self, last: str) -> str:
        """Hand over the last state and what was written before it; returns its path at home."""
        import ray

        found = [p for p in KEPT.rglob("*") if p.is_file() and not p.name.startswith(".")]
        stamps = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in found}
        # The last state names the best epoch: it must never be newer than that one's file.
        found.sort(key=lambda path: (path == Path(last), stamps[path]))
        changed = [path for path in found if self.sent.get(path) != stamps[path]]
        files = {str(path.relative_to(KEPT)): path.read_bytes() for path in changed}
        kept = ray.get(self.at_home.keep.remote(files, Path(last).name))
        self.sent = stamps
        return kept


def _own_settings(at_home: Any, use_gpu: bool) -> dict[str, Any]:
    """The settings of this worker that say where its data, its files and its GPU are."""
    own = {
        "checkpoint_dir": str(KEPT),
        "data_path": _data_path(at_home),
        "gpu_id": os.environ.get("CUDA_VISIBLE_DEVICES", "") if use_gpu else "",
    }
    last = _last_state(at_home)
    if last:
        own["resume_file"] = str(KEPT / last)
    return own if is_first() else own | keep_quiet()


def _data_path(at_home: Any) -> str:
    """Where the data set is that this machine has, or else the one that is sent from home."""
    import ray

    folder = Path(ray.get(at_home.data_folder.remote()))
    names = [] if folder.is_dir() else ray.get(at_home.data_files.remote())
    if names:
        folder = Path("data", folder.name)
        folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(ray.get(at_home.data_file.remote(name)))
    return str(folder.parent)


def _last_state(at_home: Any) -> str:
    """Fetch the files of the run; returns the name of the one to go on from, if there is one."""
    import ray

    # All workers must go on from one state, also if another one comes home in the meantime.
    last, files = from_first(lambda: ray.get(at_home.newest.remote()))
    for name, content in files.items():
        path = KEPT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return last


def _comes_from_others(error: Exception) -> bool:
    """Whether an error follows from the end of another process, so that new workers can go on."""
    import torch.distributed as dist
    from ray.exceptions import RayActorError

    # Ray dissolves the group of workers when one is gone.
    return not dist.is_initialized() or lost_connection(error) or isinstance(error, RayActorError)
