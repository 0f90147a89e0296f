"""`python -m harness` is `poolbench`."""

from harness.cli import main

if __name__ == "__main__":
    main()
