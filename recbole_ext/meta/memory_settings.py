"""The hyper-parameters of MAMO's memories and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.meta.memory.blending import WRITE_RULES
from recbole_ext.settings.declared import FLAG, Declared, Settings, one_of, real, whole

HEADS = ("regression", "classes")
_NEEDED_BY_CLASSES = (
    ("inner_solver", ("gradient",)),
    ("residual", (False,)),
    ("task", ("rating", None)),  # None in a checkpoint of a version without this key
)
PART = real(minimum=0, maximum=1)


@dataclass(frozen=True)
class MemorySettings(Declared):
    """What MAMO remembers of the tasks it met, and what its outputs mean."""

    memory_slots: Annotated[int, whole(1), "The number of slots K of each memory."]
    feature_memory: Annotated[
        bool,
        FLAG,
        "Whether users' profiles and gradients are remembered. Without them each slot counts alike "
        "and tasks start without a bias.",
    ]
    task_memory: Annotated[
        bool,
        FLAG,
        "Whether users' preferences are remembered. Without them all tasks start from the same.",
    ]
    profile_write_rate: Annotated[
        float, PART, "α: the share of a write into the profiles that is new."
    ]
    gradient_write_rate: Annotated[
        float, PART, "β: the share of a write into the gradients that is new."
    ]
    preference_write_rate: Annotated[
        float, PART, "γ: the share of a write into the preferences that is new."
    ]
    bias_strength: Annotated[
        float, real(minimum=0), "τ: how much of the remembered gradient a task starts from."
    ]
    write_rule: Annotated[
        str,
        one_of(*WRITE_RULES),
        "How a batch of tasks is written. `mean` writes the mean of its tasks once, `sequential` "
        "writes task after task.",
    ]
    head: Annotated[
        str,
        one_of(*HEADS),
        "What the network's outputs mean. `regression`: the rating; `classes`: the probability of "
        "each rating level, for `inner_solver: gradient` and `residual: False`.",
    ]

    def check(self, config: Settings) -> None:
        """Refuse classes with a decision that predicts numbers."""
        if self.head == "classes":
            for key, needed in _NEEDED_BY_CLASSES:
                if config[key] not in needed:
                    raise ValueError(f"head: classes needs {key}: {needed[0]}, got {config[key]!r}")
