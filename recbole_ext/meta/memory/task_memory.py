"""The memory of what users of a profile preferred."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.meta.memory.blending import blend


class TaskMemory(nn.Module):
    """Preference matrices ``M_{U,I}``: state that only :meth:`write` changes.

    Args:
        slots: number of slots (K).
        shape: of one preference: ``(2d, 2d)`` in the paper.

    Reference:
        Dong et al. "MAMO." KDD 2020, section 3.3, equations 10 and 13.
    """

    preferences: Tensor

    def __init__(self, slots: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        start = torch.empty(slots, *shape)
        for preference in start:  # as a layer of its own would start
            nn.init.xavier_normal_(preference) if len(shape) > 1 else nn.init.zeros_(preference)
        self.register_buffer("preferences", start)

    def read(self, attention: Tensor) -> Tensor:
        """Each task's own preference to begin with, shape: [tasks, *shape].

        Args:
            attention: shape: [tasks, slots]
        """
        return torch.einsum("ts,s...->t...", attention, self.preferences)

    @torch.no_grad()
    def write(self, attention: Tensor, preferences: Tensor, rate: float, rule: str) -> None:
        """Blend the preferences that a batch of tasks ended with.

        Args:
            attention: shape: [tasks, slots]
            preferences: shape: [tasks, *shape]
            rate: γ.
            rule: see :func:`~recbole_ext.meta.memory.blending.blend`.
        """
        self.preferences = blend(self.preferences, attention, preferences, rate, rule)
