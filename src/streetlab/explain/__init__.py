"""Explanations of a network's answers: galleries of activation maps, and scores that say whether to believe them."""
