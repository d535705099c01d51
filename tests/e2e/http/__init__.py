"""HTTP as clients use it: bodies, headers, routes, keys, documents."""
