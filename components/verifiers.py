"""SCRAM verifiers of secrets that are not known yet."""

import pulumi

from components.render import scram


def verifier(role: str, password: pulumi.Output[str], salt_key: pulumi.Output[str]) -> pulumi.Output[str]:
    """What a role's password becomes in SQL: the same for as long as neither it nor saltKey changes."""
    return pulumi.Output.all(password=password, salt_key=salt_key).apply(
        lambda known: scram.verifier(known["password"], scram.salt(known["salt_key"], role))
    )
