"""Mathematics that several methods share; it works on tensors and imports no other subpackage."""
