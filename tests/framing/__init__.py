"""
Differential test of request framing: no other parser finds another end of a request.

Seeded streams of requests, many with faults in the framing, go through the gateway's channel and
parser, through h11 and through llhttp. `make framing` runs many, `make test` some.
"""
