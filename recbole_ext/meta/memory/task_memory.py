"""The memory of preferences, by the profile of their users."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.meta.memory.blending import blend


class TaskMemory(nn.Module):
    """Preference matrices ``M_{U,I}``: state that only :meth:`write` changes.

    Args:
        slots: number of slots (K).
        shape: shape of one preference, which is ``(2d, 2d)`` in the paper.

    Reference:
        Dong et al. "MAMO." KDD 2020, section 3.3, equations 10 and 13.
    """

    preferences: Tensor

    def __init__(self, slots: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        start = torch.empty(slots, *shape)
        for preference in start:  # each slot is initialised like a layer
            nn.init.xavier_normal_(preference) if len(shape) > 1 else nn.init.zeros_(preference)
        self.register_buffer("preferences", start)

    def read(self, attention: Tensor) -> Tensor:
        """Each task's initial preference, shape: [tasks, *shape].

        Args:
            attention: shape: [tasks, slots]
        """
        return torch.einsum("ts,s...->t...", attention, self.preferences)

    @torch.no_grad()
    def write(self, attention: Tensor, preferences: Tensor, rate: float, rule: str) -> None:
        """Blend the preferences of a batch of tasks, after they adapted, into the memory.

        Args:
            attention: shape: [tasks, slots]
            preferences: shape: [tasks, *shape]
            rate: write rate γ.
            rule: see :func:`~recbole_ext.meta.memory.blending.blend`.
        """
        self.preferences = blend(self.preferences, attention, preferences, rate, rule)
