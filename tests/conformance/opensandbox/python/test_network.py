"""What a sandbox may reach, as the client sets, reads and changes it."""

from opensandbox import Sandbox
from opensandbox.models.sandboxes import NetworkPolicy, NetworkRule

from service import connection


async def test_a_policy_is_set_read_and_changed(proxied: bool) -> None:
    policy = NetworkPolicy(
        default_action="deny", egress=[NetworkRule(action="allow", target="*.example.org")]
    )
    sandbox = await Sandbox.create(
        "host", connection_config=connection(proxied=proxied), network_policy=policy
    )
    try:
        got = await sandbox.get_egress_policy()
        assert got.default_action == "deny"
        assert [(rule.action, rule.target) for rule in got.egress] == [("allow", "*.example.org")]
        refused = await sandbox.commands.run("getent ahosts example.com")
        assert refused.exit_code != 0
        await sandbox.patch_egress_rules([NetworkRule(action="allow", target="10.9.8.7")])
        await sandbox.delete_egress_rules(["*.example.org"])
        changed = await sandbox.get_egress_policy()
        assert [(rule.action, rule.target) for rule in changed.egress] == [("allow", "10.9.8.7")]
    finally:
        await sandbox.destroy()
