"""A web page for somebody new: rate the items it asks for, watch the list change."""
