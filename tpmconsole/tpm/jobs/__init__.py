"""What the worker can do. These modules load the TSS: for child processes only."""
