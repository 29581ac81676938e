-- Whom it may reach. JSON: protocol::policy::NetworkPolicy
ALTER TABLE sandboxes ADD COLUMN network_policy TEXT;
