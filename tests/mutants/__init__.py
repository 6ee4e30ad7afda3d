"""Small faults put into the ops, one at a time, to see whether the tests notice. `make mutants`."""
