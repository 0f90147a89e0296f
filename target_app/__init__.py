"""The reference hero API: a normal FastAPI service whose driver, pool and session are settings."""
