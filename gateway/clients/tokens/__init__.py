"""JSON Web Tokens (JWT): keys of their issuer, and verification; PyJWT is an optional package."""
