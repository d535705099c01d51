"""HTML pages: what clients that prefer HTML get, and the files that pages load."""
