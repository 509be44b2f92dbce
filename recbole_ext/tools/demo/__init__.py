"""A web page on which a new user rates items and watches the recommendations change."""
