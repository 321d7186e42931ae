"""Programs that feed, receive or contend; each is spoken to in lines of JSON, see `talk`."""
