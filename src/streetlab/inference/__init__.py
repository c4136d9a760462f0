"""What a trained network says of photos and videos that belong to no data set."""
