"""The same rows for larger trainers, as files in their own published forms.

Nothing of theirs is imported, and none of them was run here: what is tested is that the files
are what their schemas say. Advantages, weights and denominators are ours; what a trainer has no
place for (δ, τ, the entropy bonus) is named in `manifest.json` as left out.
"""
