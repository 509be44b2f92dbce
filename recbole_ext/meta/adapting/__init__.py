"""Functions on plain tensors that adapt weights to a support set."""
