"""What is in a data set: label spaces, files, splits. No torch here."""
