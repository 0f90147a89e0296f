"""On the PYTHONPATH of a service that is started by a command of its own: `sitecustomize` lets the probe in."""
