"""How hyper-parameters are declared, read and checked."""
