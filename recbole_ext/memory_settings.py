"""The hyper-parameters of MAMO's memories and outputs, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_ext.decision_settings import DecisionSettings
from recbole_ext.hyperparameters import Settings, choice, flag, integer, real
from recbole_ext.memory.blending import WRITE_RULES

HEADS = ("regression", "classes")


@dataclass(frozen=True)
class MemorySettings:
    """``properties/model/MAMO.yaml`` explains each field."""

    slots: int
    profile_rate: float
    gradient_rate: float
    preference_rate: float
    bias_strength: float
    write_rule: str
    feature_memory: bool
    task_memory: bool
    head: str

    @classmethod
    def read(cls, config: Settings) -> MemorySettings:
        """Take the settings from RecBole's ``Config``.

        Raises:
            ValueError: naming the key and its value, if one is out of range or two do not go
            together.
        """
        settings = cls(
            slots=integer(config, "memory_slots", minimum=1),
            profile_rate=_rate(config, "profile_write_rate"),
            gradient_rate=_rate(config, "gradient_write_rate"),
            preference_rate=_rate(config, "preference_write_rate"),
            bias_strength=real(config, "bias_strength", minimum=0),
            write_rule=choice(config, "write_rule", WRITE_RULES),
            feature_memory=flag(config, "feature_memory"),
            task_memory=flag(config, "task_memory"),
            head=choice(config, "head", HEADS),
        )
        decision = DecisionSettings.read(config)
        if settings.head == "classes":
            for key, value, needed in (
                ("inner_solver", decision.inner_solver, "gradient"),
                ("residual", decision.residual, False),
            ):
                if value != needed:
                    raise ValueError(f"head: classes needs {key}: {needed}, got {value!r}")
        return settings


def _rate(config: Settings, key: str) -> float:
    rate = real(config, key, minimum=0)
    if rate > 1:
        raise ValueError(f"{key} must be a number from 0 to 1, got {config[key]!r}")
    return rate
