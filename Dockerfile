# syntax=docker/dockerfile:1
# EdgeFarm's image: coordinator, worker and client in one.
#
#   docker build --target cpu    -t edgefarm:0.1.0-cpu .
#   docker build --target vulkan -t edgefarm:0.1.0-vulkan .
#   docker build --target cuda   -t edgefarm-cuda:0.1.0-cuda .
#
# build/image.sh holds the steps, so that they can be run, and are tested, without a container engine.

# Of Node the build needs 20 or later; with an older one npm leaves llama.cpp's packages out without an error.
FROM node:22-bookworm-slim AS node

FROM mcr.microsoft.com/dotnet/sdk:10.0 AS sdk
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /source
COPY . .

FROM sdk AS build-cpu
RUN build/image.sh /out cpu

FROM sdk AS build-vulkan
RUN build/image.sh /out vulkan

FROM sdk AS build-cuda
RUN build/image.sh /out cuda

FROM mcr.microsoft.com/dotnet/aspnet:10.0 AS dotnet

# Each image has a user without rights, and the folders that volumes are mounted at belong to it.
FROM dotnet AS cpu
RUN groupadd --gid 10001 edgefarm \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin edgefarm \
    && install -d -o 10001 -g 10001 /var/lib/edgefarm /var/lib/edgefarm/coordinator /var/lib/edgefarm/worker /var/lib/edgefarm/artifacts /var/lib/edgefarm-machine
COPY --from=build-cpu /out /opt/edgefarm
ENV DOTNET_EnableDiagnostics=0 HOME=/tmp PATH="/opt/edgefarm:${PATH}"
WORKDIR /var/lib/edgefarm
USER 10001:10001
EXPOSE 5080 5081 5082
ENTRYPOINT ["/opt/edgefarm/edgefarm"]

FROM dotnet AS vulkan
RUN apt-get update \
    && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 edgefarm \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin edgefarm \
    && install -d -o 10001 -g 10001 /var/lib/edgefarm /var/lib/edgefarm/coordinator /var/lib/edgefarm/worker /var/lib/edgefarm/artifacts /var/lib/edgefarm-machine
COPY --from=build-vulkan /out /opt/edgefarm
ENV DOTNET_EnableDiagnostics=0 HOME=/tmp PATH="/opt/edgefarm:${PATH}"
WORKDIR /var/lib/edgefarm
USER 10001:10001
EXPOSE 5080 5081 5082
ENTRYPOINT ["/opt/edgefarm/edgefarm"]

# CUDA's runtime libraries come with the base image, the driver with NVIDIA's container toolkit; .NET comes from Microsoft's image.
# The backend is built by CUDA 13.1. Its base image brings forward compatibility, with which data center GPUs run it on older drivers.
FROM nvidia/cuda:13.1.0-runtime-ubuntu24.04 AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 edgefarm \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin edgefarm \
    && install -d -o 10001 -g 10001 /var/lib/edgefarm /var/lib/edgefarm/coordinator /var/lib/edgefarm/worker /var/lib/edgefarm/artifacts /var/lib/edgefarm-machine
COPY --from=dotnet /usr/share/dotnet /usr/share/dotnet
COPY --from=build-cuda /out /opt/edgefarm
ENV DOTNET_ROOT=/usr/share/dotnet DOTNET_EnableDiagnostics=0 HOME=/tmp PATH="/opt/edgefarm:/usr/share/dotnet:${PATH}" \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /var/lib/edgefarm
USER 10001:10001
EXPOSE 5080 5081 5082
ENTRYPOINT ["/opt/edgefarm/edgefarm"]
