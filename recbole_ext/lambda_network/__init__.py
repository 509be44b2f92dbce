"""λ, the regularisation strengths, at any of the nine granularities."""

from recbole_ext.lambda_network.network import FEW, GRANULARITIES, LambdaNetwork

__all__ = ["FEW", "GRANULARITIES", "LambdaNetwork"]
