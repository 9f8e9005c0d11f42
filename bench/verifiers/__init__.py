"""One file a measurement of the verifiers; `bench/verifiers.py` prints all of them as one table."""
