"""How weights adapt to a support set; it knows tensors only."""
