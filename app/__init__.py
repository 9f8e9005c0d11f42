"""Verivote: a verify-and-vote inference gateway."""

__version__ = "0.1.0"
