"""The command predict: apply a trained network to photos and videos that belong to no data set."""
