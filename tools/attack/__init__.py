"""Attacks on a deployment of one's own: what honest clients notice while they last."""
