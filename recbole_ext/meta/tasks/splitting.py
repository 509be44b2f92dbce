"""Splitting ratings into training tasks and the tasks of validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.scenarios import WARM
from recbole_ext.meta.tasks.task_set import TaskSet, place_in_group


@dataclass(frozen=True)
class ColdStartSplit:
    """The ratings that a model may train on, adapt to and is judged by.

    Attributes:
        training_ratings: users, items and ratings to train on, shape: [n_training] each.
        known_rows: the training ratings and the support sets of evaluation, shape: [n_known]
        query_rows: the ratings that are predicted, shape: [n_queries]
        query_tasks: the place of their task in ``evaluation``, shape: [n_queries]
        training: a task for each warm user.
        evaluation: every task of validation and test.
        is_valid: whether a task is of the validation set, shape: [n_tasks]
        known: a task for each user, with the user's known ratings as support set, but at most as
            many as a task may have.
    """

    training_ratings: tuple[Tensor, Tensor, Tensor]
    known_rows: Tensor
    query_rows: Tensor
    query_tasks: Tensor
    training: TaskSet
    evaluation: TaskSet
    is_valid: Tensor
    known: TaskSet


@dataclass(frozen=True)
class _Table:
    users: Tensor
    items: Tensor
    ratings: Tensor
    scenarios: Tensor


def split_tasks(
    users: Tensor, items: Tensor, ratings: Tensor, scenarios: Tensor, settings: TaskSettings
) -> ColdStartSplit:
    """Make one task of each user's ratings in one scenario, if it has the number asked for.

    For ``task: ranking`` the tasks of validation and test are those of cold users with at least two
    ratings. Some of these are given, all others are the query.

    All tasks of a user are in the same set, validation or test (with ``warm_evaluation: training``
    the W-W tasks, whose queries are trained on, are all in the test). The query of each is drawn at
    random; no model trains on it, unless ``warm_evaluation: training`` asks for it.

    Args:
        users: shape: [n_ratings]
        items: shape: [n_ratings]
        ratings: shape: [n_ratings]
        scenarios: codes into ``SCENARIOS``, shape: [n_ratings]
        settings: the rules.

    Raises:
        ValueError: if no task is left for training, validation or test.
    """
    table = _Table(users, items, ratings, scenarios)
    random = torch.Generator().manual_seed(settings.split_seed)
    order = torch.randperm(len(users), generator=random)
    key = 4 * users + scenarios
    order = order[torch.argsort(key[order], stable=True)]
    _, owner, counts = torch.unique_consecutive(key[order], return_inverse=True, return_counts=True)
    place = place_in_group(owner)
    least, most = settings.task_ratings
    roles = _roles_for_lists if settings.ranks else _roles_for_ratings
    support, query, training = roles(scenarios[order], counts[owner], place, owner, settings)
    if settings.ranks and not query.any():
        raise ValueError(
            f"task: ranking: no cold user has {max(least, 2)} ratings; raise cold_user_ratio or "
            f"lower task_ratings, whose least is {least}"
        )
    if not training.any() or not query.any():
        raise ValueError(
            f"task_ratings: no user has between {least} and {most} ratings in one scenario; the "
            f"largest of {len(counts)} groups has {int(counts.max())}"
        )
    evaluation, query_tasks = _evaluation_tasks(table, order, support, query)
    fixed = settings.warm_evaluation == "training"
    tasks = _training_tasks(table, order[training], query[training] if fixed else None)
    if not (fixed or settings.ranks or settings.resample_queries):
        tasks = tasks.resplit(settings.query_size, settings.support_size, most, random)
    rows = order[training]
    return ColdStartSplit(
        training_ratings=(users[rows], items[rows], ratings[rows]),
        known_rows=order[training | support],
        query_rows=order[query],
        query_tasks=query_tasks,
        training=tasks,
        evaluation=evaluation,
        is_valid=_valid_tasks(evaluation, settings, random),
        known=_known(table, order[(training | support) & ~query], most, random),
    )


def _roles_for_ratings(
    scenarios: Tensor, counts: Tensor, place: Tensor, owner: Tensor, settings: TaskSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each rating is of a support set, of a query, and trained on, shape: [n_ratings] each.

    Args:
        scenarios: shape: [n_ratings]
        counts: the ratings in the group of each rating, a user's in one scenario.
        place: the place of each rating in its group.
        owner: the group of each rating.
        settings: the rules.
    """
    least, most = settings.task_ratings
    judged = (counts >= least) & (counts <= most)
    query = judged & (place < settings.query_size)
    support = judged & ~query
    if settings.support_size is not None:
        support &= place < settings.query_size + settings.support_size
    training = scenarios == WARM
    if not settings.train_on_all:
        training &= judged
    if settings.warm_evaluation == "held_out":
        training &= ~query
    else:
        training &= support | query
    return support, query, training


def _roles_for_lists(
    scenarios: Tensor, counts: Tensor, place: Tensor, owner: Tensor, settings: TaskSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for lists: warm users are trained on, and cold ones have some ratings given."""
    judged = (scenarios != WARM) & (counts >= max(settings.task_ratings[0], 2))
    sizes = torch.as_tensor(settings.support_sizes)
    _, turn = owner[judged].unique(return_inverse=True)
    given = torch.zeros_like(place)
    given[judged] = sizes[turn % len(sizes)]
    support = judged & (place < given.minimum(counts - 1))
    return support, judged & ~support, scenarios == WARM


def _evaluation_tasks(
    table: _Table, order: Tensor, support: Tensor, query: Tensor
) -> tuple[TaskSet, Tensor]:
    """The tasks, and the task of each query rating."""
    rows = order[support | query]
    is_query = query[support | query]
    tasks, owner = _tasks(table, rows, is_query, 4 * table.users[rows] + table.scenarios[rows])
    return tasks, owner[is_query]


def _training_tasks(table: _Table, rows: Tensor, is_query: Tensor | None) -> TaskSet:
    """A task for each user with at least two of the rows; all support where no query is given."""
    if is_query is None:
        is_query = torch.zeros(len(rows), dtype=torch.bool)
    kept = table.users[rows].bincount()[table.users[rows]] > 1
    return _tasks(table, rows[kept], is_query[kept], table.users[rows[kept]])[0]


def _known(table: _Table, rows: Tensor, most: int, random: torch.Generator) -> TaskSet:
    """A task of the known ratings of each user; from more than ``most`` ratings some are drawn."""
    rows = rows[torch.randperm(len(rows), generator=random)]
    rows = rows[torch.argsort(table.users[rows], stable=True)]
    rows = rows[place_in_group(table.users[rows]) < most]
    return _tasks(table, rows, torch.zeros(len(rows), dtype=torch.bool), table.users[rows])[0]


def _tasks(table: _Table, rows: Tensor, is_query: Tensor, key: Tensor) -> tuple[TaskSet, Tensor]:
    """A task for each key, support before query; and the task of each of the given rows."""
    by_role = torch.argsort(2 * key + is_query, stable=True)
    _, owner = torch.unique(key, return_inverse=True)
    n_tasks = int(owner.max()) + 1 if len(owner) else 0
    sizes = owner.bincount(minlength=n_tasks)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
    sorted_rows = rows[by_role]
    first = sorted_rows[starts[:-1]]
    tasks = TaskSet(
        users=table.users[first],
        scenarios=table.scenarios[first],
        starts=starts,
        support_sizes=owner[~is_query].bincount(minlength=n_tasks),
        items=table.items[sorted_rows],
        ratings=table.ratings[sorted_rows],
    )
    return tasks, owner


def _valid_tasks(evaluation: TaskSet, settings: TaskSettings, random: torch.Generator) -> Tensor:
    """Whether a task is in the validation set; warm and cold users are drawn in the same ratio.

    A query that is trained on never selects the epoch.
    """
    ratio = settings.valid_user_ratio
    cold = evaluation.scenarios >= 2
    chosen = torch.zeros(int(evaluation.users.max()) + 1, dtype=torch.bool)
    for group in (~cold, cold):
        candidates = evaluation.users[group].unique()
        drawn = torch.randperm(len(candidates), generator=random)[: round(ratio * len(candidates))]
        chosen[candidates[drawn]] = True
    valid = chosen[evaluation.users]
    if settings.warm_evaluation == "training":
        valid &= evaluation.scenarios != WARM
    if not valid.any() or valid.all():
        raise ValueError(
            f"valid_user_ratio: {ratio} of {len(evaluation.users.unique())} users with tasks "
            "leaves the validation or the test set without tasks"
        )
    return valid
