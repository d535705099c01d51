"""JSON Web Tokens: the issuer's keys, and verification by PyJWT, an optional package."""
