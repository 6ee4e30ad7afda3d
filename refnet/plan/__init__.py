"""A recorded computation as a program, to be run again."""
