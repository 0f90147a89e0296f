"""Runs inside the Locust process: executes a load plan, writes rows and a ledger. Nothing of poolbench imports it."""
