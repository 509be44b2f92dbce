"""λ, the regularisation strengths, at any of the nine granularities."""

from recbole_ext.lambda_network.network import GRANULARITIES, LambdaNetwork

__all__ = ["GRANULARITIES", "LambdaNetwork"]
