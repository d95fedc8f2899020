"""A simulated OCI machine: a container that boots, with cloud-init, sshd and a Docker engine of its own."""
