"""The connection to RecBole: models are registered with it, and some methods are replaced."""
