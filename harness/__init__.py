"""poolbench: which pool, driver and session settings should a service run with, and what will it then carry?"""

__version__ = "0.1.0"
