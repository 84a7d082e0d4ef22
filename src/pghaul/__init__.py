"""pghaul moves data into PostgreSQL: plan, copy at line speed, resume, prove."""

__version__ = "0.1.0"
