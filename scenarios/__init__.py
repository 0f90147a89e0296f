"""Shipped scenarios: plain locustfiles, each complete in itself, so that one can be copied and changed."""
