"""Programs of a round: the attacker, the prober and the honest clients."""
