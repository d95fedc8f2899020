"""What the schema of pulumi-oci says about each resource type, beyond names and types: one table a type.

`forced` (ForceNew) and `chosen` (Optional and Computed) follow the schema in the source of
oracle/terraform-provider-oci, `internal/service/<service>/<service>_<type>_resource.go`, which the plugin
bridges; where that is older than the plugin, the "(Updatable)" marks in the docstrings of pulumi_oci 5.5.0.
Commits and exceptions stand in ../../README.md.
"""

from functools import partial

from sandbox.providers.stand_ins.comparing import Rules
from sandbox.providers.stand_ins.kind import Kind

_DESCRIBED = frozenset({"displayName", "freeformTags"})
_LIFE = frozenset({"state", "timeCreated"})

_core = partial(Kind, package="pulumi_oci.core", auto_named=False, rules=Rules())
_identity = partial(Kind, package="pulumi_oci.identity", rules=Rules(ordered=frozenset({"statements"})))
_storage = partial(Kind, package="pulumi_oci.objectstorage")
_notifications = partial(Kind, package="pulumi_oci.ons")

VCN = _core(
    arguments="VcnArgs",
    rules=Rules(ordered=frozenset({"cidrBlocks"}), caseless=frozenset({"dnsLabel"})),
    accepted=_DESCRIBED | {"compartmentId", "cidrBlocks", "dnsLabel"},
    forced=frozenset({"cidrBlock", "dnsLabel"}),
    chosen=_DESCRIBED | {"cidrBlock", "cidrBlocks", "dnsLabel"},
    outputs=_LIFE | {"defaultDhcpOptionsId", "defaultRouteTableId", "defaultSecurityListId", "vcnDomainName"},
)

INTERNET_GATEWAY = _core(
    arguments="InternetGatewayArgs",
    accepted=_DESCRIBED | {"compartmentId", "vcnId", "enabled"},
    forced=frozenset({"vcnId"}),
    defaults={"enabled": True},
    chosen=_DESCRIBED,
    outputs=_LIFE,
)

_RULE_CHOICES = frozenset({"description", "destinationType", "sourceType", "stateless"})

ROUTE_TABLE = _core(
    arguments="RouteTableArgs",
    rules=Rules(computed=frozenset({"cidrBlock", "description", "destinationType", "routeType"})),
    accepted=_DESCRIBED | {"compartmentId", "vcnId", "routeRules"},
    forced=frozenset({"vcnId"}),
    chosen=_DESCRIBED,
    outputs=_LIFE,
)

SECURITY_LIST = _core(
    arguments="SecurityListArgs",
    rules=Rules(computed=_RULE_CHOICES),
    accepted=_DESCRIBED | {"compartmentId", "vcnId", "egressSecurityRules", "ingressSecurityRules"},
    forced=frozenset({"vcnId"}),
    nested_defaults={"ingressSecurityRules": {"stateless": False}},
    chosen=_DESCRIBED,
    outputs=_LIFE,
)

SUBNET = _core(
    arguments="SubnetArgs",
    rules=Rules(caseless=frozenset({"availabilityDomain", "dnsLabel"})),
    accepted=_DESCRIBED
    | {"compartmentId", "vcnId", "cidrBlock", "dnsLabel", "routeTableId", "securityListIds"}
    | {"prohibitInternetIngress", "prohibitPublicIpOnVnic"},
    forced=frozenset(
        {"vcnId", "availabilityDomain", "dnsLabel", "prohibitInternetIngress", "prohibitPublicIpOnVnic"}
    ),
    chosen=_DESCRIBED
    | {"cidrBlock", "dhcpOptionsId", "dnsLabel", "routeTableId", "securityListIds"}
    | {"prohibitInternetIngress", "prohibitPublicIpOnVnic"},
    outputs=_LIFE | {"subnetDomainName", "virtualRouterIp", "virtualRouterMac"},
)

NETWORK_SECURITY_GROUP = _core(
    arguments="NetworkSecurityGroupArgs",
    accepted=_DESCRIBED | {"compartmentId", "vcnId"},
    forced=frozenset({"vcnId"}),
    chosen=_DESCRIBED,
    outputs=_LIFE,
)

# Its docstrings mark nothing as updatable, its source updates everything but the group in place.
SECURITY_RULE = _core(
    arguments="NetworkSecurityGroupSecurityRuleArgs",
    accepted=frozenset({"networkSecurityGroupId", "direction", "protocol", "description", "stateless"})
    | {"source", "sourceType", "destination", "destinationType"}
    | {"icmpOptions", "tcpOptions", "udpOptions"},
    forced=frozenset({"networkSecurityGroupId"}),
    nested_defaults={"icmpOptions": {"code": -1}},
    chosen=_RULE_CHOICES | {"destination"},
    outputs=frozenset({"isValid", "timeCreated"}),
)

PUBLIC_IP = _core(
    arguments="PublicIpArgs",
    accepted=_DESCRIBED | {"compartmentId", "lifetime", "privateIpId"},
    forced=frozenset({"lifetime"}),
    chosen=_DESCRIBED | {"publicIpPoolId"},
    outputs=_LIFE | {"assignedEntityId", "assignedEntityType", "ipAddress", "scope"},
)

_VNIC = frozenset(
    {"assignPrivateDnsRecord", "assignPublicIp", "displayName", "freeformTags", "hostnameLabel", "nsgIds"}
    | {"privateIp", "skipSourceDestCheck", "subnetId"}
)
_LAUNCH = frozenset(
    {"bootVolumeType", "firmware", "isConsistentVolumeNamingEnabled", "isPvEncryptionInTransitEnabled"}
    | {"networkType", "remoteDataVolumeType"}
)

# Metadata: only a change of these two keys replaces (CustomizeDiff); another key changes in place.
# Also in place: shape and shapeConfig (the machine restarts), sourceDetails.sourceId (a new boot volume).
INSTANCE = _core(
    arguments="InstanceArgs",
    rules=Rules(
        ordered=frozenset({"pluginsConfigs"}),
        computed=_VNIC
        | _LAUNCH
        | {"areAllPluginsDisabled", "isManagementDisabled", "isMonitoringDisabled", "pluginsConfigs"}
        | {"isLiveMigrationPreferred", "recoveryAction", "areLegacyImdsEndpointsDisabled"}
        | {"baselineOcpuUtilization", "memoryInGbs", "nvmes", "ocpus", "vcpus", "processorDescription"}
        | {"gpus", "localDisks", "networkingBandwidthInGbps", "maxVnicAttachments"}
        | {"sourceId", "bootVolumeSizeInGbs", "bootVolumeVpusPerGb"},
        caseless=frozenset({"availabilityDomain", "faultDomain", "hostnameLabel"}),
    ),
    accepted=_DESCRIBED
    | {"availabilityDomain", "compartmentId", "faultDomain", "metadata", "preserveBootVolume", "shape"}
    | {"agentConfig", "availabilityConfig", "instanceOptions", "isPvEncryptionInTransitEnabled"}
    | {"shapeConfig.memoryInGbs", "shapeConfig.ocpus"}
    | {"sourceDetails.sourceType", "sourceDetails.sourceId", "sourceDetails.bootVolumeSizeInGbs"}
    | {"sourceDetails.bootVolumeVpusPerGb", "sourceDetails.isPreserveBootVolumeEnabled"}
    | {f"createVnicDetails.{name}" for name in _VNIC}
    | {f"launchOptions.{name}" for name in _LAUNCH},
    forced=frozenset({"availabilityDomain", "isPvEncryptionInTransitEnabled"})
    | {"metadata.ssh_authorized_keys", "metadata.user_data", "sourceDetails.bootVolumeVpusPerGb"}
    | {f"createVnicDetails.{name}" for name in ("assignPrivateDnsRecord", "privateIp", "subnetId")}
    | {f"launchOptions.{name}" for name in ("firmware", "remoteDataVolumeType")}
    | {"launchOptions.isConsistentVolumeNamingEnabled"},
    nested_defaults={"createVnicDetails": {"assignPublicIp": "true"}},
    chosen=_DESCRIBED
    | {"agentConfig", "availabilityConfig", "createVnicDetails", "faultDomain", "hostnameLabel", "image"}
    | {"instanceOptions", "isPvEncryptionInTransitEnabled", "launchOptions", "metadata", "shape"}
    | {"shapeConfig", "sourceDetails", "state", "subnetId"},
    outputs=frozenset({"bootVolumeId", "launchMode", "privateIp", "publicIp", "region", "timeCreated"}),
)

CONSOLE_HISTORY = _core(
    arguments="ConsoleHistoryArgs",
    accepted=_DESCRIBED | {"instanceId"},
    forced=frozenset({"instanceId"}),
    chosen=_DESCRIBED,
    outputs=_LIFE | {"availabilityDomain", "compartmentId"},
)

VOLUME = _core(
    arguments="VolumeArgs",
    rules=Rules(
        ordered=frozenset({"autotunePolicies"}),
        computed=frozenset({"maxVpusPerGb"}),
        caseless=frozenset({"availabilityDomain"}),
    ),
    accepted=_DESCRIBED
    | {"availabilityDomain", "compartmentId", "sizeInGbs", "vpusPerGb", "autotunePolicies"},
    forced=frozenset({"availabilityDomain", "sizeInMbs"}),
    chosen=_DESCRIBED | {"sizeInGbs", "sizeInMbs", "vpusPerGb", "autotunePolicies"},
    outputs=_LIFE | {"autoTunedVpusPerGb", "isHydrated"},
)

VOLUME_BACKUP_POLICY = _core(
    arguments="VolumeBackupPolicyArgs",
    rules=Rules(
        computed=frozenset(
            {"isPreventDeletionEnabled", "isRetentionLockEnabled", "retentionPeriod", "timeZone"}
        )
    ),
    accepted=_DESCRIBED | {"compartmentId", "schedules"},
    forced=frozenset({"compartmentId"}),
    nested_defaults={"schedules": {"dayOfMonth": -1, "hourOfDay": -1}},
    chosen=_DESCRIBED,
    outputs=frozenset({"timeCreated"}),
)

VOLUME_BACKUP_POLICY_ASSIGNMENT = _core(
    arguments="VolumeBackupPolicyAssignmentArgs",
    accepted=frozenset({"assetId", "policyId"}),
    forced=frozenset({"assetId", "policyId"}),
    outputs=frozenset({"timeCreated"}),
)

_ATTACHMENT = frozenset(
    {"attachmentType", "device", "displayName", "instanceId", "isPvEncryptionInTransitEnabled"}
    | {"isReadOnly", "isShareable", "volumeId"}
)

VOLUME_ATTACHMENT = _core(
    arguments="VolumeAttachmentArgs",
    rules=Rules(caseless=frozenset({"attachmentType"})),
    accepted=_ATTACHMENT,
    forced=_ATTACHMENT,
    chosen=frozenset({"compartmentId", "device", "displayName", "isPvEncryptionInTransitEnabled"})
    | {"isReadOnly", "isShareable"},
    outputs=_LIFE | {"availabilityDomain", "isMultipath", "iscsiLoginState"},
)

DYNAMIC_GROUP = _identity(
    arguments="DynamicGroupArgs",
    accepted=frozenset({"compartmentId", "description", "matchingRule", "name", "freeformTags"}),
    forced=frozenset({"compartmentId", "name"}),
    chosen=frozenset({"freeformTags"}),
    outputs=_LIFE,
)

POLICY = _identity(
    arguments="PolicyArgs",
    accepted=frozenset({"compartmentId", "description", "statements", "name", "freeformTags"}),
    forced=frozenset({"compartmentId", "name"}),
    chosen=frozenset({"freeformTags"}),
    outputs=_LIFE,
)

BUCKET = _storage(
    arguments="BucketArgs",
    rules=Rules(),
    accepted=frozenset({"compartmentId", "namespace", "name", "accessType", "autoTiering", "freeformTags"})
    | {"metadata", "objectEventsEnabled", "storageTier", "versioning"},
    forced=frozenset({"namespace", "name", "storageTier"}),
    defaults={"accessType": "NoPublicAccess"},
    chosen=frozenset({"autoTiering", "freeformTags", "objectEventsEnabled", "storageTier", "versioning"}),
    outputs=frozenset({"approximateCount", "approximateSize", "bucketId", "createdBy", "etag"})
    | {"isReadOnly", "objectLifecyclePolicyEtag", "replicationEnabled", "timeCreated"},
)

OBJECT_LIFECYCLE_POLICY = _storage(
    arguments="ObjectLifecyclePolicyArgs",
    auto_named=False,
    rules=Rules(
        computed=frozenset(
            {"objectNameFilter", "exclusionPatterns", "inclusionPatterns", "inclusionPrefixes"}
        )
    ),
    accepted=frozenset({"bucket", "namespace", "rules"}),
    forced=frozenset({"bucket", "namespace"}),
    nested_defaults={"rules": {"target": "objects"}},
    chosen=frozenset({"rules"}),
    outputs=frozenset({"timeCreated"}),
)

NOTIFICATION_TOPIC = _notifications(
    arguments="NotificationTopicArgs",
    rules=Rules(),
    accepted=frozenset({"compartmentId", "description", "freeformTags", "name"}),
    forced=frozenset({"name"}),
    chosen=frozenset({"description", "freeformTags"}),
    outputs=_LIFE | {"apiEndpoint", "etag", "shortTopicId", "topicId"},
)

SUBSCRIPTION = _notifications(
    arguments="SubscriptionArgs",
    auto_named=False,
    rules=Rules(),
    accepted=frozenset({"compartmentId", "endpoint", "freeformTags", "protocol", "topicId"}),
    forced=frozenset({"endpoint", "protocol", "topicId"}),
    chosen=frozenset({"deliveryPolicy", "freeformTags"}),
    outputs=frozenset({"createdTime", "etag", "state"}),
)

# Nothing replaces it: of its source's schema no field is ForceNew.
RULE = Kind(
    package="pulumi_oci.events",
    arguments="RuleArgs",
    auto_named=False,
    rules=Rules(
        computed=frozenset(
            {"description", "functionId", "id", "lifecycleMessage", "state", "streamId", "topicId"}
        ),
        caseless=frozenset({"actionType"}),
    ),
    accepted=_DESCRIBED | {"compartmentId", "condition", "description", "isEnabled", "actions.action"},
    chosen=frozenset({"description", "freeformTags"}),
    outputs=_LIFE | {"lifecycleMessage"},
)
