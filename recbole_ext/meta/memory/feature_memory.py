"""The memory of user profiles, and of the gradients that training on such users gave."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from recbole_ext.meta.memory.blending import blend


class FeatureMemory(nn.Module):
    """Profiles ``M_P``, fast gradients ``M_U`` and a learnt attention over their slots.

    The two memories are state, not parameters: only :meth:`write` changes them. The attention is
    learnt with the model.

    Args:
        slots: number of slots (K).
        profile_size: size of a user's profile.
        weight_size: number of weights that a gradient covers.

    Reference:
        Dong et al. "MAMO." KDD 2020, section 3.2, equations 2 to 5.
    """

    profiles: Tensor
    gradients: Tensor

    def __init__(self, slots: int, profile_size: int, weight_size: int) -> None:
        super().__init__()
        self.register_buffer("profiles", torch.randn(slots, profile_size))
        self.register_buffer("gradients", torch.zeros(slots, weight_size))
        self.attention = nn.Linear(slots, slots, bias=False)
        nn.init.eye_(self.attention.weight)

    def attend(self, profiles: Tensor) -> Tensor:
        """The attention of some users on each slot; each row sums to 1.

        Args:
            profiles: shape: [tasks, profile_size]

        Returns:
            shape: [tasks, slots]
        """
        alike = cosine_similarity(profiles.unsqueeze(1), self.profiles, dim=-1)
        return self.attention(alike).softmax(dim=-1)

    def read(self, attention: Tensor) -> Tensor:
        """The personal bias of the weights, shape: [tasks, weight_size].

        Args:
            attention: shape: [tasks, slots]
        """
        return attention @ self.gradients

    @torch.no_grad()
    def write(
        self,
        attention: Tensor,
        profiles: Tensor,
        gradients: Tensor,
        rates: tuple[float, float],
        rule: str,
    ) -> None:
        """Blend a batch of tasks into both memories.

        Args:
            attention: shape: [tasks, slots]
            profiles: shape: [tasks, profile_size]
            gradients: shape: [tasks, weight_size]
            rates: write rates of the profiles (α) and of the gradients (β).
            rule: see :func:`~recbole_ext.meta.memory.blending.blend`.
        """
        self.profiles = blend(self.profiles, attention, profiles, rates[0], rule)
        self.gradients = blend(self.gradients, attention, gradients, rates[1], rule)
