"""Memories of MAMO: which users were met, how they were learnt, what they preferred."""

from recbole_ext.meta.memory.feature_memory import FeatureMemory
from recbole_ext.meta.memory.task_memory import TaskMemory

__all__ = ["FeatureMemory", "TaskMemory"]
