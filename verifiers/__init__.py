"""Judges one completion against a task. Knows nothing of HTTP, databases or models.

Importing it registers the built-in kinds.
"""

from verifiers import kinds

__all__ = ["kinds"]
