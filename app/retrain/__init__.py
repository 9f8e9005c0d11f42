"""The night: what was logged becomes a new policy, when it is measurably better.

`examples` reads training rows, `advantages` compares the samples of a group, `objectives` turn
them into a loss, `plan` deals them out to steps and processes, `trainer` takes the steps, `guards`
stop it, `checkpoint` and `adapter` keep what it made. `exporters` write the same rows for larger
trainers. Modules that need torch (the extra `train`) are imported by whoever uses them, never here.
"""
