"""The command fetch: public data sets and weights, brought and checked."""
