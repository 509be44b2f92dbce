"""Users per second of MeLU and MAMO, compared with a loop over users that uses ``higher``.

    python benchmarks/meta_tasks.py --json tasks.json

The tasks are random and like those of ml-1m, with 13 to 100 ratings. The published models
(``preset: paper``), the defaults and the defaults with ``task: ranking`` are measured. Only the
published models are compared with the loop (``per_user.py``), which does the same work on a sample
of the tasks. Training consists of loading, loss, gradient and optimiser step; evaluation predicts
the ratings or scores of the queries.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from bilevel_step import ON_CPU
from per_user import MAMOLoop, MeLULoop, tasks_of
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, get_trainer, init_seed
from synthetic import write_tasks
from tabulate import tabulate
from timing import Seconds, apart, arguments, interleaved, thread_counts, write

import recbole_ext  # noqa: F401 (registers the models)
from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.loader import TaskLoader
from recbole_ext.meta.tasks.task_set import TaskSet

LOOPS = {"MeLU": MeLULoop, "MAMO": MAMOLoop}
USERS, ITEMS = 1500, 3706
TASKS, LOOPED = 1024, 16  # tasks per turn of the model and of the loop
TURNS = 3
BATCHES = (32, 128)
# The settings of each variant; only the first one has a loop beside it.
VARIANTS: dict[str, dict[str, str]] = {
    "paper": {"preset": "paper"},
    "default": {},
    "task: ranking": {"task": "ranking"},
}


class Bench:
    """A model and its tasks; ``more`` are settings beside the variant's."""

    def __init__(
        self, folder: str, name: str, variant: str, batch_size: int, more: Any = None
    ) -> None:
        settings = {"data_path": folder, "train_batch_size": batch_size, "state": "ERROR"}
        settings |= {**ON_CPU, **VARIANTS[variant], **(more or {})}
        config = Config(name, "tasks", config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        train_data, _, _ = data_preparation(config, create_dataset(config))
        self.model = get_model(name)(config, train_data.dataset).to(config["device"])
        self.trainer: Trainer = get_trainer(config["MODEL_TYPE"], name)(config, self.model)
        split = self.model.split
        self.training, self.evaluation = _sample(split.training), _sample(split.evaluation)
        rules = TaskSettings.read(config)
        self.loader = TaskLoader(
            train_data.dataset, self.training, batch_size, train_data.generator, rules
        )
        by_size = torch.argsort(self.evaluation.sizes, stable=True)
        self.parts = by_size.split(batch_size)

    def train(self) -> None:
        """Train on all tasks of a turn once."""
        self.model.train()
        for batch in self.loader:
            self.trainer.optimizer.zero_grad()
            self.model.calculate_loss(batch.to(self.model.device)).backward()
            self.trainer.optimizer.step()

    @torch.no_grad()
    def predict(self) -> None:
        """Predict the queries of all tasks of a turn."""
        self.model.eval()
        for part in self.parts:
            self.model.predict_tasks(self.evaluation.batch(part).to(self.model.device))

    def padding(self) -> tuple[float, float]:
        """Share of padding in the support sets, in training and in evaluation."""
        trained = [batch.support.mask for batch in self.loader]
        judged = [self.evaluation.batch(part).support.mask for part in self.parts]
        return _empty(trained), _empty(judged)

    def phases(self) -> dict[str, float]:
        """Seconds of one turn of training, by phase."""
        spent: dict[str, float] = {}
        self.model.train()
        batches = iter(self.loader)
        while True:
            marks = [perf_counter()]
            batch = next(batches, None)
            if batch is None:
                return spent
            marks.append(perf_counter())
            start = self.model.start(batch.users)
            adapted = self.model.adapt_from(start, batch.users, batch.support)
            marks.append(perf_counter())
            loss = self.model.query_loss(batch, adapted).mean()
            marks.append(perf_counter())
            loss.backward()
            marks.append(perf_counter())
            self.trainer.optimizer.step()
            self.trainer.optimizer.zero_grad()
            marks.append(perf_counter())
            names = ("batch", "adaptation", "query", "backward", "step")
            for name, begun, ended in zip(names, marks, marks[1:], strict=False):
                spent[name] = spent.get(name, 0.0) + ended - begun


def _sample(tasks: TaskSet) -> TaskSet:
    """A sample of ``TASKS`` tasks, evenly spaced from the smallest to the largest."""
    by_size = torch.argsort(tasks.sizes, stable=True)
    chosen = by_size[torch.linspace(0, len(by_size) - 1, TASKS).long()]
    batch = [torch.arange(tasks.starts[t], tasks.starts[t + 1]) for t in chosen]
    rows = torch.cat(batch)
    starts = torch.tensor([0, *torch.tensor([len(r) for r in batch]).cumsum(0).tolist()])
    return TaskSet(
        tasks.users[chosen],
        tasks.scenarios[chosen],
        starts,
        tasks.support_sizes[chosen],
        tasks.items[rows],
        tasks.ratings[rows],
    )


def _empty(masks: list[torch.Tensor]) -> float:
    return 1 - sum(m.sum().item() for m in masks) / sum(m.numel() for m in masks)


def measure(folder: str, name: str, variant: str, batch_size: int, turns: int) -> dict:
    """Users per second of the model and of the loop, with padding and phases."""
    bench = Bench(folder, name, variant, batch_size)
    cases: dict[str, Callable[[], Any]] = {"train": bench.train, "evaluate": bench.predict}
    count = dict.fromkeys(cases, TASKS)
    if variant == "paper":
        loop = LOOPS[name](bench.model)
        bench.model.train()
        drawn = next(
            iter(
                TaskLoader(
                    bench.loader.dataset,
                    bench.training,
                    TASKS,
                    bench.loader.generator,
                    bench.loader._settings,
                )
            )
        )
        every = range(0, TASKS, TASKS // LOOPED)
        trained = tasks_of(drawn, every)
        judged = tasks_of(bench.evaluation.batch(torch.arange(TASKS)), every)
        cases |= {"loop trains": lambda: loop.train(trained)}
        cases |= {"loop evaluates": lambda: loop.predict(judged)}
        count |= {"loop trains": LOOPED, "loop evaluates": LOOPED}
    seconds: Seconds = interleaved(cases, turns)
    rates = {case: count[case] / median(seconds[case]) for case in cases}
    return {
        "users a second": rates,
        "seconds": seconds,
        "padding": bench.padding(),
        "phases": bench.phases(),
    }


def main() -> None:
    """Measure, print the tables and write the ratios."""
    given = arguments(__doc__)
    turns = given.repetitions or (3 if given.quick else TURNS)
    raw: dict[str, Any] = {}
    rows, split = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_tasks(Path(folder, "tasks"), USERS, ITEMS)
        for threads in thread_counts(given.quick):
            for name in LOOPS:
                for variant in list(VARIANTS)[: 1 if given.quick else None]:
                    for size in BATCHES[-1:] if given.quick else BATCHES:
                        what = (folder, name, variant, size, turns)
                        found, peak = apart(threads, measure, *what)
                        key = f"{name} {variant} {size} {threads}"
                        raw[key] = {**found, "MB": peak}
                        rows.append(_row(name, variant, size, threads, found, peak))
                        split.append([key, *(f"{1000 * s:.0f}" for s in found["phases"].values())])
    columns = ["", "settings", "users a batch", "threads", "trained/s", "loop", "ratio"]
    columns += ["evaluated/s", "loop", "ratio", "padding", "MB"]
    print(tabulate(rows, columns, tablefmt="github"))
    phases = list(next(iter(raw.values()))["phases"])
    print(f"\nTraining of {TASKS} tasks, ms by phase:\n")
    print(tabulate(split, ["", *phases], tablefmt="github"))
    ratios = ratios_of(raw)
    print("\n" + "\n".join(f"{name}: {value:.2f}" for name, value in ratios.items()))
    write(given.json, ratios, raw)


def _row(name: str, variant: str, size: int, threads: int, found: dict, peak: float) -> list[Any]:
    rates = found["users a second"]
    row: list[Any] = [name, variant, size, threads]
    for ours, loop in (("train", "loop trains"), ("evaluate", "loop evaluates")):
        row.append(round(rates[ours]))
        beside = rates.get(loop)
        row += [round(beside), f"{rates[ours] / beside:.1f}"] if beside else ["", ""]
    return [*row, " / ".join(f"{share:.0%}" for share in found["padding"]), round(peak)]


def ratios_of(raw: dict[str, Any]) -> dict[str, float]:
    """The ratios that the documentation claims, on one thread with 128 users per batch."""
    ratios = {}
    for name in LOOPS:
        rates = raw[f"{name} paper 128 1"]["users a second"]
        ratios[f"{name.lower()}_train_speedup"] = rates["train"] / rates["loop trains"]
        ratios[f"{name.lower()}_eval_speedup"] = rates["evaluate"] / rates["loop evaluates"]
    ratios["padding"] = max(max(found["padding"]) for found in raw.values())
    return ratios


if __name__ == "__main__":
    main()
