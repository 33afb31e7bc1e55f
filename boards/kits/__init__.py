"""The boards that bitstreams are made for: one file a board."""
