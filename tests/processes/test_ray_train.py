"""Training on a Ray cluster: bad input, what goes home, and runs whose workers and nodes die."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import recbole_ext
from recbole_ext.processes import ray_train, ray_worker
from recbole_ext.processes.home import Home
from recbole_ext.processes.ray_train import Cluster
from recbole_ext.runs.atomic_file import replacing
from recbole_ext.runs.checkpoint import last_file
from tests.worlds.helpers import QUICK, SHORT, same, small_world, state_of_training
from tests.worlds.places import ROOT, free_port
from tests.worlds.ray_nodes import RAY, Node, kill, nodes_at

OLD = [int(part) for part in version("ray").split(".")[:2]] < [2, 50]
needs_ray_train = pytest.mark.skipif(OLD, reason="Ray Train before 2.50 replaces no workers")
EPOCHS = 120
SETTINGS = {
    **QUICK, **SHORT, "epochs": EPOCHS, "stopping_step": EPOCHS, "embedding_size": 4, "topk": [3],
    "train_batch_size": 8, "valid_metric": "NDCG@3", "state": "INFO",
}  # fmt: skip


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "kind", "message"),
        [
            ({"num_workers": 2}, ValueError, "num_workers: 2 needs ray_address: auto, local or"),
            ({"ray_address": "auto", "num_workers": 0}, ValueError, "must be at least 1, got 0"),
            (
                {"ray_address": "local", "nproc": 2},
                ValueError,
                "nproc: 2 is for processes without Ray.*num_workers: 2 is the same on Ray",
            ),
            (
                {"ray_address": "local", "world_size": 3},
                ValueError,
                "world_size: 3 is for processes without Ray",
            ),
        ],
    )
    def test_arguments_that_do_not_fit(
        self, given: dict[str, Any], kind: type[Exception], message: str
    ) -> None:
        with pytest.raises(kind, match=message):
            recbole_ext.run("BPR", "ml-100k", **given)

    @needs_ray_train
    @pytest.mark.parametrize(
        ("address", "kind", "message"),
        [
            ("nowhere", ValueError, "ray_address must be auto, local, host:port, got 'nowhere'"),
            ("auto", ConnectionError, "auto finds no Ray cluster on this machine; start one with"),
            ("127.0.0.1:9", ConnectionError, "no Ray cluster answers at 127.0.0.1:9 .*ray start"),
        ],
    )
    def test_an_address_where_nobody_listens(
        self, address: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("psutil.process_iter", lambda _attributes: [])
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(kind, match=message):
            recbole_ext.run("BPR", "ml-100k", ray_address=address, num_workers=2)

    def test_ray_that_is_too_old_or_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray_train, "version", lambda _name: "2.6.3")
        with pytest.raises(ImportError, match=r"local needs ray 2.50 or newer, and 2.6.3 is .*pip"):
            recbole_ext.run("BPR", "ml-100k", ray_address="local")

        def missing(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(ray_train, "version", missing)
        with pytest.raises(ImportError, match=r"needs the package ray, .* pip install 'ray\[train"):
            recbole_ext.run("BPR", "ml-100k", ray_address="local")

    def test_more_workers_than_the_cluster_has_room_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = {"CPU": 3.0, "GPU": 0.0}
        monkeypatch.setattr(ray_train, "most_of", lambda name: (there[name], there[name]))
        assert not Cluster("auto", 3).gpus("0")
        with pytest.raises(
            ValueError, match=r"num_workers: 4 workers need 4 CPUs, .*auto has 3; lo"
        ):
            Cluster("auto", 4).gpus("0")
        there["GPU"] = 2.0
        assert Cluster("auto", 2).gpus("0")
        assert not Cluster("auto", 3).gpus("")
        with pytest.raises(ValueError, match=r"3 workers need 3 GPUs.* or set gpu_id: ''"):
            Cluster("auto", 3).gpus("0")


def reachable(home: Home) -> Any:
    """A home whose methods are called as those of a Ray actor."""
    names = [name for name in dir(home) if callable(getattr(home, name)) and name[0] != "_"]
    return SimpleNamespace(
        **{name: SimpleNamespace(remote=getattr(home, name)) for name in names if name[0] != "_"}
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr("ray.get", lambda answer: answer)
    return Home(tmp_path / "here" / "world", tmp_path / "home", replacing)


class TestHome:
    def test_what_has_changed_goes_home_and_comes_back_to_another_worker(
        self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        best, curve, last = (ray_worker.KEPT / f"X{end}" for end in (".pth", "-curve.csv", "-last"))
        dump = ray_worker.KEPT / "X-lambda" / "0.npz"
        dump.parent.mkdir(parents=True)
        for path in (last, best, curve, dump):
            path.write_text(f"1 {path.name}")
        sent: list[list[str]] = []
        keep = home.keep
        monkeypatch.setattr(
            home, "keep", lambda files, last: sent.append([*files]) or keep(files, last)
        )
        hand_over = ray_worker._HandOver(reachable(home))
        assert hand_over(str(last)) == str(tmp_path / "home" / "X-last")
        assert set(sent[0]) == {"X.pth", "X-curve.csv", "X-last", "X-lambda/0.npz"}
        assert sent[0][-1] == "X-last"  # it names the best epoch, and must not be newer
        curve.write_text("2")
        (ray_worker.KEPT / ".X.pth.1a2b").write_text("half a file")
        hand_over(str(last))
        assert sent[1] == ["X-curve.csv"]

        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert ray_worker._last_state(reachable(home)) == "X-last"
        assert curve.read_text() == "2"
        assert dump.read_text() == "1 0.npz"

    def test_a_run_that_is_resumed_takes_the_files_beside_its_own(self, home: Home) -> None:
        folder = Path("saved")
        for name in ("X.pth", "X-last.pth", "X-lambda/0.npz", "X2.pth"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        home.go_on_from(folder / "X-last.pth", "X.pth")
        last, files = home.newest()
        assert last == "X-last.pth"
        assert files == {n: n.encode() for n in ("X.pth", "X-last.pth", "X-lambda/0.npz")}

    def test_data_that_a_worker_lacks_are_sent(self, home: Home, tmp_path: Path) -> None:
        home.data.mkdir(parents=True)
        (home.data / "world.inter").write_text("user_id:token\n")
        assert ray_worker._data_path(reachable(home)) == str(tmp_path / "here")
        away = SimpleNamespace(**vars(reachable(home)))
        away.data_folder = SimpleNamespace(remote=lambda: "/not/on/this/machine/world")
        assert ray_worker._data_path(away) == "data"
        assert Path("data/world/world.inter").read_text() == "user_id:token\n"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: Any) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data") / "world"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in small_world(40, 24))]
    (folder / "world.inter").write_text("\n".join(lines) + "\n")
    return {**SETTINGS, "data_path": str(folder.parent)}


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[tuple[str, Node]]:
    """A cluster of one node with two CPUs."""
    port = free_port()
    head = Node("--head", f"--port={port}", "--include-dashboard=false", cpus=2)
    try:
        nodes_at(f"127.0.0.1:{port}", 1)
        yield f"127.0.0.1:{port}", head
    finally:
        kill(head.process)


class Training:
    """A run of the command in a process of its own, and what it leaves."""

    def __init__(self, settings: dict[str, Any], folder: str, *how: str) -> None:
        self.folder = Path(folder).resolve()
        given = [f"--{key}={value}".replace(" ", "") for key, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "run.py", "--model=LambdaOptMF", "--dataset=world", *given,
             f"--checkpoint_dir={self.folder}", *how],
            cwd=self.folder.parent, env={**RAY, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def validated(self, times: int) -> None:
        """Wait until so many validations have come home."""
        while not any(
            len(curve.read_text().splitlines()) > times for curve in self.folder.glob("*-curve.csv")
        ):
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.02)

    def ended(self) -> tuple[str, dict[str, Any], dict[str, Any], int]:
        """The table of metrics, the best epoch, the last state, and how often workers began."""
        printed = self.process.communicate(timeout=400)[0]
        assert self.process.returncode == 0, printed
        table = printed[printed.index("LambdaOptMF on world") : printed.index("seconds: loading")]
        best = Path(re.findall(r"checkpoint: (\S+)", printed)[-1])
        assert best.parent == self.folder
        began = printed.count("Started training worker group")
        return table, state_of_training(best), state_of_training(last_file(best)), began


def on(address: str) -> tuple[str, str]:
    return f"--ray_address={address}", "--num_workers=2"


@pytest.fixture(scope="module")
def undisturbed(settings: dict[str, Any], tmp_path_factory: Any) -> tuple[Any, ...]:
    """What two processes leave without Ray."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    run = Training(settings, folder, "--nproc=2", f"--port={free_port()}")
    return run.ended()[:3]


def workers(root: subprocess.Popen) -> list[psutil.Process]:
    """The processes that train, of a node; the oldest first."""
    found = psutil.Process(root.pid).children(recursive=True)
    return [process for process in found if "RayTrainWorker" in " ".join(process.cmdline())]


@pytest.mark.slow
@needs_ray_train
class TestRuns:
    def test_two_workers_leave_what_two_processes_leave(
        self, settings: dict[str, Any], two_cpus: tuple[str, Node], undisturbed: tuple[Any, ...]
    ) -> None:
        *found, began = Training(settings, "saved", *on(two_cpus[0])).ended()
        assert began == 1
        assert all(map(same, found, undisturbed))

    @pytest.mark.parametrize("seed", [0, 1, 2, 3, 5])  # early and late
    def test_a_killed_worker_is_replaced_and_the_figures_stay(
        self, seed: int, settings: dict[str, Any], two_cpus: tuple[str, Node], undisturbed: Any
    ) -> None:
        drawn = random.Random(seed)
        moment, which = drawn.randint(1, EPOCHS - 20), drawn.randrange(2)
        address, node = two_cpus
        run = Training(settings, "saved", *on(address))
        run.validated(moment)
        time.sleep(drawn.uniform(0, 0.1))
        workers(node.process)[which].send_signal(signal.SIGKILL)
        *found, began = run.ended()
        print(f"worker {which} was killed after validation {moment}; workers began {began} times")
        assert began == 2
        assert all(map(same, found, undisturbed))

    def test_a_node_that_dies_and_comes_back(
        self, settings: dict[str, Any], undisturbed: tuple[Any, ...]
    ) -> None:
        address = f"127.0.0.1:{free_port()}"
        head = Node("--head", f"--port={address.split(':')[1]}", "--include-dashboard=false")
        others = []
        try:
            nodes_at(address, 1)
            others.append(Node(f"--address={address}", "--node-ip-address=127.0.0.2"))
            nodes_at(address, 2)
            run = Training(settings, "saved", *on(address))
            run.validated(EPOCHS // 3)
            kill(others[0].process)
            others.append(Node(f"--address={address}", "--node-ip-address=127.0.0.3"))
            *found, began = run.ended()
        finally:
            for node in (*others, head):
                kill(node.process)
        assert began >= 2  # nodes on one machine show each other's lines again
        assert all(map(same, found, undisturbed))

    def test_an_error_of_the_run_is_raised_as_it_is(
        self, settings: dict[str, Any], two_cpus: tuple[str, Node]
    ) -> None:
        given = {**settings, "learning_rate": 1e30}
        run = Training(given, "saved", *on(two_cpus[0]))
        printed = run.process.communicate(timeout=300)[0]
        assert run.process.returncode == 1
        assert re.search(r"^error: .*(loss|finite)", printed, re.MULTILINE), printed
        assert printed.count("Started training worker group") == 2
