"""What commands print for a reader: tables, comparisons, streamed text."""
