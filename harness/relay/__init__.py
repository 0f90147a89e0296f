"""A relay that makes Postgres seem further away. Standard library only: it runs as a process of its own."""
