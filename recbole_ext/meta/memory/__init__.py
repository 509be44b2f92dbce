"""MAMO's memories: the users it has seen, the gradients they led to, and their preferences."""

from recbole_ext.meta.memory.feature_memory import FeatureMemory
from recbole_ext.meta.memory.task_memory import TaskMemory

__all__ = ["FeatureMemory", "TaskMemory"]
