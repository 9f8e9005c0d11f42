"""Recorded samples, played again through the production vote, stop and confidence code.

Nothing is sampled and nothing is learned here: it says what a rule would have answered, and after
how many samples, had these samples arrived in these orders.
"""
