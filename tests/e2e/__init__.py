"""End-to-end tests: the processes of the Procfile over HTTP."""
