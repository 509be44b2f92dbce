"""Time and memory of a step of LambdaOptMF (λ step and model step), compared with RecBole's BPR.

    python benchmarks/bilevel_step.py --json steps.json

The data are random and of ml-1m's size (6,040 users, 3,706 items), with d 128 and batches of 1024
triples. The cases ``analytic`` and ``higher`` have a λ for each user, item and dimension. Further
runs have 10 and 100 times as many users and items. The training batches are drawn before the
measurement, but the time of a λ step includes drawing its validation batch.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.utils import get_model, get_trainer, init_seed
from synthetic import write_ratings
from tabulate import tabulate
from timing import (
    Seconds,
    apart,
    arguments,
    forget_peak,
    interleaved,
    ratio,
    thread_counts,
    write,
)

from recbole_ext.lambda_opt.building import tell_counts
from recbole_ext.lambda_opt.gradient.owners import owners_of
from recbole_ext.lambda_opt.trainer import BilevelTrainer
from recbole_ext.runs.frequency_groups import rating_counts

Data: TypeAlias = tuple[TrainDataLoader, FullSortEvalDataLoader]

USERS, ITEMS, RATINGS = 6040, 3706, 1_000_209
GIVEN = {"loss": "bpr", "lambda_source": "valid"}  # the whole validation set, not a split of it
FINEST = {
    **GIVEN,
    "meta_gradient": "analytic",
    "lambda_granularity": "dimension+user+item",
    "lambda_update_interval": 1,
}
SPARSE = {"learner": "sparse_adam", "lambda_learner": "sparse_adam"}
DEFAULT = "forward"
CASES: dict[str, dict[str, Any]] = {
    "BPR, dense Adam": {"model": "BPR"},
    "fixed λ": {
        "loss": "bpr",
        "regularizer": "fixed",
        "reg_weight": 0.01,
        "lambda_granularity": "global",
    },
    DEFAULT: GIVEN,
    "analytic": FINEST,
    "analytic, sparse λ": {**FINEST, "lambda_learner": "sparse_adam"},
    "analytic, sparse Adam": {**FINEST, **SPARSE},
    "higher": {**FINEST, "meta_gradient": "higher"},
}
ON_CPU: dict[str, Any] = {"gpu_id": "", "use_gpu": False}
SPARSE_CASE = "analytic, sparse Adam"
BATCHES = 64
INTERVAL = 8  # the default takes a λ step every 8 steps; it is measured over all 8
TURNS, CALLS = 7, 2 * INTERVAL  # at ml-1m's size
CALLS_BESIDE = {10: 6, 100: 2}  # at 10 and 100 times ml-1m's size, the larger on one thread


def load(folder: str, more: dict[str, Any] | None = None) -> Data:
    """Loaders of the training and of the validation ratings in a folder."""
    config = _config(folder, CASES["BPR, dense Adam"], more or {})
    return data_preparation(config, create_dataset(config))[:2]


def stepper(
    folder: str, case: dict[str, Any], data: Data, more: dict[str, Any] | None = None
) -> Callable[[], None]:
    """A function that takes one step of a case, on the data in a folder."""
    return prepared(folder, case, data, more)[1]


def prepared(
    folder: str, case: dict[str, Any], data: Data, more: dict[str, Any] | None = None
) -> tuple[Any, Callable[[], None]]:
    """A trainer, and a function that takes one of its steps."""
    train_data, valid_data = data
    config = _config(folder, case, more or {})
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, train_data.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    loss = model.calculate_loss
    if isinstance(trainer, BilevelTrainer):
        loss = trainer._bilevel_loss
        counts = rating_counts(train_data.dataset)
        tell_counts(trainer.lambda_network, trainer.settings, counts, owners_of(model))
        if trainer.settings.learns_lambda:
            trainer._set_up_lambda(train_data, valid_data)
        train_data = trainer.objective.loader(train_data)
    batches = itertools.cycle(list(itertools.islice(train_data, BATCHES)))
    if config["softmax_items"]:  # their drawing is a part of the step
        batches = itertools.chain.from_iterable(itertools.repeat(train_data))

    def step() -> None:
        trainer.optimizer.zero_grad()
        loss(next(batches).to(trainer.device)).backward()
        trainer.optimizer.step()

    step()
    for optimizer in (trainer.optimizer, getattr(trainer, "lambda_optimizer", None)):
        for state in optimizer.state.values() if optimizer is not None else ():
            for moment in (state["exp_avg"], state["exp_avg_sq"]):
                moment.add_(0)  # the first write to new memory is slow
    if isinstance(trainer, BilevelTrainer) and trainer.forward_gradient is not None:
        for tangent in trainer.forward_gradient.buffers():
            tangent.add_(0)
    return trainer, step


def _config(folder: str, case: dict[str, Any], more: dict[str, Any]) -> Config:
    given = {"model": "LambdaOptMF", **ON_CPU, **case, **more}
    settings = {
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": 128,
        "train_batch_size": 1024,
        "eval_args": {"split": {"RS": [0.9, 0.05, 0.05]}, "group_by": "none", "mode": "full"},
        "state": "ERROR",
        **given,
    }
    return Config(given["model"], "random", config_dict=settings)


def by_turns(folder: str, data: Data, turns: int) -> Seconds:
    """Seconds of a step of each case, with the cases taking turns."""
    cases = {name: stepper(folder, case, data) for name, case in CASES.items()}
    return interleaved(cases, turns, CALLS)


def alone(folder: str, name: str, data: Data, calls: int) -> Seconds:
    """Seconds of a step of one case; the peak memory then leaves out its preparation."""
    step = stepper(folder, CASES[name], data)
    forget_peak()
    return interleaved({name: step}, calls, INTERVAL if name == DEFAULT else 1)


def main() -> None:
    """Measure, print a table for each size and write the ratios."""
    given = arguments(__doc__)
    turns = given.repetitions or (3 if given.quick else TURNS)
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as root:
        for times in (1, *CALLS_BESIDE):
            if given.quick and times == 10:
                continue
            folder = f"{root}/{times}"
            users, items = times * USERS, times * ITEMS
            ratings = max(users, RATINGS // 4) if given.quick else RATINGS
            write_ratings(Path(folder, "random"), users, items, ratings)
            data = load(folder)
            names = [SPARSE_CASE] if given.quick and times > 1 else list(CASES)
            found: dict[str, Any] = {name: {} for name in names}
            for threads in thread_counts(given.quick or times == 100):
                seconds: Seconds = {}
                if times == 1:
                    seconds, _ = apart(threads, by_turns, folder, data, turns)
                for name in names:
                    calls = CALLS_BESIDE.get(times, 2)
                    one, peak = apart(threads, alone, folder, name, data, calls)
                    times_of = seconds.get(name, one[name])
                    found[name][f"{threads} threads"] = {"seconds": times_of, "MB": peak}
            raw[f"{times}x"] = found
            print(f"\n{users:,} users, {items:,} items, {ratings:,} ratings")
            print(table(found), flush=True)
    ratios = ratios_of(raw)
    print("\n" + "\n".join(f"{name}: {value:.2f}" for name, value in ratios.items()))
    write(given.json, ratios, raw)


def table(found: dict[str, Any]) -> str:
    """A row for each case: milliseconds per step, their ratio to the first case's, and memory."""
    rows = []
    for name, by_threads in found.items():
        row = [name]
        for threads, one in by_threads.items():
            first = next(iter(found.values()))[threads]
            row += [f"{1000 * median(one['seconds']):.1f}"]
            row += [f"{ratio(one['seconds'], first['seconds']):.2f}", f"{one['MB']:.0f}"]
        rows.append(row)
    threads = next(iter(found.values()))
    columns = [f"{what} ({n})" for n in threads for what in ("ms a step", "over the first", "MB")]
    return tabulate(rows, ["", *columns], tablefmt="github", disable_numparse=True)


def ratios_of(raw: dict[str, Any]) -> dict[str, float]:
    """The ratios that the documentation claims, measured on one thread."""
    small = {name: found["1 threads"] for name, found in raw["1x"].items()}
    large = raw["100x"][SPARSE_CASE]["1 threads"]
    plain, analytic = small["BPR, dense Adam"], small["analytic"]
    return {
        "analytic_over_plain": ratio(analytic["seconds"], plain["seconds"]),
        "forward_over_plain": ratio(small[DEFAULT]["seconds"], plain["seconds"]),
        "higher_over_analytic": ratio(small["higher"]["seconds"], analytic["seconds"]),
        "sparse_100x_over_1x": median(large["seconds"]) / median(small[SPARSE_CASE]["seconds"]),
        "memory_analytic_over_plain": analytic["MB"] / plain["MB"],
    }


if __name__ == "__main__":
    main()
