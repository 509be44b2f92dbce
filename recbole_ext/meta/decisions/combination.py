"""What a model predicts, combined with the biases into the probabilities of the rating levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.meta.adapting.biases import shrunk_means
from recbole_ext.meta.adapting.ordinal import first_steps, fit_levels, level_probabilities
from recbole_ext.meta.decisions.bias_floor import BiasFloor
from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.scenarios import SCENARIOS, WARM
from recbole_ext.meta.tasks.splitting import ColdStartSplit
from recbole_ext.meta.tasks.task_set import Predictor, TaskSet

MOST_LEVELS = 20
COLUMNS = 2
# The pull of all scenarios together towards the model itself, and of each one towards them.
POOLED, OWN = 5.0, 100.0
REDRAWN, TASKS_AT_ONCE = 4, 512
TIE_BREAK = 0.01  # the share of the expected rating in the median, so that the order stays


class Combination(nn.Module):
    """Ordinal regression on a model's prediction and on what the biases know of the user.

    The second input is the prediction from the biases with the user's bias in training, which is 0
    for a cold user. It tells of a warm user what a support set of cold items does not. Each
    scenario has weights and thresholds of its own. A scenario of few ratings stays close to the
    others, and all stay close to the model. Before the fit the model's prediction is handed on.

    The median of the levels has the least absolute error, and the mean the least squared one.

    Args:
        bias: biases that were fitted to the training ratings.
        ratings: users, items and ratings of the training, shape: [n] each.
        n_users: number of users.
    """

    of_user: Tensor
    of_item: Tensor
    cold_user: Tensor
    cold_item: Tensor
    levels: Tensor
    center: Tensor
    scale: Tensor
    start: Tensor
    parameters_of: Tensor
    fitted: Tensor

    def __init__(self, bias: BiasFloor, ratings: tuple[Tensor, Tensor, Tensor], n_users: int):
        super().__init__()
        users, items, values = ratings
        left = values - bias.mean - bias.of_item[items]
        self.register_buffer("of_user", shrunk_means(users, left, n_users, bias.user_shrinkage))
        self.register_buffer("of_item", bias.mean + bias.of_item)
        self.register_buffer("cold_user", users.bincount(minlength=n_users) == 0)
        self.register_buffer("cold_item", items.bincount(minlength=len(bias.of_item)) == 0)
        levels = values.unique()
        if len(levels) > MOST_LEVELS:
            levels = values.quantile(torch.linspace(0, 1, MOST_LEVELS)).unique()
        self.register_buffer("levels", levels)
        self.register_buffer("center", values.mean())
        self.register_buffer("scale", values.std(correction=0).clamp(min=1e-6))
        counts = self.places(values).bincount(minlength=len(levels)).double()
        steps = first_steps(counts / counts.sum())
        start = torch.cat([torch.tensor([1.0, 0.0], dtype=torch.double), steps])
        self.register_buffer("start", start)
        self.register_buffer("parameters_of", start.repeat(len(SCENARIOS), 1))
        self.register_buffer("fitted", torch.tensor(False))

    def places(self, ratings: Tensor) -> Tensor:
        """The place of the level next to each rating; both have shape: [n]."""
        return torch.bucketize(ratings, (self.levels[1:] + self.levels[:-1]) / 2)

    def scenarios(self, users: Tensor, items: Tensor) -> Tensor:
        """The scenario that each item is in for its user, shape: [tasks, items].

        Args:
            users: those that the data lacks count as cold, shape: [tasks]
            items: shape: [tasks, items]
        """
        return 2 * self.cold_user[self._known(users)].unsqueeze(-1) + self.cold_item[items].long()

    def inputs(self, own: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The two predictions in standard deviations, shape: [tasks, items, 2].

        Args:
            own: the model's predictions, shape: [tasks, items]
            users: shape: [tasks]
            items: shape: [tasks, items]
        """
        biases = self.of_item[items] + self.of_user[self._known(users)].unsqueeze(-1)
        return torch.stack([own - self.center, biases - own], -1) / self.scale

    @torch.no_grad()
    def fit_to_tasks(
        self, split: ColdStartSplit, settings: TaskSettings, predict: Predictor
    ) -> None:
        """Fit the probabilities to the validation tasks.

        Tasks whose support set is not trained on are taken again, with queries drawn anew.

        Args:
            split: holds the tasks.
            settings: the sizes of a query and a support set.
            predict: the model's predictions.
        """
        tasks, valid = split.evaluation, split.is_valid.nonzero().squeeze(-1)
        seen = [self._observed(tasks, valid, predict)]
        fresh = valid[tasks.scenarios[valid] != WARM]
        for seed in range(REDRAWN if len(fresh) else 0):
            random = torch.Generator().manual_seed(seed)
            most = settings.task_ratings[1]
            drawn = tasks.resplit(settings.query_size, settings.support_size, most, random)
            seen.append(self._observed(drawn, fresh, predict))
        self.fit(*(torch.cat(column) for column in zip(*seen, strict=True)))

    def fit(self, inputs: Tensor, scenarios: Tensor, ratings: Tensor) -> None:
        """Fit the probabilities to ratings that no model was trained on.

        Args:
            inputs: shape: [n, 2]
            scenarios: shape: [n]
            ratings: shape: [n]
        """
        # on the CPU, as a GPU would take a thousand small steps and wait for each
        columns, places = inputs.double().cpu(), self.places(ratings).cpu()
        scenarios = scenarios.cpu()
        together = fit_levels(columns, places, self.start.double().cpu(), POOLED)
        for scenario in range(len(SCENARIOS)):
            mine = scenarios == scenario
            found = fit_levels(columns[mine], places[mine], together, OWN)
            self.parameters_of[scenario] = found.to(self.parameters_of)
        self.fitted.fill_(True)

    def probabilities(self, own: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The probability of each level; the arguments are those of :meth:`inputs`.

        Returns:
            shape: [tasks, items, levels]
        """
        chosen = self.parameters_of[self.scenarios(users, items)].to(own)
        inputs = self.inputs(own, users, items)
        return level_probabilities(inputs, chosen[..., :COLUMNS], chosen[..., COLUMNS:])

    def mean(self, own: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The expected rating, shape: [tasks, items]; the arguments are those of :meth:`inputs`."""
        return self.probabilities(own, users, items) @ self.levels if self.fitted else own

    def median(self, own: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The median level, and a hundredth of the way to the mean, so that few predictions tie.

        Args:
            own: shape: [tasks, items]
            users: shape: [tasks]
            items: shape: [tasks, items]

        Returns:
            shape: [tasks, items]
        """
        if not self.fitted:
            return own
        probabilities = self.probabilities(own, users, items)
        below = probabilities.cumsum(-1)[..., :-1] < 0.5
        median = self.levels[below.sum(-1)]
        return median + TIE_BREAK * (probabilities @ self.levels - median)

    def _observed(
        self, tasks: TaskSet, chosen: Tensor, predict: Predictor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, scenarios and ratings of the queries of some tasks."""
        parts = []
        for some in chosen.split(TASKS_AT_ONCE):
            batch = tasks.batch(some).to(self.levels.device)
            there, items = batch.query.mask > 0, batch.query.items
            inputs = self.inputs(predict(batch), batch.users, items)
            scenarios = self.scenarios(batch.users, items)
            parts.append((inputs[there], scenarios[there], batch.query.ratings[there]))
        inputs, scenarios, ratings = (torch.cat(part) for part in zip(*parts, strict=True))
        return inputs, scenarios, ratings

    def _known(self, users: Tensor) -> Tensor:
        """The users, with RecBole's padding for those that the data lacks."""
        return torch.where(users < len(self.of_user), users, 0)
