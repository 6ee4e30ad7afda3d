"""Faults that no test noticed when they were put in above the ops (`make mutants`): now one does."""
