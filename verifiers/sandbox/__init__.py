"""Untrusted code: a fresh locked-down process a program, and a boundary that only values cross.

`filters` and `landlock` say what the kernel shall refuse, `child` and its neighbours run inside,
`engine` starts, watches and kills. Nothing is imported here: the child imports this package too.
"""
