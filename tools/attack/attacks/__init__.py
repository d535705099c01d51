"""What each attack sends, and the table of them."""
