"""An Oracle Linux machine in OCI, made, prepared and reached over SSH."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_docker as docker
import pulumi_oci as oci
from pulumi_oci import core

from components.host_settings import OciHostSettings
from components.hosts.base import HostCommand, Step, script_command, script_text, shell_words
from components.hosts.oci_alerts import Alerts, AlertsArgs
from components.hosts.oci_backup_bucket import BackupBucket, BackupBucketArgs
from components.hosts.oci_data_volume import DataVolume, DataVolumeArgs
from components.hosts.oci_instance import CloudInstance, CloudInstanceArgs, availability_domain
from components.hosts.oci_network import CloudNetwork, CloudNetworkArgs
from components.render import machine, ssh
from components.settings import PROJECT, Settings

USER = "opc"
# OCI promises that name for as long as the volume is attached; /dev/sdX may be another one after a reboot.
DATA_DEVICE = "/dev/oracleoci/oraclevdb"
MOUNT = "attach-data.sh"
CONFIGURE_DOCKER = "configure-docker.sh"
# What install-docker.sh takes in place of a version.
NEWEST = "newest"
CONSOLE_BYTES = 1_048_576


class OciHost(pulumi.ComponentResource):
    """Ready when Docker answers on a machine with /srv on its own volume."""

    provider: docker.Provider
    architecture: pulumi.Output[str]
    bound: pulumi.ResourceOptions
    identity: Sequence[pulumi.Input[str]]
    preparation: Sequence[Step]
    bucket: Mapping[str, pulumi.Input[str]] | None
    outputs: Mapping[str, pulumi.Output[Any]]

    def __init__(
        self,
        name: str,
        host: OciHostSettings,
        settings: Settings,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(f"{PROJECT}:hosts:OciHost", name, {}, opts)
        self._settings = host
        mine = pulumi.ResourceOptions(parent=self)
        self._cloud = oci.Provider(
            f"{name}-oci", region=host.region, config_file_profile=host.profile, opts=mine
        )
        in_cloud = pulumi.ResourceOptions(parent=self, providers=[self._cloud])
        network = CloudNetwork(
            f"{name}-network",
            CloudNetworkArgs(
                settings=host,
                client_networks=settings.network.client_cidrs,
                database_ports=[] if settings.publish_address.is_loopback else settings.ports,
            ),
            in_cloud,
        )
        domain = availability_domain(host, self, self._cloud)
        made = CloudInstance(
            f"{name}-machine",
            CloudInstanceArgs(settings=host, network=network, availability_domain=domain),
            in_cloud,
        )
        self._instance = made.instance
        self.bound = pulumi.ResourceOptions(deleted_with=made.instance)
        self.identity = [made.instance.id]
        volume = DataVolume(
            f"{name}-data", DataVolumeArgs(settings=host, availability_domain=domain), in_cloud
        )
        home = self._home(name, host)
        email = settings.alerts.email
        bucket = BackupBucket(
            f"{name}-backups",
            BackupBucketArgs(
                settings=host, instance_id=made.instance.id, home=home, emits_events=email is not None
            ),
            in_cloud,
        )
        topic = (
            Alerts(
                f"{name}-alerts",
                AlertsArgs(settings=host, email=email, bucket=bucket.bucket, home=home),
                in_cloud,
            ).topic_id
            if email
            else None
        )

        self._ssh = self._way_in(name, made)
        attached = core.VolumeAttachment(
            f"{name}-attachment",
            attachment_type="paravirtualized",
            instance_id=made.instance.id,
            volume_id=volume.volume_id,
            device=DATA_DEVICE,
            is_pv_encryption_in_transit_enabled=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=self._cloud,
                delete_before_replace=True,
                deleted_with=made.instance,
                # Another volume under databases that run is for `make down` and `up`.
                protect=True,
            ),
        )
        # On a machine on which /srv was unpacked there may be no volume.
        kept = Step(script=MOUNT, arguments=["mounted", settings.srv_root])
        steps = preparation(host, settings.srv_root, settings.tuning.kernel)
        self.preparation = [kept, *steps]
        self._ready = self._prepare(name, settings.srv_root, attached, steps)
        self.architecture = self.run(
            f"{name}-architecture", "engine-architecture.sh", opts=mine
        ).stdout.apply(str.strip)
        self.provider = docker.Provider(
            f"{name}-docker",
            host=pulumi.Output.concat(f"ssh://{USER}@", made.address),
            ssh_opts=self._ssh.apply(lambda words: words[1:-1]),
            # Configuring it pings the engine.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._ready], deleted_with=made.instance),
        )
        self.bucket = {
            "name": bucket.bucket,
            "namespace": bucket.namespace,
            "compartment": host.compartment,
            "region": host.region,
        }
        self.outputs = {
            "sshCommand": self._ssh,
            "hostAddress": made.address,
            "dataVolumeId": volume.volume_id,
            "backupBucket": bucket.bucket,
            "backupNamespace": bucket.namespace,
            **({"alertTopicId": topic} if topic else {}),
        }
        self.register_outputs(self.outputs)

    def words(self, script: str, *arguments: pulumi.Input[str]) -> pulumi.Output[list[str]]:
        """As `Host.words` says: `ssh`, its options, the machine, and one line for the machine's shell."""
        return pulumi.Output.all(self._ssh, *arguments).apply(
            lambda known: [*known[0], shlex.join(["sudo", "-n", *shell_words(script, known[1:])])]
        )

    def run(
        self,
        name: str,
        script: str,
        *arguments: pulumi.Input[str],
        stdin: pulumi.Input[str] | None = None,
        secret: bool = False,
        undo: str | None = None,
        triggers: Sequence[pulumi.Input[str]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> HostCommand:
        """As `Host.run` says."""
        ready = pulumi.ResourceOptions(depends_on=[self._ready], deleted_with=self._instance)
        return script_command(
            name,
            self.words(script, *arguments),
            stdin=stdin,
            on_delete=self.words(undo, *arguments) if undo else None,
            secret=secret,
            triggers=[*self.identity, *triggers],
            opts=pulumi.ResourceOptions.merge(ready, opts),
        )

    def _home(self, name: str, host: OciHostSettings) -> pulumi.ProviderResource:
        """The provider for the tenancy's home region, where alone identity resources can be changed."""
        if host.home_region in (None, host.region):
            return self._cloud
        return oci.Provider(
            f"{name}-oci-home",
            region=host.home_region,
            config_file_profile=host.profile,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _way_in(self, name: str, made: CloudInstance) -> pulumi.Output[list[str]]:
        """The words of ssh up to the machine, which has to show the host key that its console has shown."""
        host = self._settings
        access = ssh.access_options(key_file=host.ssh_key_file, jump_host=host.jump_host)
        booted = script_command(
            f"{name}-booted",
            made.address.apply(
                lambda address: [
                    "sh",
                    "-c",
                    script_text("wait-for-boot.sh", folder="workstation"),
                    "wait-for-boot.sh",
                    f"{USER}@{address}",
                    *access,
                ]
            ),
            # Another size restarts the machine.
            triggers=[made.instance.id, *size(host)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[made.instance], deleted_with=made.instance),
        )
        host_key = (
            pulumi.Output.from_input(host.host_key) if host.host_key else self._shown_key(name, made, booted)
        )
        return pulumi.Output.all(made.address, host_key, booted.id).apply(
            lambda known: [
                "ssh",
                *ssh.ssh_options(host_key=known[1], key_file=host.ssh_key_file, jump_host=host.jump_host),
                f"{USER}@{known[0]}",
            ]
        )

    def _shown_key(self, name: str, made: CloudInstance, booted: pulumi.Resource) -> pulumi.Output[str]:
        history = core.ConsoleHistory(
            f"{name}-console",
            instance_id=made.instance.id,
            display_name=f"{PROJECT}: host key",
            # cloud-init prints the keys near its end.
            opts=pulumi.ResourceOptions(
                parent=self, provider=self._cloud, depends_on=[booted], deleted_with=made.instance
            ),
        )

        def key(console: str) -> str:
            found = ssh.host_key(console)
            if found:
                return found
            raise pulumi.RunError(
                "the instance's console history shows no ed25519 host key, so nothing proves which machine answers; set "
                "central-data-platform:host.hostKey to the line of the machine's ssh_host_ed25519_key.pub, or have the machine print its keys "
                "and run make trust-host (docs/break-glass.md)"
            )

        return core.get_console_history_data_output(
            console_history_id=history.id,
            length=CONSOLE_BYTES,
            opts=pulumi.InvokeOutputOptions(parent=self, provider=self._cloud),
        ).data.apply(key)

    def _prepare(
        self, name: str, srv_root: str, attached: core.VolumeAttachment, steps: Sequence[Step]
    ) -> pulumi.Resource:
        """The scripts one after the other: dnf takes no two at a time, and sshd not many before it is told to."""
        grow = Step(script="grow-root.sh")
        mount = Step(script=MOUNT, arguments=[DATA_DEVICE, srv_root])
        # A disk that has become larger is nothing without a larger file system.
        further: dict[str, Sequence[pulumi.Input[str]]] = {
            grow.script: [str(self._settings.boot_volume_gib)],
            mount.script: [attached.id, str(self._settings.data_volume_gib)],
            # It ends when Docker answers.
            CONFIGURE_DOCKER: size(self._settings),
        }
        before: pulumi.Resource = attached
        for step in (grow, mount, *steps):
            before = script_command(
                f"{name}-{step.script.removesuffix('.sh')}",
                self.words(step.script, *step.arguments),
                stdin=step.stdin,
                # Let go before it is detached; a machine that does not answer must not hold up its own end.
                on_delete=self.words("release-data.sh", srv_root) if step is mount else None,
                triggers=[self._instance.id, *further.get(step.script, ())],
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=[before],
                    deleted_with=None if step is mount else self._instance,
                ),
            )
        return before


def size(host: OciHostSettings) -> list[str]:
    """What OCI restarts the machine for."""
    return [host.shape, str(host.ocpus), str(host.memory_gib)]


def preparation(host: OciHostSettings, srv_root: str, kernel: Mapping[str, str]) -> list[Step]:
    """What makes an Oracle Linux machine fit for the platform, in this order."""
    return [
        Step(
            script="authorize-key.sh",
            arguments=[USER],
            stdin="".join(f"{key}\n" for key in host.ssh_public_keys),
        ),
        Step(script="configure-sshd.sh", stdin=machine.sshd_drop_in()),
        Step(script="configure-firewall.sh"),
        Step(script="configure-network.sh", stdin=machine.sysctl_conf(kernel)),
        Step(script="configure-time.sh"),
        Step(
            script="install-docker.sh",
            arguments=[host.docker_version or NEWEST, host.compose_version or NEWEST],
        ),
        Step(script=CONFIGURE_DOCKER, arguments=[USER], stdin=machine.daemon_json()),
        Step(script="configure-shutdown.sh", stdin=machine.shutdown_unit()),
        Step(script="configure-updates.sh", stdin=machine.automatic_conf()),
        Step(script="label-tree.sh", arguments=[srv_root]),
    ]
