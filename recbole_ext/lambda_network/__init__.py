"""λ, the regularisation strengths, at any granularity."""

from recbole_ext.lambda_network.network import FEW, GRANULARITIES, LambdaNetwork

__all__ = ["FEW", "GRANULARITIES", "LambdaNetwork"]
