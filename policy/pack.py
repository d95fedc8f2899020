"""The rules as policies of Pulumi's SDK.

The SDK hands a policy its inputs without the marks on secrets, and no configuration at all, although the engine sends both.
The two are taken here before the SDK drops them; with an SDK that has changed in this, the pack does not start.
"""

from collections.abc import Iterator
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy import policy as sdk

from policy import waivers
from policy.model import Resource, Rule, Stack, StackRule
from policy.rules import RULES, STACK_RULES
from policy.stack import stack_of
from policy.tree import from_wire

NAME = "central-data-platform"


class Pack:
    """The rules, the stack that they are for, and leave from them."""

    def __init__(self) -> None:
        self._stack = Stack()
        names = [rule.name for rule in (*RULES, *STACK_RULES)]
        self._waivers, self._faults = waivers.load(
            waivers.FILE.read_text(encoding="utf-8"), names, waivers.today()
        )
        self._in_force: dict[str, str] = {}

    def configure(self, request: Any) -> None:
        """Learn what stack it is, from the engine's message."""
        self._stack = stack_of(
            request.stack, request.project, dict(request.config), list(request.config_secret_keys)
        )

    def policies(self) -> list[sdk.Policy]:
        """One for each rule, then those on waivers."""
        good = Rule(name="waivers-hold", title="Leave from rules has a reason and an end.", check=self._ended)
        return [
            *(self._resource_policy(rule) for rule in (*RULES, good)),
            *(self._stack_policy(rule) for rule in STACK_RULES),
            StackValidationPolicy(
                "waivers-in-force",
                "Leave from rules.",
                self._say_waivers,
                enforcement_level=EnforcementLevel.ADVISORY,
            ),
        ]

    def _resource_policy(self, rule: Rule) -> sdk.Policy:
        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            resource = Resource(
                args.resource_type, args.name, args.urn, from_wire(args.props), args.opts.protect
            )
            for sentence in rule.check(resource, self._stack):
                if not self._waived(rule.name, resource.name):
                    report(sentence, None)

        return ResourceValidationPolicy(rule.name, rule.title, validate)

    def _stack_policy(self, rule: StackRule) -> sdk.Policy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            for resource, sentence in rule.check([_resource(r) for r in args.resources], self._stack):
                if not self._waived(rule.name, resource.name):
                    report(sentence, resource.urn)

        return StackValidationPolicy(rule.name, rule.title, validate)

    def _waived(self, rule: str, resource: str) -> bool:
        for waiver in self._waivers:
            if (waiver.rule, waiver.stack, waiver.resource) == (rule, self._stack.name, resource):
                self._in_force[f"{rule} {resource}"] = (
                    f"{rule} is waived for {resource} until {waiver.until}: {waiver.reason}"
                )
                return True
        return False

    def _ended(self, resource: Resource, _stack: Stack) -> Iterator[str]:
        if resource.type == "pulumi:pulumi:Stack":
            yield from self._faults

    def _say_waivers(self, _args: StackValidationArgs, report: ReportViolation) -> None:
        for sentence in self._in_force.values():
            report(sentence, None)


def _resource(found: PolicyResource) -> Resource:
    needs = {
        name: [needed.urn for needed in needed_by] for name, needed_by in found.property_dependencies.items()
    }
    return Resource(
        found.resource_type, found.name, found.urn, from_wire(found.props), found.opts.protect, needs
    )


def serve() -> None:
    """Serve the rules to the engine that has started us, until it ends us."""
    pack = Pack()

    class Analyzer(sdk._PolicyAnalyzerServicer):
        def ConfigureStack(self, request: Any, context: Any) -> Any:
            pack.configure(request)
            return super().ConfigureStack(request, context)

    for name, ours in (("_PolicyAnalyzerServicer", Analyzer), ("deserialize_properties", _deserialize)):
        # Read first: a name that the SDK does not have would be set all the same.
        getattr(sdk, name)
        setattr(sdk, name, ours)
    PolicyPack(NAME, pack.policies(), EnforcementLevel.MANDATORY)


def _deserialize(sent: Any, proxy_secrets: bool = False) -> Any:
    del proxy_secrets
    return from_wire(sent)
