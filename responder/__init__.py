"""The answering service ("Service B"): a worked example, and the folder a user replaces."""
