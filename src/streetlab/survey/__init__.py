"""The command survey: from photos with places to streets and districts."""
