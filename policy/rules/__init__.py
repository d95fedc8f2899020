"""All rules. Each is a function without Pulumi."""

from policy.model import Rule, StackRule
from policy.rules import cloud, containers, images, secrets, volumes

RULES: list[Rule] = [*cloud.RULES, *containers.RULES, *images.RULES, *volumes.RULES, *secrets.RULES]
STACK_RULES: list[StackRule] = [*volumes.STACK_RULES]
