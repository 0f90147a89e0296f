"""What this project promises about its own speed and accuracy, as runnable benchmarks: `python -m benchmarks NAME`."""
