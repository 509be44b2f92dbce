"""The networks that adapt, and what they know of users and items."""
