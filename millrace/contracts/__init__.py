"""Data contracts: files of sources/ in; typed contracts, and the files that follow from them, out."""
