"""Reading of request records, also those of requesters other than a gateway."""
