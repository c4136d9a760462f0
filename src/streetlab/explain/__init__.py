"""The command explain: galleries of activation maps, and scores of how faithful the maps are."""
