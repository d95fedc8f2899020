"""The stand-in for pulumi-docker: networks, images, containers and volumes of one Docker engine."""
