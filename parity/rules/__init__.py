"""Rule tables: which source key fills which target leaf, by which change of layout."""
