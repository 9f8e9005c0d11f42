"""Subjects of the table that `bench/voting.py` prints, a file each."""
