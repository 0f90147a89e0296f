"""Every frozen value that crosses from one room to another."""
