"""The responder ("Service B"): an example, and the folder that users replace."""
