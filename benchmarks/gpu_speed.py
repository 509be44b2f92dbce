"""The step and task benchmarks on CPU and GPU in the same run; the ratio is CPU over GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import bilevel_step
import meta_tasks
import softmax_step
from gpu_checks import CPU, NO_CUDA, Check, Job, Measured, Place, Skipped
from synthetic import write_ratings, write_tasks
from timing import interleaved, ratio

STEPS = {
    **{f"BPR step, {name}": {"case": bilevel_step.CASES[name]} for name in (
        "BPR, dense Adam", "forward", "analytic", "analytic, sparse Adam")},
    **{f"softmax step, {name}": {"case": case} for name, case in softmax_step.FULL.items()},
}  # fmt: skip
TASKS = [(model, variant) for model in ("MeLU", "MAMO") for variant in ("default", "paper")]
SIZE = bilevel_step.USERS, bilevel_step.ITEMS, 250_000
QUICK = 200, 150, 5_000
USERS, QUICK_USERS, TASK_USERS = 128, 16, 256
TURNS = 3


def jobs() -> list[Job]:
    """One job for all steps, which share their data, and one for all tasks."""
    return [Job("speed", "step", steps), Job("speed", "tasks", tasks)]


def steps(place: Place) -> Iterator[tuple[str, Check]]:
    """A step of λ and of the model, at about ml-1m's size."""
    folder = place.folder / "steps"
    write_ratings(folder / "random", *(QUICK if place.quick else SIZE))
    data = bilevel_step.load(str(folder))
    for name, given in STEPS.items():
        make = partial(bilevel_step.stepper, str(folder), given["case"], data)
        calls = 2 if place.quick else bilevel_step.INTERVAL
        yield from beside(name, place, make, calls)


def tasks(place: Place) -> Iterator[tuple[str, Check]]:
    """Training and evaluation of tasks."""
    meta_tasks.TASKS = 32 if place.quick else TASK_USERS
    users = QUICK_USERS if place.quick else USERS
    folder = place.folder / "tasks"
    write_tasks(folder / "tasks", 120 if place.quick else meta_tasks.USERS, 300)
    for model, variant in TASKS:
        bench = partial(meta_tasks.Bench, str(folder), model, variant, users)
        for work in ("train", "predict"):
            name = f"{model} {variant}, {work}"
            yield from beside(name, place, partial(_work, bench, work), 1)


def _work(bench: Callable[..., meta_tasks.Bench], work: str, more: dict[str, Any]) -> Any:
    return getattr(bench(more), work)


def beside(
    name: str, place: Place, make: Callable[[dict[str, Any]], Callable[[], Any]], calls: int
) -> Iterator[tuple[str, Check]]:
    """Time a case on the CPU and, where there is one, on the GPU, by turns."""

    def measure() -> Measured:
        call = make(CPU)
        cases = {"CPU": call}
        if place.gpus:
            there = make(place.settings)

            def until_done() -> None:
                there()
                place.wait()

            cases["GPU"] = until_done
        seconds = interleaved(cases, 1 if place.quick else TURNS, calls)
        said = ", ".join(f"{case} {1000 * median(s):.1f} ms" for case, s in seconds.items())
        figures: dict[str, Any] = {"seconds": seconds}
        if place.gpus:
            figures["ratio"] = ratio(seconds["CPU"], seconds["GPU"])
            said += f", ratio {figures['ratio']:.2f}"
        return Measured(said, figures)

    def no_ratio() -> str:
        raise Skipped(NO_CUDA)

    yield name, measure
    if not place.gpus:
        yield f"{name}, ratio of the GPU", no_ratio
