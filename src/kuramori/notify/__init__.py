"""Telling a person: notices, pings, webhooks."""
