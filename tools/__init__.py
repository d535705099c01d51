"""Development tools: devstack, bench and soak. Not part of the product."""
