"""Rules for every stack, run by the engine with each preview and up (`--policy-pack policy`). docs/policy.md lists them."""
