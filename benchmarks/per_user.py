"""MeLU and MAMO one user at a time with the package ``higher``, as in their public ports.

Each loop takes the embeddings, weights and memories of our model, so that both do the same work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import higher
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu, mse_loss
from torch.optim import SGD, Adam

from recbole_ext.meta.mamo import MAMO
from recbole_ext.meta.melu import MeLU
from recbole_ext.meta.tasks.task_set import TaskBatch

# A user, the items and ratings of the support set, and the items and ratings of the query.
Task = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def tasks_of(batch: TaskBatch, which: Iterable[int]) -> list[Task]:
    """Some tasks of a batch, each by itself and without padding."""
    found = []
    for at in which:
        known, asked = (side.mask[at] > 0 for side in (batch.support, batch.query))
        support = batch.support.items[at][known], batch.support.ratings[at][known]
        query = batch.query.items[at][asked], batch.query.ratings[at][asked]
        found.append((batch.users[at : at + 1], *support, *query))
    return found


def layers(weights: Sequence[Tensor], activation: type[nn.Module], last: bool) -> nn.Sequential:
    """Linear layers with these weights and biases; ``last`` activates the last one too."""
    modules: list[nn.Module] = []
    for weight, bias in zip(weights[0::2], weights[1::2], strict=True):
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.detach().T.clone(), bias.detach()[0].clone()
        modules += [linear, activation()]
    return nn.Sequential(*(modules if last else modules[:-1]))


class MeLULoop:
    """Algorithm 1 of MeLU, with second-order gradients."""

    def __init__(self, model: MeLU) -> None:
        self.decision, self.settings = model.decision, model.inner_settings
        self.network = layers(list(model.decision.weights), nn.ReLU, last=False)
        embeddings = [*self.decision.user_content.parameters(), *self.decision.items.parameters()]
        self.optimizer = Adam([*self.network.parameters(), *embeddings], lr=1e-3)

    def train(self, tasks: list[Task]) -> None:
        """Take one outer step on a batch of users."""
        self.optimizer.zero_grad()
        for user, items, ratings, asked, answers in tasks:
            inner = SGD(self.network.parameters(), lr=self.settings.inner_learning_rate)
            with higher.innerloop_ctx(self.network, inner, copy_initial_weights=False) as (net, by):
                for _ in range(self.settings.inner_steps):
                    by.step(mse_loss(net(self._inputs(user, items)).squeeze(-1), ratings))
                loss = mse_loss(net(self._inputs(user, asked)).squeeze(-1), answers)
                (loss / len(tasks)).backward()
        self.optimizer.step()

    def predict(self, tasks: list[Task]) -> list[Tensor]:
        """Predicted ratings of the queries."""
        found = []
        for user, items, ratings, asked, _ in tasks:
            inner = SGD(self.network.parameters(), lr=self.settings.inner_learning_rate)
            with higher.innerloop_ctx(self.network, inner, track_higher_grads=False) as (net, by):
                for _ in range(self.settings.inner_steps):
                    by.step(mse_loss(net(self._inputs(user, items)).squeeze(-1), ratings))
                with torch.no_grad():
                    found.append(net(self._inputs(user, asked)).squeeze(-1))
        return found

    def _inputs(self, user: Tensor, items: Tensor) -> Tensor:
        content = self.decision.user_content(user).expand(len(items), -1)
        return torch.cat([content, self.decision.items.content(items)], dim=-1)


class MAMONetwork(nn.Module):
    """The three networks and the preference matrix of one user."""

    def __init__(self, model: MAMO) -> None:
        super().__init__()
        decision = model.decision
        self.user = layers(list(decision.of_user), nn.LeakyReLU, last=True)
        self.item = layers(list(decision.of_item), nn.LeakyReLU, last=True)
        self.rating = layers(list(decision.of_rating), nn.LeakyReLU, last=False)
        self.preference = nn.Parameter(torch.zeros(decision.preference_shape))

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        """Scores of the classes, shape: [items, classes]."""
        items = self.item(items)
        pair = torch.cat([self.user(user).expand_as(items), items], dim=-1)
        return self.rating(leaky_relu(pair @ self.preference))


class MAMOLoop:
    """Algorithm 1 of MAMO, with first-order gradients; the memories are written user by user."""

    def __init__(self, model: MAMO) -> None:
        self.model, self.decision = model, model.decision
        self.inner, self.memory = model.inner_settings, model.memory_settings
        self.levels = model.decision.head.levels
        self.network = MAMONetwork(model)
        self.of_user = len(list(self.network.user.parameters()))
        embeddings = [*self.decision.user_content.parameters(), *self.decision.items.parameters()]
        attention = model.feature_memory.attention.parameters()
        self.optimizer = SGD([*self.network.parameters(), *embeddings, *attention], lr=1.6)

    def train(self, tasks: list[Task]) -> None:
        """Take one outer step on a batch of users, and write to the memories."""
        self.optimizer.zero_grad()
        for user, items, ratings, asked, answers in tasks:
            start, attention = self._start(user)
            net, steps = self._adapt(start, user, items, ratings)
            loss = self._error(net(self._user(user), self._items(asked)), answers) / len(tasks)
            reached = torch.autograd.grad(loss, net.fast_params, retain_graph=True)
            loss.backward()  # reaches the embeddings of the query
            torch.autograd.backward(start, reached)  # first order: inner steps count as constant
            self._write(attention, user, start, net, steps)
        self.optimizer.step()

    def predict(self, tasks: list[Task]) -> list[Tensor]:
        """Predicted ratings of the queries."""
        found = []
        for user, items, ratings, asked, _ in tasks:
            net, _ = self._adapt(self._start(user)[0], user, items, ratings)
            with torch.no_grad():
                scores = net(self._user(user), self._items(asked))
                found.append(scores.softmax(-1) @ self.levels)
        return found

    def _start(self, user: Tensor) -> tuple[list[Tensor], Tensor]:
        attention = self.model.attend(user)
        bias = self.memory.bias_strength * self.model.feature_memory.read(attention)[0]
        weights = dict(self.network.named_parameters())
        start, at = [], 0
        for name, weight in weights.items():
            if name.startswith("user"):
                weight = weight - bias[at : at + weight.numel()].view_as(weight)
                at += weight.numel()
            if name == "preference":
                weight = self.model.task_memory.read(attention)[0]
            start.append(weight if weight.requires_grad else weight.requires_grad_())
        return start, attention

    def _adapt(
        self, start: list[Tensor], user: Tensor, items: Tensor, ratings: Tensor
    ) -> tuple[nn.Module, int]:
        net = higher.patch.monkeypatch(self.network, track_higher_grads=False)
        net.update_params([weight.detach().clone().requires_grad_() for weight in start])
        known = list(self.network.parameters())
        inner = SGD(known, lr=self.inner.inner_learning_rate)
        by = higher.optim.get_diff_optim(inner, known, fmodel=net, track_higher_grads=False)
        steps = 0
        for _ in range(self.inner.inner_steps):
            for part in torch.arange(len(items)).split(self.inner.inner_batch_size):
                outputs = net(self._user(user).detach(), self._items(items[part]).detach())
                by.step(self._error(outputs, ratings[part]))
                steps += 1
        return net, steps

    @torch.no_grad()
    def _write(
        self, attention: Tensor, user: Tensor, start: list[Tensor], net: nn.Module, steps: int
    ) -> None:
        ended = list(net.fast_params)
        names = [name for name, _ in self.network.named_parameters()]
        moved = [
            (before - after).flatten() / self.inner.inner_learning_rate / steps
            for name, before, after in zip(names, start, ended, strict=True)
            if name.startswith("user")
        ]
        preference = ended[names.index("preference")]
        rates = self.memory.profile_write_rate, self.memory.gradient_write_rate
        features, tasks = self.model.feature_memory, self.model.task_memory
        gradient = torch.cat(moved).unsqueeze(0)
        features.write(attention, self._user(user), gradient, rates, "sequential")
        rate = self.memory.preference_write_rate
        tasks.write(attention, preference.unsqueeze(0), rate, "sequential")

    def _user(self, user: Tensor) -> Tensor:
        return self.decision.user_content(user)

    def _items(self, items: Tensor) -> Tensor:
        return self.decision.items.content(items)

    def _error(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        return cross_entropy(outputs, (ratings.unsqueeze(-1) - self.levels).abs().argmin(-1))
